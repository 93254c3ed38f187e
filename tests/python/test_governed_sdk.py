"""What a published guide to governing an agent's Stripe calls expects of a proxy, asked of a host of ours with a (fake)
Stripe behind it: a charge within the cap goes through, one above it doesn't, an endpoint that isn't allowed is refused, and
so is the vendor's own key. The SDK is used as the guide uses it: only the key and the base URL are changed."""

import pytest
import stripe

FIXTURE = "cus_test_fixture"
# $10 a day.
DAILY_CAP = {"limit": 1000, "unit": "usd", "window": "day"}
# A role that reconciles: it may not spend at all.
NOTHING = {"limit": 0, "unit": "usd", "window": "total"}
BILLING = ["stripe:create_charge", "stripe:get_charge", "stripe:get_customer"]


@pytest.fixture
def sdk(host, monkeypatch):
    """The SDK's module, with this key."""

    def keyed(key):
        monkeypatch.setattr(stripe, "api_key", key)
        monkeypatch.setattr(stripe, "api_base", f"{host.url}/proxy/stripe")
        return stripe

    return keyed


@pytest.fixture
def capped(host, sdk):
    """A billing agent's, with the cap."""
    return sdk(host.mint(operations=BILLING, budgets=[DAILY_CAP])["token"])


def charge(sdk, amount):
    return sdk.Charge.create(amount=amount, currency="usd", customer=FIXTURE)


def test_a_charge_within_the_cap_goes_through(capped):
    assert charge(capped, 500).id.startswith("ch_")


def test_a_charge_above_the_cap_is_refused(capped):
    # The guide's SDK is expected to raise just this, and its message to speak of the cap.
    with pytest.raises(stripe.error.AuthenticationError, match="cap"):
        charge(capped, 2000)


def test_an_endpoint_that_is_not_allowed_is_refused(capped):
    with pytest.raises(stripe.error.PermissionError):
        capped.Subscription.list()


def test_the_vendor_s_own_key_is_refused(sdk, key):
    with pytest.raises(stripe.error.AuthenticationError):
        charge(sdk(key), 100)


def test_what_is_left_can_be_spent_and_no_more(host, sdk):
    # In all, and not a day: midnight would make room.
    capped = sdk(host.mint(operations=BILLING, budgets=[{**DAILY_CAP, "window": "total"}])["token"])
    charge(capped, 600)
    with pytest.raises(stripe.error.AuthenticationError, match="cap") as refused:
        charge(capped, 401)
    assert refused.value.error.code == "over_budget" and refused.value.error.request_sent == "no"
    charge(capped, 400)
    with pytest.raises(stripe.error.AuthenticationError, match="cap"):
        charge(capped, 1)


def test_a_reconciling_role_reads_and_spends_nothing(host, sdk):
    reconciling = sdk(host.mint(operations=["stripe:*"], budgets=[NOTHING])["token"])
    assert reconciling.Customer.retrieve(FIXTURE).id == FIXTURE
    with pytest.raises(stripe.error.AuthenticationError, match="cap"):
        charge(reconciling, 1)
