"""Stripe's own SDK through the proxy door: its key and its base URL are changed, and nothing else."""

import asyncio
import subprocess
import sys

import pytest
import stripe
from stripe import StripeClient

from surroundings import PATIENCE_S, clean_environment

FIXTURE = "cus_test_fixture"
CHARGE = {"amount": 700, "currency": "usd", "customer": FIXTURE, "description": "[conv:1] café & more"}
INTENT = {"amount": 900, "currency": "usd", "customer": FIXTURE, "payment_method": "pm_card_visa"}

# The SDK's way of using httpx, which that would like to be asked otherwise.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=<...>':DeprecationWarning")

# A process that uses the SDK, and then writes its own memory to a file.
USER = """
import stripe, sys
stripe.api_key, stripe.api_base, dump = sys.argv[1:]
stripe.Charge.create(amount=100, currency="usd", customer="cus_test_fixture")
try:
    stripe.Subscription.list()
except stripe.error.PermissionError as error:
    print(error)
with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb", 0) as memory, open(dump, "wb") as out:
    for line in maps:
        place, rights = line.split()[:2]
        if rights.startswith("rw"):
            start, end = (int(part, 16) for part in place.split("-"))
            memory.seek(start)
            try:
                out.write(memory.read(end - start))
            except OSError:
                pass  # A guard page.
"""


@pytest.fixture
def sdk(host, monkeypatch):
    """The module as a program with this token has it."""

    def configured(token=None, of=host):
        monkeypatch.setattr(stripe, "api_key", token or of.token)
        monkeypatch.setattr(stripe, "api_base", f"{of.url}/proxy/stripe")
        return stripe

    return configured


@pytest.fixture
def client(host):
    """The same, in the way that newer programs use it."""
    made = StripeClient(host.token, base_addresses={"api": f"{host.url}/proxy/stripe"})
    yield made.v1


def rows(host, after=0):
    """What the trail holds, oldest first."""
    page = host.as_operator("GET", "/v1/audit?limit=1000").json()["rows"]
    return [row for row in reversed(page) if row["seq"] > after]


def test_reads_and_writes_are_the_vendors_own(sdk):
    s = sdk()
    charge = s.Charge.create(**CHARGE)
    assert (charge.amount, charge.description, charge.paid) == (700, CHARGE["description"], True)
    assert s.Charge.retrieve(charge.id).id == charge.id
    listed = s.Charge.list(customer=FIXTURE, limit=100)
    assert charge.id in [one.id for one in listed.data]
    refund = s.Refund.create(charge=charge.id, amount=200)
    assert s.Refund.retrieve(refund.id).amount == 200
    assert [one.id for one in s.Refund.list(charge=charge.id)] == [refund.id]

    customer = s.Customer.create(email="new@example.com", name="New Example")
    assert s.Customer.modify(customer.id, name="Newer Example").name == "Newer Example"
    assert [one.id for one in s.Customer.list(email="new@example.com")] == [customer.id]


def test_payment_intents_are_made_confirmed_and_cancelled(sdk):
    s = sdk()
    made = s.PaymentIntent.create(**INTENT, confirm=True)
    assert s.PaymentIntent.retrieve(made.id).status == "succeeded"
    other = s.PaymentIntent.create(**INTENT)
    assert s.PaymentIntent.cancel(other.id).status == "canceled"
    assert {made.id, other.id} <= {one.id for one in s.PaymentIntent.list(limit=100)}


def test_no_payment_intent_takes_what_no_budget_has_counted(host, sdk):
    theirs = sdk().PaymentIntent.create(**{**INTENT, "amount": 9_999_900})
    held = sdk().PaymentIntent.create(**{**INTENT, "amount": 9_999_900}, capture_method="manual", confirm=True)
    cap = {"limit": 1_000, "unit": "usd", "window": "day"}
    s = sdk(host.mint(operations=["stripe:*"], budgets=[cap])["token"])
    s.PaymentIntent.create(**INTENT, confirm=True)
    with pytest.raises(stripe.error.AuthenticationError, match="cap"):
        s.PaymentIntent.create(**INTENT, confirm=True)
    for take in (
        lambda: s.PaymentIntent.confirm(theirs.id),
        lambda: s.PaymentIntent.capture(held.id),
        lambda: s.PaymentIntent.capture(held.id, amount_to_capture=1),
    ):
        with pytest.raises(stripe.error.PermissionError) as refused:
            take()
        assert refused.value.error.code == "unknown_operation"
    left = [s.PaymentIntent.retrieve(one.id).status for one in (theirs, held)]
    assert left == ["requires_confirmation", "requires_capture"]


