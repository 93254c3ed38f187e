"""The package as it's shipped: built, installed, imported; and the components that AutoGen Studio loads."""

import email
import json
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import zipfile

import pytest
from autogen_core.code_executor import CodeExecutor
from autogen_core.tools import BaseTool, Workbench
from autogen_ext.tools.code_execution import PythonCodeExecutionTool
from keybearer_autogen import KeybearerCodeExecutor, KeybearerWorkbench, __version__

from surroundings import ROOT, clean_environment

PACKAGE = ROOT / "python"


def run(*command, **more):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=120, **more)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The sdist, and the wheel that is built from what is in it."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", folder, cwd=PACKAGE)
    [sdist] = folder.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    [unpacked] = [path for path in folder.iterdir() if path.is_dir()]
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=unpacked)
    [wheel] = folder.glob("*.whl")
    return sdist, wheel


def test_the_archives_hold_what_they_should(built):
    sdist, wheel = built
    name = f"keybearer_autogen-{__version__}"
    with zipfile.ZipFile(wheel) as archive:
        files = set(archive.namelist())
        metadata = email.message_from_bytes(archive.read(f"{name}.dist-info/METADATA"))
    sources = {str(path.relative_to(PACKAGE / "src")) for path in (PACKAGE / "src").rglob("*.py")}
    assert sources | {"keybearer_autogen/py.typed"} <= files
    assert {file.split("/")[0] for file in files} == {"keybearer_autogen", f"{name}.dist-info"}
    assert f"{name}.dist-info/licenses/LICENSE" in files
    assert metadata["Version"] == __version__ and metadata["License-Expression"] == "Apache-2.0"
    needed = [line for line in metadata.get_all("Requires-Dist") if "extra ==" not in line]
    assert len(needed) == 1 and needed[0].startswith("httpx")
    assert set(metadata.get_all("Provides-Extra")) == {"autogen", "mcp", "ag2-classic", "ag2"}
    # What the pages' examples import.
    for extra in ("autogen", "mcp"):
        given = [line for line in metadata.get_all("Requires-Dist") if f"extra == '{extra}'" in line]
        assert {"autogen-core", "autogen-agentchat"} <= {re.match(r"[\w-]+", line)[0] for line in given}
    assert metadata.get_payload() == (PACKAGE / "README.md").read_text()
    with tarfile.open(sdist) as archive:
        inside = {file.split("/", 1)[1] for file in archive.getnames() if "/" in file}
    studio = {f"studio/{path.name}" for path in (PACKAGE / "studio").iterdir()}
    assert studio | {"README.md", "LICENSE", "pyproject.toml"} | {f"src/{file}" for file in sources} <= inside


def test_it_is_installed_and_imported_with_httpx_alone(built, tmp_path):
    venv = tmp_path / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", venv)
    python = venv / "bin/python"
    pip = [sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check", "install"]
    run(*pip, "--quiet", "--no-deps", "--no-index", built[1])
    # What httpx needs, from here; nothing else is to be found.
    [packages] = (venv / "lib").glob("python*/site-packages")
    ours = sysconfig.get_paths()["purelib"]
    for module in ("httpx", "httpcore", "h11", "anyio", "idna", "certifi", "typing_extensions.py", "sniffio"):
        if os.path.exists(f"{ours}/{module}"):
            (packages / module).symlink_to(f"{ours}/{module}")
    env = {name: value for name, value in clean_environment().items() if name != "PYTHONPATH"}
    script = """
import sys, keybearer_autogen, keybearer_autogen.secrets
print(keybearer_autogen.__version__, keybearer_autogen.__file__)
missing = {}
for name in keybearer_autogen.__all__:
    try:
        value = getattr(keybearer_autogen, name)
        if name in ("KeybearerClassicCodeExecutor", "KeybearerCodeEnvironment"):
            value()
    except ImportError as error:
        missing[name] = str(error)
import json; print(json.dumps(missing))
"""
    said, missing = run(python, "-W", "error", "-c", script, env=env, cwd=tmp_path).splitlines()
    version, file = said.split(" ", 1)
    assert version == __version__ and file.startswith(str(packages))
    assert {name: sentence.rsplit("[", 1)[1].split("'")[0] for name, sentence in json.loads(missing).items()} == {
        "KeybearerClassicCodeExecutor": "ag2-classic]",
        "KeybearerCodeEnvironment": "ag2]",
        "KeybearerCodeExecutor": "autogen]",
        "KeybearerCodeResult": "autogen]",
        "KeybearerWorkbench": "autogen]",
    }
    for sentence in json.loads(missing).values():
        assert "isn't installed here: pip install './python[" in sentence


@pytest.mark.parametrize(
    "file, base, kind",
    [
        ("workbench.json", Workbench, KeybearerWorkbench),
        ("code_executor.json", CodeExecutor, KeybearerCodeExecutor),
        ("code_tool.json", BaseTool, PythonCodeExecutionTool),
    ],
)
def test_studio_s_components_load_and_hold_no_key(file, base, kind, monkeypatch):
    monkeypatch.delenv("KEYBEARER_TOKEN", raising=False)
    text = (PACKAGE / "studio" / file).read_text()
    assert "kbt_" not in text and '"KEYBEARER_TOKEN"' in text and "KEYBEARER_URL" in text
    loaded = base.load_component(json.loads(text))
    assert isinstance(loaded, kind)
    assert loaded.dump_component().model_dump(exclude_none=True) == json.loads(text), "dump it anew"


def test_every_studio_file_is_tested():
    assert {path.name for path in (PACKAGE / "studio").iterdir()} == {"workbench.json", "code_executor.json", "code_tool.json"}
