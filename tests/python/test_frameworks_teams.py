"""AutoGen's teams, with a token for each role. All want to charge; what each of them may do is the host's to say."""

import asyncio

import pytest
from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.conditions import MaxMessageTermination
from autogen_agentchat.teams import RoundRobinGroupChat, SelectorGroupChat, Swarm
from single_agent import keybearer_tools

from frameworks import codes, last_seq, model_client, rows_after
from surroundings import charges, new_customer

# What the operator says of each role: operations, and budgets.
ROLES = {
    "billing": (["stripe:create_charge", "stripe:get_customer"], []),
    "reconciliation": (["stripe:*"], [{"limit": 0, "unit": "usd", "window": "total"}]),
    "analytics": (["stripe:get_customer"], []),
}

# What each of them hears, for the charge and for the look-up.
HEARD = {"billing": [None, None], "reconciliation": ["over_budget", None], "analytics": ["denied", None]}


@pytest.fixture
def tokens(host):
    """A token for each role. Every one of them opens both tools."""
    return {
        role: host.mint(
            agent=role, role=role, tools=["create_charge", "get_customer"], operations=operations, budgets=budgets
        )["token"]
        for role, (operations, budgets) in ROLES.items()
    }


@pytest.fixture
def customer(upstream):
    return new_customer(upstream)


@pytest.fixture
def member(host, models, tokens, customer, monkeypatch):
    """An agent of this role, whose model wants to charge the customer, then to look it up."""
    monkeypatch.setenv("KEYBEARER_URL", host.url)

    def make(role, *then, **more):
        charge = {"amount": 4200, "currency": "usd", "customer": customer, "order": role}
        models.script(role, [("create_charge", charge), ("get_customer", {"id": customer})], "Done.", *then)
        return AssistantAgent(
            role,
            description=f"Does {role}.",
            model_client=model_client(models, role),
            tools=keybearer_tools(tokens[role]),
            reflect_on_tool_use=True,
            **more,
        )

    return make


@pytest.fixture
def holds(host, models, tokens, customer, upstream, key):
    """What has to hold after a team's run, whatever the team."""
    before = last_seq(host)

    def check():
        assert models.left() == {}, "some model wasn't asked"
        heard = {role: codes(result for result in models.results(role) if "error" not in result[:5]) for role in ROLES}
        assert heard == HEARD
        # The host refused: Stripe heard of one charge alone.
        made = charges(upstream, {customer})
        assert [charge["metadata"]["order"] for charge in made.values()] == ["billing"]
        refused = [row for row in rows_after(host, before) if row["event"] == "send_refused"]
        assert {row["code"] for row in refused} == {"denied", "over_budget"}
        for secret in (key, *tokens.values()):
            assert secret.encode() not in models.everything()

    return check


async def stream(team):
    return [message async for message in team.run_stream(task="Charge the customer, and say who it is.")]


def test_round_robin(member, holds):
    team = RoundRobinGroupChat([member(role) for role in ROLES], termination_condition=MaxMessageTermination(4))
    asyncio.run(team.run(task="Charge the customer, and say who it is."))
    holds()


def test_selector(member, models, holds):
    members = [member(role) for role in ROLES]
    # The last one isn't chosen by a model: it's the only one left in the list of the fourth message.
    models.script("selector", "billing", "analytics", "reconciliation")
    team = SelectorGroupChat(
        members, model_client(models, "selector"), termination_condition=MaxMessageTermination(4)
    )
    asyncio.run(stream(team))
    holds()


def test_swarm(member, models, holds):
    members = [
        member("billing", [("transfer_to_analytics", {})], handoffs=["analytics"]),
        member("analytics", [("transfer_to_reconciliation", {})], handoffs=["reconciliation"]),
        member("reconciliation"),
    ]
    team = Swarm(members, termination_condition=MaxMessageTermination(6))
    asyncio.run(stream(team))
    holds()
