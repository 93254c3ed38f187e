"""A retry storm: the model takes one error for a partial failure and starts over."""

import pytest
import stripe

from surroundings import charges, new_customer


@pytest.fixture
def sdk(host, monkeypatch):
    """The SDK in one conversation of a billing agent."""
    operations = ["stripe:create_charge", "stripe:get_customer"]
    minted = host.mint(operations=operations, conversation="overdue-accounts")
    monkeypatch.setattr(stripe, "api_key", minted["token"])
    monkeypatch.setattr(stripe, "api_base", f"{host.url}/proxy/stripe")
    return stripe


def charge_all(sdk, customers, until=None):
    """What the model does: one charge after the other. It gives up at the first error."""
    made = []
    for position, customer in enumerate(customers):
        if position == until:
            sdk.Customer.retrieve("cus_gone")  # The error in the middle.
        made.append(sdk.Charge.create(amount=1000, currency="usd", customer=customer, description="overdue").id)
    return made


def test_starting_over_charges_nobody_twice(sdk, upstream, customers):
    with pytest.raises(stripe.error.InvalidRequestError):
        charge_all(sdk, customers, until=len(customers) // 2)
    first = charge_all(sdk, customers)
    # It misreads the summary, and does all of it again.
    again = charge_all(sdk, customers)
    assert again == first, "the first outcome is what it's told"
    assert len(set(first)) == len(customers) == 200
    made = charges(upstream, customers)
    assert set(made) == set(first), "200 charges, not 400"
    assert {charge["metadata"]["conversation"] for charge in made.values()} == {"overdue-accounts"}


def test_what_is_meant_again_is_done_again(sdk, upstream):
    customer = new_customer(upstream)
    charge = {"amount": 1000, "currency": "usd", "customer": customer}
    first = sdk.Charge.create(**charge)
    same = sdk.Charge.create(**charge)
    again = sdk.Charge.create(**charge, headers={"Keybearer-Intent": "second-month"})
    assert same.id == first.id and again.id != first.id
    assert len(charges(upstream, {customer})) == 2


def test_another_conversation_is_another_matter(host, sdk, upstream, monkeypatch):
    charge = {"amount": 1000, "currency": "usd", "customer": new_customer(upstream)}
    first = sdk.Charge.create(**charge)
    minted = host.mint(operations=["stripe:create_charge"], conversation="another")
    monkeypatch.setattr(stripe, "api_key", minted["token"])
    assert sdk.Charge.create(**charge).id != first.id
