"""The modules that code can import, kept in memory: there are no files to import from.

Each module is kept as its compiled code and its source, both compressed. It's unpacked when it's first imported.
"""

import importlib.machinery
import importlib.util
import marshal
import sys
import zlib

from keybearer_sandbox import absent


class Library:
    """Finds and loads modules, and serves the data files of packages. Stands in `sys.meta_path`."""

    def __init__(self):
        #: By module name: the path, the code, the source, and whether it's a package.
        self.modules = {}
        #: By path: the compressed content of a file that isn't a module.
        self.files = {}
        #: By folder: the names in it.
        self.folders = {}
        #: The folders that hold `*.dist-info`.
        self.metadata = []

    # Finding, as `sys.meta_path` wants it.

    def find_spec(self, name, path=None, target=None):
        why = absent.reason(name)
        if why is not None:
            return importlib.machinery.ModuleSpec(name, _Absent(why))
        kept = self.modules.get(name)
        if kept is None:
            return None
        spec = importlib.machinery.ModuleSpec(name, self, origin=kept[0], is_package=kept[3])
        spec.has_location = True
        if kept[3]:
            spec.submodule_search_locations.append(kept[0].rpartition("/")[0])
        return spec

    def find_distributions(self, context=None):
        from keybearer_sandbox import resources

        return resources.distributions(self, context)

    # Loading.

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        name = module.__spec__.name
        exec(self.get_code(name), module.__dict__)
        if name == "sqlite3.dbapi2":
            from keybearer_sandbox import standard

            standard.with_fresh_random(module)

    def get_code(self, name):
        return marshal.loads(zlib.decompress(self._kept(name)[1]))

    def get_source(self, name):
        return importlib.util.decode_source(zlib.decompress(self._kept(name)[2]))

    def get_filename(self, name):
        return self._kept(name)[0]

    def is_package(self, name):
        return self._kept(name)[3]

    def get_data(self, path):
        kept = self.files.get(str(path))
        if kept is None:
            raise FileNotFoundError(2, "No such file or directory", str(path))
        return zlib.decompress(kept)

    def iter_modules(self, prefix=""):
        return ((prefix + name, kept[3]) for name, kept in sorted(self.modules.items()) if "." not in name)

    def get_resource_reader(self, name):
        from keybearer_sandbox import resources

        return resources.reader(self, self.get_filename(name).rpartition("/")[0])

    def _kept(self, name):
        kept = self.modules.get(name)
        if kept is None:
            raise ImportError(f"no module named {name!r} is kept", name=name)
        return kept


class _Namespaces:
    """Finds folders of packages that have no `__init__.py`. Stands last in `sys.meta_path`."""

    def __init__(self, library, root):
        self._library = library
        self._root = root

    def find_spec(self, name, path=None, target=None):
        folder = f"{self._root}/{name.replace('.', '/')}"
        held = self._library.folders.get(folder)
        if held is None or "__init__.py" in held:
            return None
        spec = importlib.machinery.ModuleSpec(name, _Namespace(self._library, folder), is_package=True)
        spec.submodule_search_locations.append(folder)
        return spec


class _Namespace(importlib.machinery.NamespaceLoader):
    """Loads such a folder: there's nothing to run."""

    def __init__(self, library, folder):
        self._library = library
        self._path = [folder]

    def get_resource_reader(self, name):
        from keybearer_sandbox import resources

        return resources.reader(self._library, self._path[0])


class _Folder:
    """Lists the modules in a package's folder for `pkgutil`. Made by `sys.path_hooks`; nothing is imported by it."""

    def __init__(self, library, path):
        if path not in library.folders:
            raise ImportError("there's no such folder", path=path)
        self._library = library
        self._path = path

    def iter_modules(self, prefix=""):
        for name, (path, _, _, package) in sorted(self._library.modules.items()):
            if path.removesuffix("/__init__.py").rpartition("/")[0] == self._path:
                yield prefix + name.rpartition(".")[2], package

    def find_spec(self, name, target=None):
        return None


class _Absent:
    """Loads a module that isn't there: says why."""

    def __init__(self, why):
        self._why = why

    def create_module(self, spec):
        raise ModuleNotFoundError(self._why, name=spec.name)

    def exec_module(self, module):
        raise ModuleNotFoundError(self._why, name=module.__name__)


def install(library, packages):
    """Makes it what imports look at first, and the file system what they don't look at at all. `packages` is their folder."""
    sys.meta_path[:] = [
        library,
        importlib.machinery.BuiltinImporter,
        importlib.machinery.FrozenImporter,
        _Namespaces(library, packages),
    ]
    sys.path[:] = []
    sys.path_hooks[:] = [lambda path: _Folder(library, path)]
    sys.path_importer_cache.clear()
    for name, module in list(sys.modules.items()):
        if name in library.modules and getattr(module, "__spec__", None) is not None:
            module.__loader__ = module.__spec__.loader = library
            module.__spec__.cached = None
            module.__dict__.pop("__cached__", None)
