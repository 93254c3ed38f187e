"""End to end over the Model Context Protocol, with AutoGen's own workbench: whatever the host says, it lives on."""

import asyncio
import json
import re
import socket
import subprocess
import time
from contextlib import asynccontextmanager

import httpx
import pytest
from autogen_agentchat.agents import AssistantAgent
from autogen_ext.tools.mcp import McpWorkbench, StreamableHttpServerParams
from mcp.shared.exceptions import McpError
from single_agent import replayed_model

from surroundings import COMPONENTS, KEYBEARER, PATIENCE_S, PLAIN, SECRET, Program, clean_environment

# The client would wait so long for an answer that doesn't come; none of these tests may.
READ_SECONDS = 60


@asynccontextmanager
async def workbench(url, token, **headers):
    headers = {"Authorization": f"Bearer {token}", **headers}
    params = StreamableHttpServerParams(url=f"{url}/mcp", headers=headers, timeout=30, sse_read_timeout=READ_SECONDS)
    async with McpWorkbench(params) as opened:
        yield opened


async def told(bench, tool, **arguments):
    """What the model is told: the text, and whether it's an error. It must come long before the client gives up."""
    begun = time.monotonic()
    result = await bench.call_tool(tool, arguments)
    assert time.monotonic() - begun < READ_SECONDS / 4
    return result.to_text(), result.is_error


async def names(bench):
    return [tool["name"] for tool in await bench.list_tools()]


def refused(text, code):
    assert text.startswith(f"The call failed ({code}): ") and "sent" in text, text


def test_an_agent_runs_and_streams_over_a_workbench(host, stripe, key):
    invoice = stripe.facts["invoice"]
    task = f"What is the state of invoice {invoice}?"

    async def run():
        history = []
        async with workbench(host.url, host.token, **{"Keybearer-Conversation": "over-mcp"}) as bench:
            for stream in (False, True):
                agent = AssistantAgent(
                    "billing", model_client=replayed_model(invoice), workbench=bench, reflect_on_tool_use=True
                )
                if stream:
                    messages = [message async for message in agent.run_stream(task=task)][:-1]
                else:
                    messages = (await agent.run(task=task)).messages
                history.append([message.dump() for message in messages])
                assert messages[-1].content == "I have looked the invoice up."
        return history

    history = asyncio.run(run())
    for messages in history:
        [event] = [message for message in messages if message["type"] == "ToolCallExecutionEvent"]
        [result] = event["content"]
        assert not result["is_error"]
        assert json.loads(result["content"])["id"] == invoice
    assert key not in json.dumps(history, default=str)
    rows = host.as_operator("GET", "/v1/audit").json()["rows"]
    begun = [row for row in rows if row["event"] == "call_begun" and row["conversation"] == "over-mcp"]
    assert [row["tool"] for row in begun] == ["get_invoice", "get_invoice"]


def test_the_model_gets_schemas_as_they_are_listed_elsewhere(host):
    async def run():
        async with workbench(host.url, host.token) as bench:
            return await bench.list_tools()

    headers = {"Authorization": f"Bearer {host.token}"}
    listed = httpx.get(f"{host.url}/v1/tools", headers=headers, **PLAIN).json()["tools"]
    tools = asyncio.run(run())
    assert [tool["name"] for tool in tools] == [tool["name"] for tool in listed]
    for tool, there in zip(tools, listed):
        assert tool["parameters"]["properties"] == there["input_schema"]["properties"]
        assert tool["description"] == there["description"]
        assert "$ref" not in json.dumps(tool)


def test_a_denial_is_read_and_the_workbench_lives_on(host, stripe):
    token = host.mint(tools=["get_invoice", "get_customer"], operations=["stripe:get_customer"])["token"]

    async def run():
        async with workbench(host.url, token) as bench:
            assert await names(bench) == ["get_customer", "get_invoice"]
            for _ in range(2):
                text, is_error = await told(bench, "get_invoice", id=stripe.facts["invoice"])
                refused(text, "denied")
                assert is_error
            text, is_error = await told(bench, "no_such_tool")
            refused(text, "unknown_tool")
            text, is_error = await told(bench, "get_customer", id=5)
            refused(text, "invalid_arguments")
            text, is_error = await told(bench, "get_customer", id="x" * 400_000)
            refused(text, "too_large")
            assert await names(bench) == ["get_customer", "get_invoice"]
            text, is_error = await told(bench, "get_customer", id=stripe.facts["customer"])
            assert not is_error and json.loads(text)["id"] == stripe.facts["customer"]

    asyncio.run(run())


