"""The upstream's key is nowhere that an agent, its model or whoever watches them could see, whichever door was used. The
agent's own token is only where it must be."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from frameworks import memory_of
from scripted_model import ScriptedModel
from surroundings import PATIENCE_S, ROOT, forms

# What the model is told at each door of a charge that it may not make, of an invoice that isn't there, and of an id that is
# none.
DOORS = {
    "http": ["(denied)", "(tool_not_found)", "String should match pattern"],
    "mcp": ["(denied)", "(tool_not_found)", "(invalid_arguments)"],
    "workbench": ["(denied)", "(tool_not_found)", "(invalid_arguments)"],
    "sdk": ["(denied)", "Not Found", "(invalid_request)"],
    "code": ["stripe:create_charge", "404", "path.id must match"],
}

CHARGE = {"amount": 100, "currency": "usd", "customer": "cus_Acme"}


def calls(door, invoice):
    """What the model asks for."""
    ids = (invoice, "in_404", "not-an-id")
    if door != "code":
        read, missing, wrong = ([("get_invoice", {"id": id})] for id in ids)
        return read, [("create_charge", CHARGE)], missing, wrong
    stripe = 'import keybearer\nstripe = keybearer.http("stripe")\n'
    read, missing, wrong = (stripe + f'print(stripe.get("/v1/invoices/{id}").raise_for_status().json())' for id in ids)
    codes = (read, stripe + f'stripe.post("/v1/charges", form={CHARGE})', missing, wrong)
    return [[("CodeExecutor", {"code": code})] for code in codes]


class Observed:
    """An agent that reads, tries what it may not, and asks for what isn't there; and all that it left behind."""

    def __init__(self, door, host, models, invoice, folder):
        self.token = host.mint(
            tools=["get_invoice", "create_charge", "run_python"],
            operations=["stripe:get_invoice"],
            conversation=f"at-{door}",
        )["token"]
        models.script("gpt-4o", *calls(door, invoice), self.look)
        out = folder / f"{door}.json"
        self.agent = subprocess.Popen(
            [sys.executable, ROOT / "tests/python/observed.py", door, out],
            env={**host.agent_environment(self.token), **models.environment(), "PYTHONDONTWRITEBYTECODE": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        printed, _ = self.agent.communicate(timeout=PATIENCE_S)
        assert self.agent.returncode == 0, printed
        self.results = models.results("gpt-4o")
        left = json.loads(out.read_text())
        self.places = {
            "what it printed": printed.encode(),
            "its process's environment": self.environment,
            "its process's memory": self.memory,
            "what its model was sent": models.everything(),
            "the host's log": host.log().encode(),
            **{name: json.dumps(what).encode() for name, what in left.items()},
        }
        self.spans = left["spans"]

    def look(self):
        """While the agent's process is there, with all that it has done behind it."""
        self.environment = Path(f"/proc/{self.agent.pid}/environ").read_bytes()
        self.memory = memory_of(self.agent.pid)
        return "Done."


@pytest.fixture(scope="module", params=DOORS)
def observed(request, stripe, tmp_path_factory):
    host = request.getfixturevalue("code_host" if request.param == "code" else "host")
    with ScriptedModel() as models:
        folder = tmp_path_factory.mktemp(request.param)
        seen = Observed(request.param, host, models, stripe.facts["invoice"], folder)
        seen.door, seen.sent = request.param, host.front.transcript.read_bytes()
        yield seen


def test_the_agent_did_what_it_was_to(observed, stripe, key):
    """Else there was nothing to find: the key was used, and refusals, logs and traces are there."""
    assert stripe.facts["invoice"] in observed.results[0]
    for refused, told in zip(observed.results[1:], DOORS[observed.door], strict=True):
        assert told in refused
    assert key.encode() in observed.sent
    assert b"httpx" in observed.places["log"] and observed.places["its process's memory"]
    names = {span["name"] for span in observed.spans}
    assert "invoke_agent billing" in names, names


def test_the_key_is_nowhere(observed, key):
    for place, content in observed.places.items():
        for form in forms(key):
            assert form not in content, place


def test_the_token_is_only_where_it_must_be(observed):
    """In the process that presents it. AutoGen's own components have it in their headers, and dump them."""
    must_be = {"its process's environment", "its process's memory"}
    if observed.door in ("http", "mcp"):
        must_be.add("dumps")
    if observed.door in ("workbench", "code"):
        assert b"KEYBEARER_TOKEN" in observed.places["dumps"], "the variable's name"
    found = {place for place, content in observed.places.items() if observed.token.encode() in content}
    assert found == must_be
