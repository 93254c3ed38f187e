"""`keybearer sandbox build`: packages that an operator puts into the sandbox. Nothing here asks a package index: the packages are
wheels made on the spot, and the environment is the one that the set-up made."""

import os
import subprocess
import textwrap
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
    path = folder / f"{name}-1.0-py3-none-any.whl"
    info = f"{name}-1.0.dist-info"
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


def test_a_package_with_its_data_can_be_imported(tmp_path):
    code = 'from importlib.resources import files\n\ndef greet():\n    return files(__name__).joinpath("word.txt").read_text()\n'
    package = wheel(tmp_path, "greeting", {"greeting/__init__.py": code, "greeting/word.txt": "hello"})
    component = tmp_path / "python.wasm"
    built = build("--requirements", requirements(tmp_path, package), "-o", component)
    assert built.returncode == 0, built.stderr
    assert "with greeting 1.0" in built.stderr
    fixtures = tmp_path / "fixtures"
    fixtures.mkdir()
    fixtures.joinpath("greeting.toml").write_text(
        textwrap.dedent("""\
            [[fixture]]
            name = "the package is there, and so is what the image always has"
            tool = "run_python"
            result = { exit_code = 0, output = "hello 1.0 UTC\\n" }
            arguments.code = '''
            import greeting, importlib.metadata, zoneinfo
            print(greeting.greet(), importlib.metadata.version("greeting"), zoneinfo.ZoneInfo("UTC"))
            '''
            """)
    )
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
