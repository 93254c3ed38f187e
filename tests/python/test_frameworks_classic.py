"""The v0.2 API (AG2 classic), as the examples use it, in an environment of its own."""

import json

import pytest

from frameworks import EXAMPLES, codes, last_seq, python_of, rows_after, run_script
from surroundings import charges, new_customer

GET_INVOICE = {"operations": ["stripe:get_invoice"], "tools": ["get_invoice"]}


@pytest.fixture
def run(host, models):
    """Runs an example with the scripted model behind it."""

    def example(script, *arguments, **env):
        env = {"KEYBEARER_URL": host.url, **models.environment(), **env}
        return run_script(EXAMPLES / script, *arguments, python=python_of("classic"), **env)

    return example


def test_one_proposes_and_another_carries_out(host, models, stripe, run, key):
    invoice, token = stripe.facts["invoice"], host.mint(**GET_INVOICE)["token"]
    models.script("gpt-4o", [("get_invoice", {"id": invoice})], "It is a draft.")
    printed = run("v02_style.py", f"What is the state of invoice {invoice}?", KEYBEARER_TOKEN=token)
    assert "answer: It is a draft." in printed
    offered = models.tools("gpt-4o")["get_invoice"]
    assert set(offered["parameters"]["properties"]) == {"id"} and "invoice" in offered["description"]
    [seen] = models.results("gpt-4o")
    assert json.loads(seen)["id"] == invoice
    for secret in (key, token):
        assert secret not in printed and secret.encode() not in models.everything()


def test_a_refusal_is_a_result_that_the_model_reads(host, models, stripe, run):
    invoice = stripe.facts["invoice"]
    token = host.mint(tools=["get_invoice"], operations=["stripe:get_customer"])["token"]
    models.script("gpt-4o", [("get_invoice", {"id": invoice})], "I may not.")
    run("v02_style.py", "Look it up.", KEYBEARER_TOKEN=token)
    assert codes(models.results("gpt-4o")) == ["denied"]


def test_each_of_a_group_chat_acts_with_its_own_token(host, models, upstream, run):
    customer = new_customer(upstream)
    tools = ["create_charge", "get_customer"]
    tokens = {
        "KEYBEARER_TOKEN_BILLING": host.mint(agent="billing", tools=tools, operations=["stripe:*"])["token"],
        "KEYBEARER_TOKEN_ANALYTICS": host.mint(agent="analytics", tools=tools, operations=["stripe:get_customer"])[
            "token"
        ],
    }
    before = last_seq(host)
    for role in ("billing", "analytics"):
        charge = {"amount": 4200, "currency": "usd", "customer": customer, "order": role}
        models.script(f"gpt-4o-{role}", [("create_charge", charge), ("get_customer", {"id": customer})], "Done.")
    run("v02_group_chat.py", "Charge the customer.", **tokens)
    assert models.left() == {}
    assert codes(models.results("gpt-4o-billing")) == [None, None]
    assert codes(models.results("gpt-4o-analytics"))[2:] == ["denied", None], "after what billing's calls came to"
    assert [charge["metadata"]["order"] for charge in charges(upstream, {customer}).values()] == ["billing"]
    calls = [(row["agent"], row["tool"]) for row in rows_after(host, before) if row["event"] == "call_begun"]
    assert sorted(calls) == [(role, tool) for role in ("analytics", "billing") for tool in tools]
    for token in tokens.values():
        assert token.encode() not in models.everything()
