"""AG2 1.x, as the examples use it, in an environment of its own."""

import json

from frameworks import EXAMPLES, codes, python_of, run_script


def run(models, url, token, task):
    env = {"KEYBEARER_URL": url, "KEYBEARER_TOKEN": token, **models.environment()}
    return run_script(EXAMPLES / "ag2_agent.py", task, python=python_of("ag2"), **env)


def test_an_agent_with_a_tool(host, models, stripe, key):
    invoice = stripe.facts["invoice"]
    token = host.mint(tools=["get_invoice"], operations=["stripe:get_invoice"])["token"]
    models.script("gpt-4o", [("get_invoice", {"id": invoice})], "It is a draft.")
    printed = run(models, host.url, token, f"What is the state of invoice {invoice}?")
    assert "It is a draft." in printed
    [seen] = models.results("gpt-4o")
    assert json.loads(seen)["id"] == invoice
    for secret in (key, token):
        assert secret not in printed and secret.encode() not in models.everything()


def test_a_refusal_and_a_missing_host_are_results_that_the_model_reads(host, models):
    token = host.mint(tools=["get_invoice"], operations=[])["token"]
    call = [("get_invoice", {"id": "in_1"})]
    models.script("gpt-4o", call, "I may not.")
    run(models, host.url, token, "Look it up.")
    models.script("gpt-4o", call, "Nobody is there.")
    run(models, "http://127.0.0.1:1", token, "Look it up.")
    [refused, missing] = models.results("gpt-4o")
    assert codes([refused]) == ["denied"]
    # This framework would show the model a traceback, with lines of the tool's source.
    assert missing == "The call failed: no Keybearer host answers at http://127.0.0.1:1."
