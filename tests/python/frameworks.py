"""What the tests of the agent frameworks share."""

import json
import os
import subprocess
import sys
from pathlib import Path

from autogen_core.models import ModelFamily, ModelInfo
from autogen_ext.models.openai import OpenAIChatCompletionClient

from surroundings import ROOT, clean_environment

EXAMPLES = ROOT / "examples/autogen"

ABILITIES = ModelInfo(
    vision=False,
    function_calling=True,
    json_output=False,
    structured_output=False,
    family=ModelFamily.UNKNOWN,
)


def python_of(framework):
    """The Python of another framework's virtual environment: `classic`, `ag2`, `agent-framework`."""
    variable = "KEYBEARER_VENV_" + framework.upper().replace("-", "_")
    python = Path(os.environ.get(variable, ROOT / f"target/venv-{framework}")) / "bin/python"
    assert python.exists(), f"{python} isn't there: `cargo xtask setup` makes it, {variable} says where it is"
    return python


def run_script(script, *arguments, python=sys.executable, code=0, **env):
    """Runs a script as its user does, to its end: what it printed."""
    done = subprocess.run(
        [python, script, *arguments],
        env={**clean_environment(), "PYTHONDONTWRITEBYTECODE": "1", **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
    )
    assert done.returncode == code, done.stdout
    return done.stdout


def model_client(models, name):
    """AutoGen's OpenAI client, turned to the model of this name."""
    return OpenAIChatCompletionClient(model=name, base_url=models.url, api_key="of-no-use", model_info=ABILITIES)


def codes(results):
    """The code of each result that is a refusal; `None` for the others."""
    return [json.loads(result).get("code") for result in results]


def last_seq(host):
    """The number of the newest row of the audit trail."""
    return host.as_operator("GET", "/v1/audit", params={"limit": 1}).json()["rows"][0]["seq"]


def rows_after(host, seq):
    """The rows of the audit trail that came after this one, the oldest first."""
    rows = host.as_operator("GET", "/v1/audit", params={"limit": 1000}).json()["rows"]
    return [row for row in reversed(rows) if row["seq"] > seq]


def memory_of(pid):
    """All that a process can write to of its memory."""
    held = []
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in maps:
            span, rights, _, _, _, *name = line.split(maxsplit=5)
            if rights.startswith("rw") and name != ["[vvar]\n"]:
                start, end = (int(number, 16) for number in span.split("-"))
                memory.seek(start)
                held.append(memory.read(end - start))
    return b"".join(held)
