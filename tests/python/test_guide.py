"""The three situations of docs/GOVERNANCE.md: its commands, files and scripts, with the real AutoGen and a (fake)
Stripe."""

import http.server
import json
import re
import threading

import httpx
import pytest

from guide import Guided, seen
from surroundings import PLAIN, FakeStripe, TlsFront, charges

CHARGE = "create_charge amount={} currency=usd customer={} order={}"


@pytest.fixture
def guided(stripe, key, tmp_path):
    """A host for a situation."""
    running = []

    def start(section, upstream=stripe.address):
        running.append(TlsFront(upstream, tmp_path))
        running.append(Guided(section, running[0], tmp_path, key))
        return running[1]

    yield start
    for one in reversed(running):
        one.stop()


@pytest.fixture
def shaky():
    """A Stripe with charges of its own that does what it's asked; while it's `broken`, it answers 500 after that."""
    stripe = FakeStripe()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            kept = {name: self.headers[name] for name in ("Authorization", "Content-Type")}
            reply = httpx.post(f"http://{stripe.address}{self.path}", content=body, headers=kept, **PLAIN)
            server.charged.append(reply.json()["id"])
            status, content = (500, b"{}") if server.broken else (reply.status_code, reply.content)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_GET(self):
            kept = {"Authorization": self.headers["Authorization"]}
            reply = httpx.get(f"http://{stripe.address}{self.path}", headers=kept, **PLAIN)
            self.send_response(reply.status_code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(reply.content)))
            self.end_headers()
            self.wfile.write(reply.content)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.address, server.broken, server.charged = f"127.0.0.1:{server.server_address[1]}", True, []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()
    stripe.stop()


def codes(results):
    """The code of each result that is a refusal; `None` for the others."""
    return [json.loads(result).get("code") for result in results]


def test_a_billing_agent_charges_within_its_limits(guided, stripe):
    host = guided("A billing agent")
    token, _ = host.mint("--agent billing-1")
    results = host.ask(
        token,
        f"get_invoice id={stripe.facts['invoice']}",
        CHARGE.format(4200, "cus_Acme", "a"),
        CHARGE.format(250000, "cus_Acme", "b"),
        CHARGE.format(4200, "cus_Initech", "c"),
        "create_charge amount=4200 currency=eur customer=cus_Acme",
    )
    assert codes(results) == [None, None, "denied", "denied", "denied"]
    assert json.loads(results[1])["status"] == "succeeded"
    for refused in results[2:]:
        told = json.loads(refused)
        assert told["request_sent"] == "no", "nothing left the host"
        assert "500" not in told["detail"] and "billing-" not in told["detail"], "the rule isn't told"
    trail = host.sh("keybearer audit list")
    asked = re.findall(r"send refused  stripe:create_charge  cost=(.+?)  code=denied  policy=sha256:", trail)
    assert asked == ["2500.00 USD", "42.00 USD", "42.00 EUR"] and "send 1 finished  status=200" in trail


def test_a_large_charge_waits_for_a_person(guided):
    host = guided("A billing agent")
    token, _ = host.mint("--agent billing-1")
    alice, _ = host.mint("--agent alice")
    large = CHARGE.format(42000, "cus_Acme", "a")
    agent = host.script("agent.py", large, "pause", large, KEYBEARER_TOKEN=token)
    [asked] = seen(agent.hear(lambda line: line.startswith("waiting")))
    approval = re.search(r"apr_\w+", asked)[0]
    assert codes([asked]) == ["approval_required"]
    shown = host.sh(f"keybearer approval show {approval}")
    assert "420.00 USD" in shown and "cus_Acme" in shown
    assert host.request("POST", f"/v1/approvals/{approval}/approve", token).status_code == 403
    assert host.request("POST", f"/v1/approvals/{approval}/approve", alice).json()["state"] == "granted"
    agent.go_on()
    [made] = seen(agent.rest())
    assert json.loads(made)["amount"] == 42000
    # One yes is for one charge.
    assert codes(host.ask(token, CHARGE.format(42000, "cus_Acme", "b"))) == ["approval_required"]


def test_a_day_s_budget_ends_whatever_the_agent_does(guided):
    host = guided("A billing agent")
    token, _ = host.mint("--agent billing-1")
    results = host.ask(token, *[CHARGE.format(9900, "cus_Globex", order) for order in "abcdefghijk"])
    assert codes(results) == [None] * 10 + ["over_budget"]
    assert "990.00 USD" in host.sh("keybearer budget list")


