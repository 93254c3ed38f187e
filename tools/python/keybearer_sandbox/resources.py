"""What `importlib.resources` and `importlib.metadata` find in the library."""

import importlib.metadata
import io
import posixpath
from importlib.resources.abc import Traversable, TraversableResources


class _Entry(Traversable):
    """A file or a folder of the library."""

    def __init__(self, library, path):
        self._library = library
        self._path = path

    @property
    def name(self):
        return self._path.rpartition("/")[2]

    def is_file(self):
        return self._path in self._library.files

    def is_dir(self):
        return self._path in self._library.folders

    def exists(self):
        return self.is_file() or self.is_dir()

    def iterdir(self):
        for name in self._library.folders.get(self._path, ()):
            yield _Entry(self._library, f"{self._path}/{name}")

    def joinpath(self, *parts):
        path = self._path
        for part in "/".join(map(str, parts)).split("/"):
            if part == "..":
                raise FileNotFoundError(2, "No such file or directory", part)
            if part not in ("", "."):
                path = f"{path}/{part}"
        return _Entry(self._library, path)

    __truediv__ = joinpath

    def open(self, mode="r", *args, **kwargs):
        stream = io.BytesIO(self._library.get_data(self._path))
        return stream if "b" in mode else io.TextIOWrapper(stream, *args, **kwargs)

    def read_bytes(self):
        return self._library.get_data(self._path)

    def read_text(self, encoding="utf-8", errors="strict"):
        return self.read_bytes().decode(encoding, errors)

    def __str__(self):
        return self._path

    def __repr__(self):
        return f"<{self._path}, in memory>"


class _Reader(TraversableResources):
    def __init__(self, root):
        self._root = root

    def files(self):
        return self._root


def reader(library, folder):
    """The data files of a package's folder."""
    return _Reader(_Entry(library, folder))


class _Distribution(importlib.metadata.Distribution):
    def __init__(self, library, folder):
        self._library = library
        self._folder = folder

    def read_text(self, filename):
        try:
            return self._library.get_data(f"{self._folder}/{filename}").decode()
        except FileNotFoundError:
            return None

    def locate_file(self, path):
        return _Entry(self._library, posixpath.normpath(f"{self._folder}/../{path}"))


def distributions(library, context):
    """The packages that were put in, all or those of the context's name."""
    wanted = getattr(context, "name", None)
    for folder in library.metadata:
        found = _Distribution(library, folder)
        if wanted is None or _normal(found.metadata["Name"]) == _normal(wanted):
            yield found


def _normal(name):
    return name.replace("-", "_").replace(".", "_").lower()
