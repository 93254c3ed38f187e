"""Old requests against new rules, through the command line: `audit questions | policy replay -`."""

import json

import pytest

from guide import Guided
from surroundings import TlsFront

CHARGE = "create_charge amount={} currency=usd customer={}"
STRICTER = """
@id("small-charges-alone")
forbid (principal, action == Action::"stripe:create_charge", resource)
when { context.body.amount > 1000 };
"""


@pytest.fixture
def guided(stripe, key, tmp_path):
    """A host of the guide's billing agent that keeps what its policies are asked."""
    front = TlsFront(stripe.address, tmp_path)

    class Keeping(Guided):
        def sh(self, command):
            printed = super().sh(command)
            config = self.home / "keybearer.toml"
            if command == "keybearer init":
                config.write_text(config.read_text() + "\n[audit]\nkeep_questions = true\n")
            return printed

    running = Keeping("A billing agent", front, tmp_path, key)
    yield running
    running.stop()
    front.stop()


def test_what_was_asked_is_asked_again_of_other_policies(guided, key, tmp_path):
    token, _ = guided.mint("--agent billing-1")
    guided.ask(token, *(CHARGE.format(amount, "cus_Acme") for amount in (900, 4200, 250000)))
    questions = [json.loads(line) for line in guided.sh("keybearer audit questions").splitlines()]
    amounts = [asked["body"]["amount"] for asked in questions if asked.get("operation") == "stripe:create_charge"]
    assert amounts == [900, 4200, 250000], "what was refused is asked again as well"
    stored = b"".join(file.read_bytes() for file in guided.home.glob("audit.db*"))
    assert b"cus_Acme" not in stored, "what is kept is sealed"
    assert key not in json.dumps(questions)

    candidate = tmp_path / "candidate"
    candidate.mkdir()
    for policy in (guided.home / "policies").glob("*.cedar"):
        (candidate / policy.name).write_text(policy.read_text())
    replay = f"keybearer audit questions | keybearer --json policy replay - --candidate {candidate}"
    assert changes(guided.sh(replay)) == 0, "the same policies decide the same"
    (candidate / "stricter.cedar").write_text(STRICTER)
    told = guided.sh(replay)
    # 900 is allowed as before, and 250000 was refused before.
    assert changes(told) == 1 and "small-charges-alone" in told, told

    # Without a permit of calls nothing comes as far as a request, whatever permits that.
    for policy in candidate.glob("*.cedar"):
        policy.unlink()
    (candidate / "sends.cedar").write_text('permit (principal, action in Action::"send", resource);')
    told = guided.sh(replay)
    answers, _ = json.JSONDecoder().raw_decode(told[told.index("{") :])
    asked = [answer["asked_for"] for answer in answers["changed"] if answer["would_be"] == "denied"]
    assert answers["calls"] == 3 and asked == ["call:create_charge"] * 3, answers

    rows = json.loads(guided.sh("keybearer --json audit list --limit 1000 2>/dev/null"))
    checked = json.loads(guided.sh("keybearer --json policy check 2>/dev/null"))
    assert {row["policy"] for row in rows if row["event"] == "send_begun"} == {checked["hash"]}


def changes(printed):
    """How many answers would be others."""
    told, _ = json.JSONDecoder().raw_decode(printed[printed.index("{") :])
    assert told["requests"] == 3 and told["lost"] == 0, told
    return len(told["changed"])
