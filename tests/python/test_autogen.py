"""End to end with the real AutoGen: AssistantAgent, its stock HttpTool, a host, and a (fake) Stripe behind TLS."""

import asyncio
import json
import re
import subprocess
import sys

import httpx
import pytest
from autogen_core import CancellationToken
from autogen_ext.tools.http import HttpTool
from single_agent import keybearer_tools, new_agent

from surroundings import (
    KEYBEARER,
    PATIENCE_S,
    PLAIN,
    Host,
    TlsFront,
    charges,
    clean_environment,
    forms,
    new_customer,
    run_agent,
)


@pytest.fixture
def tools(host, monkeypatch):
    """The tools as an agent with this token gets them: `tools(token)["get_invoice"]`."""

    def fetch(token=None, of=host):
        monkeypatch.setenv("KEYBEARER_URL", of.url)
        monkeypatch.setenv("KEYBEARER_TOKEN", token or of.token)
        return {tool.name: tool for tool in keybearer_tools()}

    return fetch


def call(tool, **arguments):
    """What the model sees when it calls the tool."""
    return asyncio.run(tool.run_json(arguments, CancellationToken()))


def problem(text, code):
    """An error as the model sees it: JSON whose `detail` stands alone."""
    error = json.loads(text)
    assert error["code"] == code, error
    assert code in error["detail"] and len(error["detail"].split()) > 5, error
    assert error["request_sent"] in ("no", "yes", "unknown")
    assert error["retry"] in ("no", "safe", "check_first")
    return error


def results(messages):
    """The tool results among dumped messages."""
    events = [message for message in messages if message.get("type") == "ToolCallExecutionEvent"]
    return [result for event in events for result in event["content"]]


def test_the_model_sees_the_dto_and_nothing_more(host, stripe, tmp_path):
    invoice = stripe.facts["invoice"]
    _, messages, _ = run_agent(host, invoice, tmp_path)
    seen = results(messages)
    assert len(seen) == 2, "one by run, one by run_stream"
    headers = {"Authorization": f"Bearer {host.token}"}
    listed = httpx.get(f"{host.url}/v1/tools", headers=headers, **PLAIN).json()["tools"]
    schema = next(tool["output_schema"] for tool in listed if tool["name"] == "get_invoice")
    for result in seen:
        assert not result["is_error"]
        dto = json.loads(result["content"])
        assert dto["id"] == invoice
        assert set(dto) <= set(schema["properties"]) and set(schema["required"]) <= set(dto)


def test_the_key_is_used_and_is_nowhere_to_be_found(host, stripe, key, tmp_path):
    printed, messages, environment = run_agent(host, stripe.facts["invoice"], tmp_path)
    assert host.front.transcript.read_bytes().count(key.encode()) >= 2, "it never reached the upstream"
    places = {
        "what the agent printed": printed.encode(),
        "messages": json.dumps(messages).encode(),
        "environment": environment,
        "host log": host.log().encode(),
        **{str(path): path.read_bytes() for path in host.files()},
    }
    assert b"KEYBEARER_TOKEN" in environment or sys.platform != "linux"
    assert any(path.endswith("control.db") for path in places)
    for name, content in places.items():
        for form in forms(key):
            assert form not in content, name


def test_every_send_is_in_the_audit_trail(host, stripe, tools):
    before = host.as_operator("GET", "/v1/audit").json()["rows"][0]["seq"]
    call(tools()["get_invoice"], id=stripe.facts["invoice"])
    rows = host.as_operator("GET", "/v1/audit").json()["rows"]
    events = [row["event"] for row in reversed(rows) if row["seq"] > before]
    assert events == ["call_begun", "send_begun", "send_finished", "call_finished"]


def test_optional_arguments_that_the_model_left_out_arrive_as_null(stripe, tools):
    listing = tools()["list_invoices"]
    optional = set(listing.schema["parameters"]["properties"]) - set(listing.schema["parameters"]["required"])
    assert optional, "this test needs a tool with an optional argument"
    seen = json.loads(call(listing, customer=stripe.facts["customer"]))
    assert "code" not in seen, seen


