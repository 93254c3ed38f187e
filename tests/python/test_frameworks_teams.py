"""AutoGen's teams, with a token for each role. All want to charge; what each of them may do is the host's to say."""

import asyncio
from contextlib import AsyncExitStack

import pytest
from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.conditions import MaxMessageTermination
from autogen_agentchat.teams import RoundRobinGroupChat, SelectorGroupChat, Swarm
from autogen_core import CancellationToken

from frameworks import WAYS, code_of, codes, equipment, last_seq, model_client, rows_after
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


@pytest.fixture(params=WAYS)
def member(request, host, models, tokens, customer, monkeypatch):
    """An agent of this role, whose model wants to charge the customer, then to look it up."""
    monkeypatch.setenv("KEYBEARER_URL", host.url)

    async def make(stack, role, *then, **more):
        charge = {"amount": 4200, "currency": "usd", "customer": customer, "order": role}
        models.script(role, [("create_charge", charge), ("get_customer", {"id": customer})], "Done.", *then)
        return AssistantAgent(
            role,
            description=f"Does {role}.",
            model_client=model_client(models, role),
            reflect_on_tool_use=True,
            **await equipment(request.param, host, tokens[role], stack),
            **more,
        )

    return make


@pytest.fixture
def holds(host, models, tokens, customer, upstream, key):
    """What has to hold after a team's run, whatever the team."""
    before = last_seq(host)

    def check():
        assert models.left() == {}, "some model wasn't asked"
        assert {role: codes(models.results(role)[:2]) for role in ROLES} == HEARD
        # The host refused: Stripe heard of one charge alone.
        made = charges(upstream, {customer})
        assert [charge["metadata"]["order"] for charge in made.values()] == ["billing"]
        refused = [row for row in rows_after(host, before) if row["event"] == "send_refused"]
        assert {row["code"] for row in refused} == {"denied", "over_budget"}
        for secret in (key, *tokens.values()):
            assert secret.encode() not in models.everything()

    return check


TASK = "Charge the customer, and say who it is."


def test_round_robin(member, holds):
    async def run():
        async with AsyncExitStack() as stack:
            members = [await member(stack, role) for role in ROLES]
            team = RoundRobinGroupChat(members, termination_condition=MaxMessageTermination(4))
            await team.run(task=TASK)

    asyncio.run(run())
    holds()


def test_selector(member, models, holds):
    models.script("selector", "billing", "analytics", "reconciliation")

    async def run():
        async with AsyncExitStack() as stack:
            members = [await member(stack, role) for role in ROLES]
            selector, end = model_client(models, "selector"), MaxMessageTermination(4)
            await exhaust(SelectorGroupChat(members, selector, termination_condition=end))

    asyncio.run(run())
    holds()


def test_swarm(member, holds):
    async def run():
        async with AsyncExitStack() as stack:
            members = [
                await member(stack, "billing", [("transfer_to_analytics", {})], handoffs=["analytics"]),
                await member(stack, "analytics", [("transfer_to_reconciliation", {})], handoffs=["reconciliation"]),
                await member(stack, "reconciliation"),
            ]
            await exhaust(Swarm(members, termination_condition=MaxMessageTermination(6)))

    asyncio.run(run())
    holds()


@pytest.mark.parametrize("way", WAYS)
def test_a_tool_that_was_never_offered_is_not_reached(way, host, models, customer, upstream, monkeypatch):
    """The model makes a name up. The framework doesn't know it; and whoever asks the host all the same isn't told more."""
    monkeypatch.setenv("KEYBEARER_URL", host.url)
    token = host.mint(tools=["get_customer"], operations=["stripe:*"])["token"]
    charge = {"amount": 4200, "currency": "usd", "customer": customer}
    models.script("reader", [("create_charge", charge)], "I can't.")
    before = last_seq(host)

    async def run():
        async with AsyncExitStack() as stack:
            given = await equipment(way, host, token, stack)
            reader = AssistantAgent("reader", model_client(models, "reader"), reflect_on_tool_use=True, **given)
            await reader.run(task="Charge the customer.")
            if "workbench" in given:
                return (await given["workbench"].call_tool("create_charge", charge)).to_text()
            [tool] = given["tools"]
            tool.server_params.path = "/v1/tools/create_charge"
            # What it may be asked is the other tool's, as HttpTool sees it.
            return await tool.run_json({"id": customer}, CancellationToken())

    assert code_of(asyncio.run(run())) == "unknown_tool"
    assert models.results("reader") == ["Error: tool 'create_charge' not found in any workbench"]
    assert charges(upstream, {customer}) == {}
    assert not [row for row in rows_after(host, before) if row["event"].startswith("send_")]


async def exhaust(team):
    async for _ in team.run_stream(task=TASK):
        pass