def test_pages_follow_each_other(sdk):
    s = sdk()
    made = {s.Charge.create(**{**CHARGE, "amount": amount}).id for amount in (1, 2, 3)}
    seen = [charge.id for charge in s.Charge.list(customer=FIXTURE, limit=1).auto_paging_iter()]
    assert made <= set(seen) and len(seen) == len(set(seen)) > 3


def test_the_client_object_works_too(client):
    charge = client.charges.create(CHARGE)
    assert client.charges.retrieve(charge.id).amount == 700
    assert client.customers.retrieve(FIXTURE).id == FIXTURE
    assert len(client.charges.list({"customer": FIXTURE, "limit": 1}).data) == 1


def test_async_is_the_same(sdk, host):
    s = sdk()

    async def use():
        charge = await s.Charge.create_async(**CHARGE)
        again = await s.Charge.retrieve_async(charge.id)
        client = StripeClient(host.token, base_addresses={"api": f"{host.url}/proxy/stripe"}).v1
        many = await asyncio.gather(*(client.charges.create_async(CHARGE) for _ in range(8)))
        page = await client.charges.list_async({"customer": FIXTURE, "limit": 100})
        with pytest.raises(stripe.PermissionError):
            await s.Subscription.list_async()
        return charge, again, many, page

    charge, again, many, page = asyncio.run(use())
    assert again.id == charge.id
    assert {one.id for one in many} <= {one.id for one in page.data} and len({one.id for one in many}) == 8


def test_the_upstreams_own_errors_stay_its_own(sdk):
    with pytest.raises(stripe.error.InvalidRequestError) as missing:
        sdk().Charge.retrieve("ch_missing")
    assert missing.value.http_status == 404
    assert "The call failed" not in str(missing.value), "it's the upstream's answer"


def test_what_is_not_granted_or_not_declared_is_not_permitted(host, sdk):
    s = sdk(host.mint(operations=["stripe:get_charge"])["token"])
    for asked, code in [
        (lambda: s.Charge.create(**CHARGE), "denied"),
        (lambda: s.Customer.retrieve(FIXTURE), "denied"),
        (lambda: s.Subscription.list(), "unknown_operation"),
        (lambda: s.Balance.retrieve(), "unknown_operation"),
    ]:
        with pytest.raises(stripe.error.PermissionError) as refused:
            asked()
        error = refused.value
        assert (error.error.code, error.http_status, error.error.request_sent) == (code, 403, "no")
        assert error.headers["stripe-should-retry"] == "false"
        # The id under which the operator finds it.
        call = error.request_id
        assert host.as_operator("GET", f"/v1/audit/{call}").json()["rows"][-1]["code"] == code


def test_parameters_that_are_not_declared_are_named(sdk):
    s = sdk()
    for more, name in [
        ({"application_fee_amount": 1}, "application_fee_amount"),
        ({"metadata": {"order": "1", "more": "2"}}, "metadata[more]"),
        ({"amount": -5}, "amount"),
        ({"customer": "cus_1/../cus_2"}, "customer"),
        ({"expand": ["customer"]}, "expand[0]"),
    ]:
        with pytest.raises(stripe.error.InvalidRequestError) as refused:
            s.Charge.create(**{**CHARGE, **more})
        assert refused.value.http_status == 400 and name in str(refused.value)


def test_another_account_is_refused_and_not_left_out(sdk):
    with pytest.raises(stripe.error.InvalidRequestError, match="stripe-account"):
        sdk().Charge.create(**CHARGE, stripe_account="acct_1")