def test_a_write_is_done_once(upstream, tools):
    customer = new_customer(upstream)
    charge = json.loads(call(tools()["create_charge"], customer=customer, amount=1234, currency="usd"))
    assert charge["amount"] == 1234, charge
    assert list(charges(upstream, {customer})) == [charge["id"]]


def test_an_operation_outside_the_grant_is_denied_in_words(host, stripe, tools):
    token = host.mint(tools=["get_invoice"], operations=["stripe:get_customer"])["token"]
    text = call(tools(token)["get_invoice"], id=stripe.facts["invoice"])
    assert problem(text, "denied")["request_sent"] == "no"


def test_a_tool_outside_the_grant_is_unknown(host, tools):
    token = host.mint(tools=["get_customer"], operations=["stripe:*"])["token"]
    assert set(tools(token)) == {"get_customer"}
    tool = tools()["get_invoice"]
    tool.server_params.headers = {"Authorization": f"Bearer {token}"}
    problem(call(tool, id="in_1"), "unknown_tool")


def test_what_the_upstream_does_not_have_is_named(tools):
    text = call(tools()["get_invoice"], id="in_missing")
    assert problem(text, "tool_not_found")["request_sent"] == "yes"


def test_arguments_that_do_not_fit_are_named(tools):
    # HttpTool checks the schema too: an agent with a schema of its own gets as far as the host.
    config = tools()["get_invoice"].server_params.model_dump()
    config["json_schema"] = {"type": "object", "properties": {"id": {"type": "string"}}, "required": ["id"]}
    text = call(HttpTool(**config), id="../customers")
    assert problem(text, "invalid_arguments")["request_sent"] == "no"
    assert "id" in text


def test_a_revoked_token_is_refused_at_once(host, stripe, tools):
    minted = host.mint(tools=["get_invoice"], operations=["stripe:get_invoice"])
    tool = tools(minted["token"])["get_invoice"]
    assert "code" not in json.loads(call(tool, id=stripe.facts["invoice"]))
    assert host.as_operator("DELETE", f"/v1/tokens/{minted['id']}").is_success
    problem(call(tool, id=stripe.facts["invoice"]), "unauthorized")


def test_a_token_of_another_conversation_is_refused(host, tools):
    minted = host.mint(tools=["get_invoice"], operations=["stripe:get_invoice"], conversation="one")
    tool = tools(minted["token"])["get_invoice"]
    tool.server_params.headers["Keybearer-Conversation"] = "two"
    problem(call(tool, id="in_1"), "conversation_mismatch")


def test_the_deadline_is_answered_before_httptool_gives_up(silent_host, tools):
    tool = tools(of=silent_host)["get_invoice"]
    [deadline_ms] = re.findall(r"(?m)^#= deadline_ms = (\d+)$", (silent_host.home / "keybearer.toml").read_text())
    own_ms = 1000 * tool.server_params.timeout
    assert int(deadline_ms) < own_ms, "HttpTool's own timeout would leave the model with an empty error"
    # On a busy machine the answer may be late. The longest deadline that there is would be later still.
    tool.server_params.timeout = 60
    error = json.loads(call(tool, id="in_1"))
    assert error["code"] in ("deadline_exceeded", "upstream_timeout"), error
    # The upstream took the request and said nothing: nobody can know what it did.
    assert error["request_sent"] == "unknown"


def test_a_host_that_is_gone_is_a_readable_error(stripe, key, tools, tmp_path):
    front = TlsFront(stripe.address, tmp_path)
    doomed = Host(front, tmp_path, key)
    available = list(tools(of=doomed).values())
    assert doomed.stop() == 0
    front.stop()
    invoice = stripe.facts["invoice"]
    outcome = asyncio.run(new_agent(available, invoice).run(task="What is its state?"))
    [result] = results([message.dump() for message in outcome.messages])
    assert result["is_error"] and "connection" in result["content"].lower()


def test_dev_ends_with_its_commands_code_and_leaves_nothing(tmp_path):
    environment = {**clean_environment(), "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", "import os, sys; sys.exit(7 if os.environ['KEYBEARER_TOKEN'] else 1)"]
    ended = subprocess.run([KEYBEARER, "dev", "--", *command], env=environment, capture_output=True, timeout=PATIENCE_S)
    assert ended.returncode == 7, ended.stderr
    assert list(tmp_path.iterdir()) == []
