"""docs/FIRST-DAY.md: each mistake, made. What is seen then is what the page shows."""

import asyncio
import json
import re
import socket
import subprocess
import sys
import sysconfig
from pathlib import Path

import httpx
import pytest
from autogen_agentchat.agents import AssistantAgent
from autogen_core import CancellationToken
from autogen_core.tools import StaticWorkbench
from autogen_ext.models.openai import OpenAIChatCompletionClient
from autogen_ext.models.replay import ReplayChatCompletionClient
from autogen_ext.tools.http import HttpTool
from keybearer_autogen import KeybearerWorkbench
from single_agent import keybearer_tools, new_agent, replayed_model

from frameworks import ABILITIES, EXAMPLES, python_of, run_script
from scripted import Reply, Scripted
from surroundings import KEYBEARER, PLAIN, ROOT, clean_environment

PAGE = (ROOT / "docs/FIRST-DAY.md").read_text()

# What the page shows, by the heading above it.
SHOWN = dict(re.findall(r"(?ms)^### ([^\n]+)\n\n```\n(.*?)```$", PAGE))

MISTAKES = {}


def mistake(heading):
    """Makes a function the one that shows what a heading of the page is about."""

    def decorate(function):
        MISTAKES[heading] = function
        return function

    return decorate


@pytest.mark.parametrize("heading", SHOWN)
def test_what_is_seen_is_what_the_page_shows(heading, request):
    make = MISTAKES[heading]
    seen = make(*(request.getfixturevalue(name) for name in make.__code__.co_varnames[: make.__code__.co_argcount]))
    for line in SHOWN[heading].splitlines():
        wanted = ".*".join(re.escape(part) for part in line.split("…"))
        assert re.search(rf"(?m){wanted}\s*$" if not line.endswith("…") else wanted, seen), seen


def test_every_heading_has_a_message_and_every_mistake_a_heading():
    headings = re.findall(r"(?m)^### (.*)$", PAGE)
    assert headings == list(SHOWN) and set(headings) == set(MISTAKES)


def raised(make):
    """The exception as Python's last line has it."""
    with pytest.raises(Exception) as caught:
        make()
    error = caught.value
    name = type(error).__name__ if type(error).__module__ == "builtins" else f"openai.{type(error).__name__}"
    return f"{name}: {error}"


def python(framework, code):
    return run_script("-c", code, python=python_of(framework), code=1)


def single_agent(url=None, token=None, invoice="in_1", code=1):
    given = {"KEYBEARER_URL": url, "KEYBEARER_TOKEN": token}
    env = {name: value for name, value in given.items() if value is not None}
    return run_script(EXAMPLES / "single_agent.py", "--invoice", invoice, code=code, **env)


def detail(reply):
    return reply.json()["detail"]


def post(host, path, token=None, arguments=None, **headers):
    headers |= {"Authorization": f"Bearer {token or host.token}"}
    return httpx.post(host.url + path, json=arguments or {"id": "in_1"}, headers=headers, **PLAIN)


