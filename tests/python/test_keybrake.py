"""The tests of a published guide to governing AutoGen's Stripe calls, against a host of ours with a (fake) Stripe behind it.

The guide is written for another proxy. Its tests stand here as it has them, word for word: what differs is the key and
the base URL, which it takes from its environment and a constant.
"""

import pytest
import stripe

# Given by the fixture below, as the guide's reader gives them by hand.
PROXY_BASE = TEST_VAULT_KEY = LIVE_KEY = None


@pytest.fixture(autouse=True)
def governed(host, key, monkeypatch):
    """A key for the guide's billing agent, and the vendor's own."""
    operations = ["stripe:create_charge", "stripe:get_charge", "stripe:get_customer"]
    minted = host.mint(operations=operations, budgets=[{"limit": 1000, "unit": "usd", "window": "day"}])
    ours = {"PROXY_BASE": f"{host.url}/proxy/stripe", "TEST_VAULT_KEY": minted["token"], "LIVE_KEY": key}
    for name, value in ours.items():
        monkeypatch.setitem(globals(), name, value)
    # The guide's tests set these and leave them.
    for name in ("api_key", "api_base"):
        monkeypatch.setattr(stripe, name, getattr(stripe, name))


def stripe_via_proxy():
    """Return a stripe module configured to use the test vault key + proxy."""
    s = stripe
    s.api_key = TEST_VAULT_KEY
    s.api_base = PROXY_BASE
    return s


def test_charge_within_cap_succeeds():
    """A $5 charge under the $10 daily cap should succeed."""
    s = stripe_via_proxy()
    # Use stripe test customer ID from test fixtures
    charge = s.Charge.create(
        amount=500,  # $5.00
        currency="usd",
        customer="cus_test_fixture",
        description="pytest: within-cap charge",
    )
    assert charge.id.startswith("ch_")


def test_charge_exceeds_cap_is_blocked():
    """A $20 charge against a $10 daily cap should be rejected by the proxy."""
    s = stripe_via_proxy()
    with pytest.raises(stripe.error.AuthenticationError) as exc_info:
        s.Charge.create(
            amount=2000,  # $20.00 — exceeds $10 daily cap
            currency="usd",
            customer="cus_test_fixture",
        )
    # Proxy returns 402 / 403 when policy blocks; stripe-python maps to AuthenticationError
    assert "cap" in str(exc_info.value).lower() or exc_info.value.http_status in (402, 403)


def test_disallowed_endpoint_is_blocked():
    """A subscription endpoint the policy doesn't permit should be blocked."""
    s = stripe_via_proxy()
    with pytest.raises(stripe.error.PermissionError):
        s.Subscription.list()  # not in billing-agent allowlist


def test_live_key_not_accepted_by_proxy():
    """The proxy should reject the live key — only vault keys are valid."""
    s = stripe
    s.api_key = LIVE_KEY
    s.api_base = PROXY_BASE
    with pytest.raises(stripe.error.AuthenticationError):
        s.Charge.create(amount=100, currency="usd", customer="cus_test_fixture")
