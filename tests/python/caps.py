"""Spending caps as Stripe's SDK meets them. Named so that pytest doesn't pick it up until budgets hold: rename it to
`test_caps.py` then. `test_charge_exceeds_cap_is_blocked` belongs to `test_keybrake.py`, whose key then needs the cap."""

import pytest
import stripe

# As in test_keybrake.py.
PROXY_BASE = TEST_VAULT_KEY = None

# $10 a day.
DAILY_CAP = {"limit": 1000, "unit": "usd", "window": "day"}
# A role that reconciles: it may not spend at all.
NOTHING = {"limit": 0, "unit": "usd", "window": "total"}


@pytest.fixture(autouse=True)
def governed(host, monkeypatch):
    minted = host.mint(operations=["stripe:*"], budgets=[DAILY_CAP])
    monkeypatch.setitem(globals(), "PROXY_BASE", f"{host.url}/proxy/stripe")
    monkeypatch.setitem(globals(), "TEST_VAULT_KEY", minted["token"])
    for name in ("api_key", "api_base"):
        monkeypatch.setattr(stripe, name, getattr(stripe, name))


def stripe_via_proxy(key=None):
    """Return a stripe module configured to use the test vault key + proxy."""
    s = stripe
    s.api_key = key or TEST_VAULT_KEY
    s.api_base = PROXY_BASE
    return s


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


def test_what_is_left_can_be_spent_and_no_more():
    s = stripe_via_proxy()
    charge = {"currency": "usd", "customer": "cus_test_fixture"}
    s.Charge.create(amount=600, **charge)
    with pytest.raises(stripe.error.AuthenticationError, match="cap") as refused:
        s.Charge.create(amount=401, **charge)
    assert refused.value.error.code == "over_budget" and refused.value.error.request_sent == "no"
    s.Charge.create(amount=400, **charge)
    with pytest.raises(stripe.error.AuthenticationError, match="cap"):
        s.Charge.create(amount=1, **charge)


def test_a_reconciling_role_reads_and_spends_nothing(host):
    s = stripe_via_proxy(host.mint(operations=["stripe:*"], budgets=[NOTHING])["token"])
    assert s.Customer.retrieve("cus_test_fixture").id == "cus_test_fixture"
    with pytest.raises(stripe.error.AuthenticationError, match="cap"):
        s.Charge.create(amount=1, currency="usd", customer="cus_test_fixture")