def keybearer(*arguments, ends_with=1):
    done = subprocess.run([KEYBEARER, *arguments], env=clean_environment(), cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == ends_with, done
    return done.stderr


def http_tool(**changed):
    schema = {"type": "object", "properties": {"id": {"type": "string"}}, "required": ["id"]}
    given = {"name": "get_invoice", "description": "Looks it up.", "json_schema": schema, "headers": {}}
    return HttpTool(**(given | changed))


def result(tool):
    """What an agent's model is shown of its call."""
    outcome = asyncio.run(new_agent([tool], "in_1").run(task="Look it up."))
    [event] = [message for message in outcome.messages if message.type == "ToolCallExecutionEvent"]
    return event.content[0]


@mistake("The package of the old API is installed")
def _():
    return python("classic", "from autogen_agentchat.agents import AssistantAgent")


@mistake("Half of AutoGen is installed")
def _(tmp_path):
    # All that is here but autogen-ext, which autogen-agentchat doesn't bring.
    for package in Path(sysconfig.get_path("purelib")).iterdir():
        if not package.name.startswith("autogen_ext"):
            (tmp_path / package.name).symlink_to(package)
    code = "import autogen_agentchat.agents\nfrom autogen_ext.tools.http import HttpTool"
    return run_script("-S", "-c", code, code=1, PYTHONPATH=str(tmp_path))


@mistake("The old API is wanted, the new one is installed")
def _():
    return run_script(EXAMPLES / "v02_style.py", "look", code=1)


@mistake("AG2 1.x has no ConversableAgent")
def _():
    return python("ag2", "from ag2 import ConversableAgent")


@mistake("MCP is too new for AutoGen")
def _():
    [newer] = python_of("agent-framework").parents[1].glob("lib/python3*/site-packages")
    return run_script("-c", "import autogen_ext.tools.mcp", code=1, PYTHONPATH=str(newer))


@mistake("The model has no key")
def _(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    return raised(lambda: OpenAIChatCompletionClient(model="gpt-4o"))


@mistake("The model's name isn't one that AutoGen knows")
def _():
    return raised(lambda: OpenAIChatCompletionClient(model="our-model", api_key="of-no-use"))


@mistake("The model may call no tools")
def _():
    return raised(lambda: AssistantAgent("billing", ReplayChatCompletionClient([]), tools=[http_tool(host="h", port=1)]))


@mistake("Both tools and a workbench")
def _():
    tools, model = [http_tool(host="h", port=1)], replayed_model("in_1")
    return raised(lambda: AssistantAgent("billing", model, tools=tools, workbench=StaticWorkbench([])))


@mistake("A parameter has no type")
def _():
    def get_invoice(id):
        """Looks it up."""

    return raised(lambda: AssistantAgent("billing", replayed_model("in_1"), tools=[get_invoice]))


@mistake("The function has no docstring")
def _(models):
    def get_invoice(id: str) -> str:
        return id

    models.script("our-model", "I can't.")
    client = OpenAIChatCompletionClient(
        model="our-model", base_url=models.url, api_key="of-no-use", model_info=ABILITIES
    )
    asyncio.run(AssistantAgent("billing", client, tools=[get_invoice]).run(task="Look it up."))
    offered = models.tools("our-model")["get_invoice"]
    return json.dumps({name: offered[name] for name in ("name", "description", "parameters")})


@mistake("A variable isn't set")
def _():
    return single_agent()


@mistake("A variable isn't set, and the package is used")
def _():
    workbench = KeybearerWorkbench()
    return asyncio.run(workbench.call_tool("get_invoice", {"id": "in_1"})).to_text()


@mistake("Nothing listens there")
def _():
    return single_agent("http://127.0.0.1:1", "kbt_x")


@mistake("The address has no scheme")
def _():
    return single_agent("127.0.0.1:7411", "kbt_x")


@mistake("https to a host without TLS")
def _(host):
    return single_agent(host.url.replace("http://", "https://"), host.token)


@mistake("The token is empty")
def _(host):
    return single_agent(host.url, "")


@mistake("A proxy answers in the host's place")
def _(host):
    with Scripted(Reply(502, b"<html><h1>Bad Gateway</h1></html>", "text/html")) as proxy:
        env = {"KEYBEARER_URL": host.url, "KEYBEARER_TOKEN": host.token, "HTTP_PROXY": proxy.url, "http_proxy": proxy.url}
        return run_script(EXAMPLES / "single_agent.py", "--invoice", "in_1", **env)


@mistake("The host went away while the agent ran")
def _():
    seen = result(http_tool(host="127.0.0.1", port=1))
    assert seen.is_error
    return seen.content


@mistake("An error without a word")
def _():
    with socket.create_server(("127.0.0.1", 0)) as silence:
        # Such a server never answers, however long HttpTool waits.
        return repr(result(http_tool(host="127.0.0.1", port=silence.getsockname()[1], timeout=0.1)))


@mistake("The token isn't valid")
def _(host):
    minted = host.mint(tools=["get_invoice"])
    assert host.as_operator("DELETE", f"/v1/tokens/{minted['id']}").status_code == 204
    revoked, mistyped = single_agent(host.url, minted["token"]), single_agent(host.url, "kbt_x")
    assert revoked == mistyped
    return revoked


@mistake("It's an operator's token")
def _(host):
    return single_agent(host.url, host.operator_token)


@mistake("The token doesn't open this tool")
def _(host):
    return detail(post(host, "/v1/tools/get_invoice", host.mint(tools=["get_customer"])["token"]))


@mistake("The token doesn't open what the tool does")
def _(host):
    return detail(post(host, "/v1/tools/get_invoice", host.mint(tools=["get_invoice"])["token"]))


@mistake("There is no key in the vault")
def _(host):
    mint = ["token", "mint", "--tenant", "keyless", "--agent", "a", "--tool", "*", "--operation", "stripe:*", "--json"]
    done = subprocess.run(
        [KEYBEARER, "--home", host.home, *mint], env=clean_environment(), capture_output=True, text=True, check=True
    )
    return detail(post(host, "/v1/tools/get_invoice", json.loads(done.stdout)["token"]))


@mistake("The token is for another conversation")
def _(host):
    token = host.mint(tools=["get_invoice"], conversation="one")["token"]
    return detail(post(host, "/v1/tools/get_invoice", token, **{"Keybearer-Conversation": "two"}))


@mistake("The arguments don't fit")
def _(host):
    return detail(post(host, "/v1/tools/get_invoice", arguments={"id": 1}))


@mistake("The path is wrong")
def _(host):
    return detail(post(host, "/v1/tool/get_invoice"))


@mistake("The tool is never called")
def _(host):
    return single_agent(host.url, host.mint(tools=["get_invoise"], operations=["stripe:*"])["token"], code=0)


@mistake("The answer is JSON")
def _(host, stripe, monkeypatch):
    tools, invoice = tools_of(host, monkeypatch), stripe.facts["invoice"]
    outcome = asyncio.run(AssistantAgent("billing", replayed_model(invoice), tools=tools).run(task="Look it up."))
    return outcome.messages[-1].content


@mistake("Agent Framework's model isn't told why")
def _(host, models, tmp_path):
    example, script = (EXAMPLES / "agent_framework_mcp.py").read_text(), tmp_path / "untold.py"
    untold = example.replace('readable = {"include_detailed_errors": True}', "readable = {}")
    assert untold != example
    script.write_text(untold)
    token = host.mint(tools=["get_invoice"])["token"]
    models.script("gpt-4o", [("get_invoice", {"id": "in_1"})], "It failed.")
    env = {"KEYBEARER_URL": host.url, "KEYBEARER_TOKEN": token, **models.environment()}
    run_script(script, "look", python=python_of("agent-framework"), **env)
    [seen] = models.results("gpt-4o")
    return seen


@mistake("The model sees quotes of the wrong kind")
def _(host, stripe, monkeypatch):
    [tool] = [tool for tool in tools_of(host, monkeypatch) if tool.name == "get_invoice"]
    tool.server_params.return_type = "json"
    shown = asyncio.run(tool.run_json({"id": stripe.facts["invoice"]}, CancellationToken()))
    return tool.return_value_as_string(shown)


def tools_of(host, monkeypatch):
    monkeypatch.setenv("KEYBEARER_URL", host.url)
    return keybearer_tools(host.token)


@mistake("The token opens nothing")
def _(host):
    return keybearer("--home", host.home, "token", "mint", "--agent", "billing", ends_with=0)


@mistake("`dev` finds no components")
def _():
    return keybearer("dev", "--tools", "tools/stripe", "--", sys.executable, "-c", "")


@mistake("This isn't a home")
def _(tmp_path):
    return keybearer("--home", tmp_path, "serve")


@mistake("A tool has no description")
def _():
    # The compiler's own words, which the SDK's tests hold it to.
    return (ROOT / "guest-sdk/tests/compile_fail/descriptions.stderr").read_text()