def test_a_token_that_is_revoked_ends_calls_and_not_the_workbench(host, stripe):
    minted = host.mint(tools=["get_invoice"], operations=["stripe:*"])

    async def run():
        async with workbench(host.url, minted["token"]) as bench:
            assert not (await told(bench, "get_invoice", id=stripe.facts["invoice"]))[1]
            assert host.as_operator("DELETE", f"/v1/tokens/{minted['id']}").status_code == 204
            for _ in range(2):
                text, is_error = await told(bench, "get_invoice", id=stripe.facts["invoice"])
                refused(text, "unauthorized")
                assert is_error
                with pytest.raises(McpError, match=r"The call failed \(unauthorized\)"):
                    await bench.list_tools()

    asyncio.run(run())


def test_a_wrong_token_is_a_readable_error_at_once(host):
    async def run():
        begun = time.monotonic()
        with pytest.raises(BaseExceptionGroup) as raised:
            async with workbench(host.url, "kbt_wrong") as bench:
                await bench.list_tools()
        assert time.monotonic() - begun < 10
        [error] = raised.value.exceptions
        assert isinstance(error, httpx.HTTPStatusError) and error.response.status_code == 401
        assert "401 Unauthorized" in str(error)

    asyncio.run(run())


def test_a_slow_upstream_is_told_of_before_the_client_gives_up(silent_host):
    async def run():
        async with workbench(silent_host.url, silent_host.token) as bench:
            text, is_error = await told(bench, "get_invoice", id="in_1")
            # Which of the two clocks, that of the call or that of its request, is read first isn't said.
            assert re.match(r"The call failed \((deadline_exceeded|upstream_timeout)\): ", text), text
            assert is_error and await names(bench)

    asyncio.run(run())


class Home:
    """A home with the Stripe tool, whose host can be stopped and started again at the same address."""

    def __init__(self, host, folder):
        self.home, self.port = folder / "home", 0
        self.env = {**clean_environment(), "KEYBEARER_HOME": str(self.home)}
        key_file = folder / "key"
        key_file.write_text(host.key)
        self.run("init")
        (self.home / "connections/stripe.toml").write_text(host.connection())
        self.run("vault", "set", SECRET, stdin=key_file.open())
        self.run("tool", "add", "--yes", COMPONENTS / "tools/stripe.wasm")
        minted = self.run("token", "mint", "--agent", "a", "--tool", "*", "--operation", "stripe:*", "--ttl", "1h")
        self.token = re.search(r"kbt_[\w-]+", minted)[0]

    def run(self, *arguments, stdin=subprocess.DEVNULL):
        command = [KEYBEARER, *map(str, arguments)]
        done = subprocess.run(command, env=self.env, stdin=stdin, capture_output=True, text=True, timeout=PATIENCE_S)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    def start(self):
        self.program = Program([KEYBEARER, "serve", "--listen", f"127.0.0.1:{self.port}"], env=self.env)
        self.url = self.program.heard_in_errors(r"listening on (http://\S+)")
        self.port = int(self.url.rsplit(":", 1)[1])

    def stop(self):
        assert self.program.interrupt() == 0
        # Nobody else is given the port before the host is back.
        self.reserved = socket.socket()
        self.reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.reserved.bind(("127.0.0.1", self.port))


def test_a_host_that_restarts_between_two_calls_is_not_noticed(host, stripe, tmp_path):
    home = Home(host, tmp_path)
    home.start()

    async def run():
        async with workbench(home.url, home.token) as bench:
            assert not (await told(bench, "get_invoice", id=stripe.facts["invoice"]))[1]
            await asyncio.to_thread(home.stop)
            await asyncio.to_thread(home.start)
            text, is_error = await told(bench, "get_invoice", id=stripe.facts["invoice"])
            assert not is_error, text
            assert "get_invoice" in await names(bench)

    try:
        asyncio.run(run())
    finally:
        home.stop()
