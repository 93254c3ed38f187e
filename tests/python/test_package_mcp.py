"""KeybearerMcpWorkbench: AutoGen's own McpWorkbench on a real host's /mcp, with a dump that holds no token."""

import asyncio
import json
from urllib.parse import urlsplit

import pytest
from autogen_agentchat.agents import AssistantAgent
from autogen_core.tools import Workbench
from autogen_ext.tools.mcp import McpWorkbench
from keybearer_autogen import ConfigurationError
from keybearer_autogen.mcp import KeybearerMcpWorkbench, mcp_server_params

from scripted import OPERATOR, TOKEN
from test_package_workbench import last_seq, model, results, rows_of


def look_up(workbench, invoice):
    """What a model sees that asks for an invoice."""

    async def run():
        async with workbench:
            agent = AssistantAgent("billing", model(("get_invoice", {"id": invoice})), workbench=workbench)
            return results((await agent.run(task="Look it up.")).messages)

    [result] = asyncio.run(run())
    return result


def test_an_agent_calls_the_host_s_tools(host, stripe):
    since = last_seq(host)
    minted = host.mint(tools=["get_invoice"], operations=["stripe:get_invoice"], conversation="c-5")
    given = {"url": host.url, "token": minted["token"], "conversation": "c-5"}
    for workbench in (KeybearerMcpWorkbench(**given), McpWorkbench(mcp_server_params(**given))):
        result = look_up(workbench, stripe.facts["invoice"])
        assert not result.is_error and stripe.facts["invoice"] in result.content
    assert [row["conversation"] for row in rows_of(host, since, "call_begun")] == ["c-5", "c-5"]


def test_a_refusal_is_a_tool_error_in_words(host, stripe):
    token = host.mint(tools=["get_invoice"])["token"]
    result = look_up(KeybearerMcpWorkbench(url=host.url, token=token), stripe.facts["invoice"])
    assert result.is_error and "denied" in result.content and "Nothing was sent." in result.content


@pytest.mark.parametrize("seconds, told", [(30, "29000"), (1, "900"), (0.001, "1"), (1e9, "999999999")])
def test_the_host_is_told_how_long_a_call_may_take(seconds, told):
    params = mcp_server_params(url="http://127.0.0.1:1", token=TOKEN, timeout_s=seconds)
    assert params.headers["Keybearer-Deadline-Ms"] == told and params.sse_read_timeout == seconds


def test_a_call_that_takes_too_long_ends_in_the_host_s_words(silent_host):
    result = look_up(KeybearerMcpWorkbench(url=silent_host.url, token=silent_host.token, timeout_s=2), "in_1")
    assert result.is_error and "deadline_exceeded" in result.content


class Switch:
    """A way to a host that can be switched off and on."""

    def __init__(self, url):
        self.host, self.port, self.open = urlsplit(url), 0, []

    async def on(self):
        self.server = await asyncio.start_server(self.forward, "127.0.0.1", self.port)
        self.port = self.server.sockets[0].getsockname()[1]

    async def forward(self, reader, writer):
        there, onward = await asyncio.open_connection(self.host.hostname, self.host.port)
        self.open += [writer, onward]
        await asyncio.gather(self.pass_on(reader, onward), self.pass_on(there, writer))

    async def pass_on(self, reader, writer):
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()

    def off(self):
        self.server.close()
        for writer in self.open:
            writer.close()


def test_a_host_that_comes_back_is_called_again(host, stripe):
    async def run():
        switch, invoice = Switch(host.url), {"id": stripe.facts["invoice"]}
        await switch.on()
        given = {"url": f"http://127.0.0.1:{switch.port}", "token": host.token, "timeout_s": 5}
        async with KeybearerMcpWorkbench(**given) as workbench:
            results = [await workbench.call_tool("get_invoice", invoice)]
            switch.off()
            results += [await workbench.call_tool("get_invoice", invoice) for _ in range(2)]
            await switch.on()
            assert any(tool["name"] == "get_invoice" for tool in await workbench.list_tools())
            results.append(await workbench.call_tool("get_invoice", invoice))
        switch.off()
        return [result.is_error for result in results]

    assert asyncio.run(run()) == [False, True, True, False]


def test_a_dump_names_the_variable_and_loads(host, stripe, monkeypatch):
    monkeypatch.setenv("KEYBEARER_URL", host.url)
    monkeypatch.setenv("KEYBEARER_TOKEN", host.token)
    workbench = KeybearerMcpWorkbench(conversation="c-6", timeout_s=9)
    assert not look_up(workbench, stripe.facts["invoice"]).is_error
    # Also when it has been started, and so has read its token.
    dumped = workbench.dump_component()
    assert host.token not in dumped.model_dump_json() and "KEYBEARER_TOKEN" in dumped.model_dump_json()
    assert host.token not in f"{workbench!r} {workbench.server_params!r} {workbench.server_params}"
    again = Workbench.load_component(json.loads(dumped.model_dump_json()))
    assert isinstance(again, KeybearerMcpWorkbench) and again.dump_component() == dumped
    assert not look_up(again, stripe.facts["invoice"]).is_error


def test_a_workbench_that_was_given_its_token_is_not_dumped():
    with pytest.raises(ConfigurationError, match="a dump must not hold a token"):
        KeybearerMcpWorkbench(url="http://127.0.0.1:1", token=TOKEN).dump_component()


def test_what_is_missing_is_told_before_anything_is_sent(monkeypatch):
    monkeypatch.delenv("KEYBEARER_TOKEN", raising=False)
    monkeypatch.setenv("KEYBEARER_URL", "http://127.0.0.1:1")
    with pytest.raises(ConfigurationError, match="KEYBEARER_TOKEN isn't set"):
        asyncio.run(KeybearerMcpWorkbench().start())
    with pytest.raises(ConfigurationError, match="no agent should have"):
        mcp_server_params(token=OPERATOR)


def test_a_file_of_authorities_is_refused_and_not_ignored():
    config = {"provider": "keybearer_autogen.mcp.KeybearerMcpWorkbench", "config": {"ca_file": "ca.pem"}}
    for make in (
        lambda: KeybearerMcpWorkbench(ca_file="ca.pem"),
        lambda: mcp_server_params(ca_file="ca.pem"),
        lambda: KeybearerMcpWorkbench.load_component(config),
    ):
        with pytest.raises(ConfigurationError, match="takes no ca_file: name the file in .* SSL_CERT_FILE"):
            make()
    with pytest.raises(ValueError, match="more than 0 seconds"):
        KeybearerMcpWorkbench(timeout_s=0)
