"""Microsoft Agent Framework over MCP (mcp 2.x), as the example uses it, in an environment of its own."""

import json
import re

from frameworks import EXAMPLES, python_of, run_script


def run(host, models, token, task):
    env = {"KEYBEARER_URL": host.url, "KEYBEARER_TOKEN": token, **models.environment()}
    return run_script(EXAMPLES / "agent_framework_mcp.py", task, python=python_of("agent-framework"), **env)


def test_an_agent_over_mcp(host, models, stripe, key):
    invoice = stripe.facts["invoice"]
    token = host.mint(tools=["get_invoice"], operations=["stripe:get_invoice"])["token"]
    models.script("gpt-4o", [("get_invoice", {"id": invoice})], "It is a draft.")
    printed = run(host, models, token, f"What is the state of invoice {invoice}?")
    assert "It is a draft." in printed
    assert set(models.tools("gpt-4o")) == {"get_invoice"}
    [seen] = models.results("gpt-4o")
    assert json.loads(seen)["id"] == invoice
    for secret in (key, token):
        assert secret not in printed and secret.encode() not in models.everything()


def test_refusals_are_read_and_the_connection_lives_on(host, models, stripe):
    invoice = stripe.facts["invoice"]
    token = host.mint(tools=["get_invoice", "get_customer"], operations=["stripe:get_invoice"])["token"]
    models.script(
        "gpt-4o",
        [("get_customer", {"id": stripe.facts["customer"]})],
        [("get_invoice", {"id": "in_404"})],
        [("get_invoice", {"id": invoice})],
        "At last.",
    )
    assert "At last." in run(host, models, token, "Look around.")
    results = models.results("gpt-4o")
    told = [re.search(r"The call failed \((\w+)\)", result)[1] for result in results[:2]]
    assert told == ["denied", "tool_not_found"]
    assert json.loads(results[2])["id"] == invoice