def test_three_roles_in_one_chat(guided):
    host = guided("A GroupChat of three roles")
    roles = ("billing", "reconciliation", "analytics")
    minted = {role: host.mint(f"--role {role}") for role in roles}
    tokens = {f"KEYBEARER_TOKEN_{role.upper()}": token for role, (token, _) in minted.items()}
    chat = host.script("group-chat/chat.py", "--customer", "cus_Acme", "--rounds", "2", **tokens)
    lines = chat.hear(lambda line: line.startswith("waiting"))
    said = {role: codes(seen(lines, role)) for role in roles}
    assert said == {
        "billing": [None, None],
        "reconciliation": ["over_budget", None],
        "analytics": ["denied", None],
    }
    host.sh(f"keybearer token revoke {minted['analytics'][1]}")
    [stop_one] = host.shown("keybearer kill agent:")
    host.sh(stop_one)
    chat.go_on()
    lines = chat.rest()
    said = {role: codes(seen(lines, role)) for role in roles}
    assert said == {
        "billing": [None, None],
        "reconciliation": ["killed", "killed"],
        "analytics": ["unauthorized", "unauthorized"],
    }
    [switch] = re.findall(r"kill_\w+", host.sh("keybearer kill list"))
    host.sh(f"keybearer kill lift {switch}")
    assert codes(host.ask(minted["reconciliation"][0], "get_customer id=cus_Acme")) == [None]
    [stop_all] = host.typed("keybearer kill conversation:")
    host.sh(stop_all)
    for role in ("billing", "reconciliation"):
        assert codes(host.ask(minted[role][0], "get_customer id=cus_Acme")) == ["killed"], role


def test_a_part_of_a_role_is_handed_on_and_ends_with_it(guided):
    host = guided("A GroupChat of three roles")
    token, name = host.mint("--role billing")
    [command] = host.typed("curl -s http://127.0.0.1:7411/v1/tokens/delegate")
    command = command.replace("http://127.0.0.1:7411", host.url).replace("$KEYBEARER_TOKEN_BILLING", token)
    child = json.loads(host.sh(command))
    assert child["parent"] == name and child["role"] == "billing"
    results = host.ask(
        child["token"],
        CHARGE.format(3000, "cus_Acme", "shipping"),
        CHARGE.format(2001, "cus_Acme", "more"),
    )
    assert codes(results) == [None, "over_budget"]
    host.sh(f"keybearer token revoke {name}")
    assert host.request("GET", "/v1/tools", child["token"]).status_code == 401


def test_a_storm_of_retries_charges_everyone_once(guided, upstream, customers, tmp_path):
    host = guided("A retry storm")
    token, _ = host.mint("--agent collector")
    listed = tmp_path / "customers.txt"
    listed.write_text("\n".join(customers))
    lines = host.script("retry-storm/storm.py", listed, KEYBEARER_TOKEN=token).rest()
    assert f"second run: {len(customers)} charges seen, 0 errors" in lines
    assert f"different charges in all: {len(customers)}" in lines
    assert len(charges(upstream, customers)) == len(customers), "200 charges, not 400"
    # Whoever means it says so, and the conversation's budget has room for ten more: 2,100.00 - 2,000.00.
    [command] = [line for line in host.typed("curl") if "Keybearer-Intent" in line]
    command = command.replace("http://127.0.0.1:7411", host.url).replace("$KEYBEARER_TOKEN", token)
    again = host.sh(command.replace("cus_Acme", customers[0]))
    assert json.loads(again)["amount"] == 1000
    assert len(charges(upstream, customers)) == len(customers) + 1


def test_money_is_held_until_somebody_knows(guided, shaky):
    host = guided("A retry storm", upstream=shaky.address)
    token, _ = host.mint("--agent collector")
    acme, globex = (f"create_charge amount=1000 currency=usd customer=cus_{name}" for name in ("Acme", "Globex"))
    [first, second] = host.ask(token, acme, globex)
    assert codes([first, second]) == ["upstream_error"] * 2
    # The model tries again: nobody knows, so nothing is sent.
    [again] = host.ask(token, acme)
    assert codes([again]) == ["duplicate"] and len(shaky.charged) == 2
    held = re.findall(r"call_\w+\.\d+", host.sh("keybearer budget list --held"))
    assert len(held) == 2
    assert "20.00 USD" in host.sh("keybearer budget list")
    # One was carried out, as the operator finds out. The other, let's say, wasn't.
    calls = [json.loads(one)["call"] for one in (first, second)]
    host.sh(f"keybearer budget settle {calls[0]}.1")
    host.sh(f"keybearer budget release {calls[1]}.1")
    assert "call_" not in host.sh("keybearer budget list --held")
    shaky.broken = False
    results = host.ask(token, acme, globex)
    assert codes(results) == ["duplicate", None] and len(shaky.charged) == 3


def test_a_charge_whose_reply_was_lost_is_found_again(guided, shaky):
    host = guided("A retry storm", upstream=shaky.address)
    connection = host.home / "connections/stripe.toml"
    # localstripe takes one bound of a time.
    one_bound = re.sub(r'(?m)^query\."created\[lt\]" = "\{latest\}"\n', "", connection.read_text())
    connection.write_text(one_bound)
    token, _ = host.mint("--agent collector")
    acme = "create_charge amount=1000 currency=usd customer=cus_Acme"
    [lost] = host.ask(token, acme)
    assert codes([lost]) == ["upstream_error"] and len(shaky.charged) == 1
    hold = f"{json.loads(lost)['call']}.1"
    # The host may be quicker, where this takes long.
    host.sh("keybearer budget reconcile")
    assert "call_" not in host.sh("keybearer budget list --held")
    # It was made, and stays the one that was made.
    shaky.broken = False
    assert codes(host.ask(token, acme)) == ["duplicate"] and len(shaky.charged) == 1
    trail = host.sh("keybearer audit list")
    assert re.search(rf"reconcile begun  {re.escape(hold)}  by=(cli|host)", trail)
    assert f"reconciled  {hold}  settled  amount=10.00 USD" in trail
