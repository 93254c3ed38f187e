"""What the tests of the agent frameworks share."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from autogen_core.models import ModelFamily, ModelInfo
from autogen_ext.models.openai import OpenAIChatCompletionClient
from autogen_ext.tools.mcp import McpWorkbench, StreamableHttpServerParams
from keybearer_autogen import KeybearerWorkbench
from single_agent import keybearer_tools

from surroundings import PATIENCE_S, ROOT, clean_environment

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
        timeout=PATIENCE_S,
    )
    assert done.returncode == code, done.stdout
    return done.stdout


def model_client(models, name):
    """AutoGen's OpenAI client, turned to the model of this name."""
    return OpenAIChatCompletionClient(model=name, base_url=models.url, api_key="of-no-use", model_info=ABILITIES)


# How an AutoGen agent comes to the host's tools.
WAYS = ["http_tool", "mcp_workbench", "keybearer_workbench"]


async def equipment(way, host, token, stack):
    """What an `AssistantAgent` takes for this way, until the stack is closed."""
    if way == "http_tool":
        return {"tools": keybearer_tools(token)}
    if way == "keybearer_workbench":
        workbench = KeybearerWorkbench(url=host.url, token=token)
    else:
        headers = {"Authorization": f"Bearer {token}"}
        workbench = McpWorkbench(StreamableHttpServerParams(url=f"{host.url}/mcp", headers=headers))
    return {"workbench": await stack.enter_async_context(workbench)}


def codes(results):
    """The code of each result that is a refusal; `None` for the others."""
    return [code_of(result) for result in results]


def code_of(result):
    # HttpTool shows the whole problem, the other ways its sentence.
    if found := re.match(r"The call failed \((\w+)\): ", result):
        return found[1]
    return json.loads(result).get("code")


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
