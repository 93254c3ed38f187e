"""Runs localstripe, a stateful Stripe server with fake data, for the demo and the tests.

    python fake_stripe.py

It listens on a free loopback port, is given a customer with two invoices and three with a card whose ids are known
beforehand, `cus_test_fixture`, `cus_Acme` and `cus_Globex`, and then prints

    port=41234
    customer=cus_...
    invoice=in_...        (a draft)
    paid_invoice=in_...
    ready

It ends when its standard input closes, so it can't outlive whoever started it.

localstripe runs unchanged, as `python -m localstripe` would. Three things around it are set, since it has no flags
for them: it listens on loopback alone, on a port that the system picks, and its state file, which is always
`/tmp/localstripe.pickle`, isn't written.
"""

import io
import json
import os
import runpy
import socket
import sys
import threading
import urllib.parse
import urllib.request

from localstripe import resources

# Any key that looks like one will do.
SEED_KEY = "sk_test_seed"

port_known = threading.Event()
port = 0


class LoopbackSocket(socket.socket):
    """A socket that binds to 127.0.0.1 where it was to bind to every address of the machine."""

    def __init__(self, family=-1, type=-1, proto=-1, fileno=None):
        if fileno is None and family == socket.AF_INET6:
            family = socket.AF_INET
        super().__init__(family, type, proto, fileno)

    def bind(self, address):
        global port
        if address[0] != "::":
            return super().bind(address)
        super().bind(("127.0.0.1", 0))
        self.listen()  # From here on a connection waits until the server takes it.
        port = self.getsockname()[1]
        port_known.set()


def request(path, form):
    """POSTs a form to the fake Stripe and returns what it answers."""
    call = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}",
        data=urllib.parse.urlencode(form).encode(),
        headers={"Authorization": f"Bearer {SEED_KEY}"},
    )
    # No proxy: whatever the environment says, this goes to our own loopback.
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(call, timeout=5) as reply:
        return json.load(reply)


def card():
    """A token for a card that is never declined."""
    details = {"number": "4242424242424242", "exp_month": 12, "exp_year": 2035, "cvc": 123}
    return request("/v1/tokens", {f"card[{name}]": value for name, value in details.items()})["id"]


def seed_known(name):
    """A customer whose id is known beforehand. The server makes ids by itself, so this one is put in its mouth."""
    make_id = resources.random_id
    resources.random_id = lambda length: name
    try:
        request("/v1/customers", {"email": f"{name}@example.com"})
    finally:
        resources.random_id = make_id
    request(f"/v1/customers/cus_{name}/sources", {"source": card()})


def seed():
    """A customer with a card and a subscription: last month's invoice is paid, this month's is a draft."""
    for name in ("test_fixture", "Acme", "Globex"):
        seed_known(name)
    person = {"email": "ada@example.com", "name": "Ada Example", "source": card()}
    customer = request("/v1/customers", person)["id"]
    plan = {"id": "pro", "amount": 4200, "currency": "usd", "interval": "month", "product[name]": "Pro"}
    request("/v1/plans", plan)
    subscription = request("/v1/subscriptions", {"customer": customer, "items[0][plan]": "pro"})
    extra = {"customer": customer, "amount": 900, "currency": "usd", "description": "One more seat"}
    request("/v1/invoiceitems", extra)
    invoice = request("/v1/invoices", {"customer": customer, "description": "This month"})["id"]
    return {"customer": customer, "invoice": invoice, "paid_invoice": subscription["latest_invoice"]}


def seed_then_wait():
    """Fills in the data, says so, and ends the process when standard input closes."""
    try:
        port_known.wait(timeout=30)
        for name, value in {"port": port, **seed()}.items():
            print(f"{name}={value}", file=told)
        print("ready", file=told, flush=True)
        sys.stdin.read()
    except BaseException as error:  # The server would run on without its data.
        print(f"fake Stripe: {error!r}", file=sys.stderr, flush=True)
        os._exit(1)
    os._exit(0)


if __name__ == "__main__":
    # It would be written anew, whole, with every change.
    resources.Store.dump_to_disk = lambda store: None
    socket.socket = LoopbackSocket
    # Its greeting isn't for our reader; its errors and its log of requests go to standard error.
    told, sys.stdout = sys.stdout, io.StringIO()
    threading.Thread(target=seed_then_wait, daemon=True).start()
    sys.argv = ["localstripe", "--from-scratch"]
    runpy.run_module("localstripe", run_name="__main__", alter_sys=True)