def test_the_vendors_own_key_is_refused_and_goes_nowhere(host, sdk, key):
    s = sdk(key)
    before = host.front.transcript.read_bytes()
    for asked in (lambda: s.Charge.create(**CHARGE), lambda: asyncio.run(s.Charge.create_async(**CHARGE))):
        with pytest.raises(stripe.error.AuthenticationError) as refused:
            asked()
        assert key not in str(refused.value) + str(refused.value.http_body) + str(refused.value.headers)
    assert host.front.transcript.read_bytes() == before, "nothing was sent"
    assert key not in host.log()


def test_a_revoked_key_is_refused_at_once(host, sdk):
    minted = host.mint(operations=["stripe:get_customer"])
    s = sdk(minted["token"])
    assert s.Customer.retrieve(FIXTURE).id == FIXTURE
    assert host.as_operator("DELETE", f"/v1/tokens/{minted['id']}").is_success
    with pytest.raises(stripe.error.AuthenticationError):
        s.Customer.retrieve(FIXTURE)


def test_conversations_and_turns_are_on_the_trail(host, sdk):
    after = rows(host)[-1]["seq"]
    minted = host.mint(operations=["stripe:create_charge"], conversation="c-1")
    ours = {"Keybearer-Conversation": "c-1", "Keybearer-Turn": "7"}
    s = sdk(minted["token"])
    s.Charge.create(**CHARGE, headers=ours)
    begun = next(row for row in rows(host, after) if row["event"] == "call_begun")
    assert (begun["door"], begun["conversation"], begun["turn"], begun["tool"]) == ("proxy", "c-1", "7", None)
    with pytest.raises(stripe.error.PermissionError):
        s.Charge.create(**CHARGE, headers={"Keybearer-Conversation": "c-2"})


def test_the_vendors_own_records_name_the_conversation(host, sdk):
    s = sdk(host.mint(operations=["stripe:*"], conversation="c-9")["token"])
    charge = s.Charge.create(**CHARGE)
    for made in (charge, s.PaymentIntent.create(**INTENT), s.Refund.create(charge=charge.id, amount=200)):
        assert made.metadata["conversation"] == "c-9", made
    with pytest.raises(stripe.error.InvalidRequestError, match="written by the host alone"):
        s.Refund.create(charge=charge.id, amount=100, metadata={"conversation": "c-8"})


def test_nothing_of_the_sdk_but_its_request_reaches_the_upstream(host, sdk):
    before = len(host.front.transcript.read_bytes())
    sdk().Charge.create(**CHARGE, idempotency_key="chosen-by-the-model")
    sent = host.front.transcript.read_bytes()[before:].decode().lower()
    assert "post /v1/charges" in sent
    for chatter in ("pythonbindings", "x-stripe-client", "chosen-by-the-model", "kbt_", "keybearer-"):
        assert chatter not in sent.replace("user-agent: keybearer/", ""), chatter


def test_an_unclear_failure_is_not_tried_again(silent_host, sdk):
    s = sdk(of=silent_host)
    assert stripe.max_network_retries > 0, "the SDK would, if it were left to it"
    with pytest.raises(stripe.error.APIError) as failed:
        s.Charge.create(**CHARGE)
    assert failed.value.error.request_sent == "unknown" and "may have been sent" in str(failed.value)
    sends = [row for row in rows(silent_host) if row["event"] == "send_begun"]
    assert len(sends) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="a process reads its own memory in Linux's way")
def test_the_key_is_nowhere_in_the_sdks_process(host, key, tmp_path):
    dump = tmp_path / "memory"
    command = [sys.executable, "-c", USER, host.token, f"{host.url}/proxy/stripe", dump]
    environment = {**clean_environment(), "XDG_CONFIG_HOME": str(tmp_path)}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE_S)
    assert ended.returncode == 0 and "unknown_operation" in ended.stdout, ended.stderr
    memory = dump.read_bytes()
    assert host.token.encode() in memory, "this finds what is there"
    assert key.encode() not in memory and key.encode()[::-1] not in memory
