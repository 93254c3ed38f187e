"""`keybearer sandbox build`: packages that an operator puts into the sandbox. Nothing here asks a package index: the packages are
wheels made on the spot, and the environment is the one that the set-up made."""

import os
import subprocess
import zipfile

import pytest
from surroundings import COMPONENTS, KEYBEARER


def keybearer(*arguments):
    env = {**os.environ, "XDG_CACHE_HOME": str(COMPONENTS / "cache"), "PIP_NO_INDEX": "1"}
    return subprocess.run([KEYBEARER, *arguments], env=env, capture_output=True, text=True, timeout=300)


def build(*arguments):
    return keybearer("sandbox", "build", *arguments)


def wheel(folder, name, files):
    """A wheel of pure Python, as far as its name says."""
    stem = f"{name.replace('-', '_')}-1.0"
    path, info = folder / f"{stem}-py3-none-any.whl", f"{stem}.dist-info"
    files = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    with zipfile.ZipFile(path, "w") as archive:
        for inside, text in files.items():
            archive.writestr(inside, text)
        archive.writestr(f"{info}/RECORD", "".join(f"{inside},,\n" for inside in files) + f"{info}/RECORD,,\n")
    return path


def requirements(folder, *wheels):
    path = folder / "requirements.txt"
    path.write_text("".join(f"{one}\n" for one in wheels))
    return path


PACKAGES = {
    "greeting": {
        "greeting/__init__.py": "from importlib.resources import files\n\n"
        'def greet():\n    return files(__name__).joinpath("word.txt").read_text()\n',
        "greeting/word.txt": "hello",
        "greeting/test/__init__.py": "kind = 'a test'\n",
        "greeting/test/tests/__init__.py": "",
        "greeting-1.0.dist-info/licenses/LICENSE": "",
    },
    # Two packages that share a folder without `__init__.py`; in one of them there's another such folder.
    "acme-one": {"acme/one.py": "name = 'one'\n", "acme/words/goodbye.txt": "goodbye"},
    "acme-two": {"acme/two/__init__.py": "from acme import one\n\nname = one.name + ' and two'\n"},
    # What's built in comes before a folder without `__init__.py`.
    "timely": {"time/zones.py": ""},
    "old": {"old.py": "# -*- coding: latin-1 -*-\ndef café():\n    raise ValueError('à la carte')\n".encode("latin-1")},
}

USES = """\
[[fixture]]
name = "a package with its data, beside what the image always has"
tool = "run_python"
result = { exit_code = 0, output = "hello 1.0 UTC hello\\n" }
arguments.code = '''
import greeting, importlib.metadata as metadata, zoneinfo
[word] = [file for file in metadata.files("greeting") if file.name == "word.txt"]
print(greeting.greet(), metadata.version("greeting"), zoneinfo.ZoneInfo("UTC"), word.read_text())
'''

[[fixture]]
name = "what it calls a test"
tool = "run_python"
result = { exit_code = 0, output = "a test\\n" }
arguments.code = '''
import greeting.test.tests
print(greeting.test.kind)
'''

[[fixture]]
name = "packages that share a namespace, and the data of one"
tool = "run_python"
result = { exit_code = 0, output = "one and two goodbye None\\n" }
arguments.code = '''
import acme.two, importlib.resources
print(acme.two.name, importlib.resources.read_text("acme.words", "goodbye.txt"), acme.__spec__.origin)
'''

[[fixture]]
name = "what is not in a namespace"
tool = "run_python"
result = { exit_code = 0, output = "No module named 'acme.three'\\n<module 'time' (built-in)>\\n" }
arguments.code = '''
import sys
del sys.modules["time"]
import time
try:
    import acme.three
except ModuleNotFoundError as error:
    print(error)
print(time)
'''

[[fixture]]
name = "a source in another encoding"
tool = "run_python"
arguments.code = '''
import inspect, old
print(inspect.getsource(old.café))
old.café()
'''
result.exit_code = 1
result.output = '''
def café():
    raise ValueError('à la carte')

Traceback (most recent call last):
  File "main.py", line 3, in <module>
    old.café()
    ~~~~~~~~^^
  File "/python/site-packages/old.py", line 3, in café
    raise ValueError('à la carte')
ValueError: à la carte
'''
"""


def test_packages_can_be_imported(tmp_path):
    packages = [wheel(tmp_path, name, files) for name, files in PACKAGES.items()]
    component = tmp_path / "python.wasm"
    built = build("--requirements", requirements(tmp_path, *packages), "-o", component)
    assert built.returncode == 0, built.stderr
    assert "with greeting 1.0" in built.stderr
    fixtures = tmp_path / "fixtures"
    fixtures.mkdir()
    fixtures.joinpath("packages.toml").write_text(USES)
    tested = keybearer("tool", "test", fixtures, "--component", component)
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_native_code_is_refused(tmp_path):
    package = wheel(tmp_path, "fast", {"fast/__init__.py": "", "fast/_fast.cpython-314-wasm32-wasi.so": "\0asm"})
    built = build("--requirements", requirements(tmp_path, package), "-o", tmp_path / "python.wasm")
    assert built.returncode == 1
    assert "fast/_fast.cpython-314-wasm32-wasi.so is native code" in built.stderr
    assert not (tmp_path / "python.wasm").exists()


@pytest.mark.parametrize("name", ["six", "--pre", "six>=1", "./six==1"])
def test_a_package_needs_one_exact_version(tmp_path, name):
    built = build(f"--with={name}", "-o", tmp_path / "python.wasm")
    assert built.returncode == 1
    assert "write it as python-dateutil==2.9.0.post0" in built.stderr


def test_a_package_that_is_not_there_says_what_to_look_at(tmp_path):
    built = build("--with", "nothing-of-this-name==1.0", "-o", tmp_path / "python.wasm")
    assert built.returncode == 1
    assert "There's no wheel of pure Python for this name and version" in built.stderr
