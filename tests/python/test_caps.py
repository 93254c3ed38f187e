"""Spending caps, as Stripe's SDK meets them."""

import pytest
import stripe

# $10 a day.
DAILY_CAP = {"limit": 1000, "unit": "usd", "window": "day"}
# A role that reconciles: it may not spend at all.
NOTHING = {"limit": 0, "unit": "usd", "window": "total"}


@pytest.fixture
def sdk(host, monkeypatch):
    """The SDK with a key of this budget."""

    def configured(budget):
        minted = host.mint(operations=["stripe:*"], budgets=[budget])
        monkeypatch.setattr(stripe, "api_key", minted["token"])
        monkeypatch.setattr(stripe, "api_base", f"{host.url}/proxy/stripe")
        return stripe

    return configured


def test_what_is_left_can_be_spent_and_no_more(sdk):
    s = sdk(DAILY_CAP)
    charge = {"currency": "usd", "customer": "cus_test_fixture"}
    s.Charge.create(amount=600, **charge)
    with pytest.raises(stripe.error.AuthenticationError, match="cap") as refused:
        s.Charge.create(amount=401, **charge)
    assert refused.value.error.code == "over_budget" and refused.value.error.request_sent == "no"
    s.Charge.create(amount=400, **charge)
    with pytest.raises(stripe.error.AuthenticationError, match="cap"):
        s.Charge.create(amount=1, **charge)


def test_a_reconciling_role_reads_and_spends_nothing(sdk):
    s = sdk(NOTHING)
    assert s.Customer.retrieve("cus_test_fixture").id == "cus_test_fixture"
    with pytest.raises(stripe.error.AuthenticationError, match="cap"):
        s.Charge.create(amount=1, currency="usd", customer="cus_test_fixture")
