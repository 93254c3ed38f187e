"""keybearer-autogen's tokens, by a real host: one for each conversation and role, gone at the end."""

import asyncio
import json
import logging
from contextlib import asynccontextmanager

import anyio
import pytest
from autogen_agentchat.agents import AssistantAgent
from keybearer_autogen import (
    AgentFactory,
    AsyncTokenMint,
    ConfigurationError,
    Grant,
    KeybearerError,
    KeybearerWorkbench,
    NotAHost,
    Refused,
    TokenMint,
)

from scripted import OPERATOR, TOKEN, Reply, Scripted, problem
from test_package_workbench import model, results

READER = Grant("reader", tools=["get_invoice"], operations=["stripe:get_invoice"], task="Read.", expires_in_seconds=60)
WRITER = Grant(
    "writer",
    tools=["create_charge"],
    operations=["stripe:create_charge"],
    budgets=[{"limit": 5000, "unit": "usd", "window": "day"}],
)


@pytest.fixture
def mint(host):
    return TokenMint(url=host.url, token=host.operator_token)


@pytest.fixture
def async_mint(host):
    return AsyncTokenMint(url=host.url, token=host.operator_token)


def on_record(host, minted):
    """The token as its operator sees it."""
    tokens = host.as_operator("GET", "/v1/tokens").json()["tokens"]
    [found] = [token for token in tokens if token["id"] == minted.id]
    return found


def call(minted, tool, **arguments):
    result = asyncio.run(KeybearerWorkbench(**minted.connection).call_tool(tool, arguments))
    return result.to_text() if result.is_error else json.loads(result.to_text())


def test_a_token_has_what_its_grant_says(host, mint):
    grant = Grant(
        "billing-1",
        tools=["get_invoice"],
        operations=["stripe:get_invoice"],
        budgets=[{"limit": 3, "unit": "requests", "window": "minute"}],
        role="billing",
        task="Collect May",
        environment="production",
        may_delegate=True,
        expires_in_seconds=120,
    )
    minted = mint.mint(grant, conversation="c-1")
    row = on_record(host, minted)
    assert {name: row[name] for name in ("agent", "role", "task", "environment", "conversation", "may_delegate")} == {
        "agent": "billing-1",
        "role": "billing",
        "task": "Collect May",
        "environment": "production",
        "conversation": "c-1",
        "may_delegate": True,
    }
    assert row["tools"] == ["get_invoice"] and row["operations"] == ["stripe:get_invoice"] and len(row["budgets"]) == 1
    assert row["expires_at"] - row["created_at"] == 120_000 and minted.expires_at == row["expires_at"]
    mint.revoke(minted)
    mint.revoke(minted.id)


def test_another_environment_takes_an_operator_of_it(mint):
    with pytest.raises(Refused, match="reaches the environment production alone"):
        mint.mint(Grant("nobody", environment="staging"))


def test_what_a_grant_does_not_say_is_not_allowed(host, mint):
    with mint.lease(Grant("nobody")) as minted:
        row = on_record(host, minted)
        assert (row["tools"], row["operations"], row["may_delegate"]) == ([], [], False)


def test_a_lease_ends_with_its_block(host, stripe, mint):
    with mint.lease(READER, conversation="c-2") as minted:
        assert call(minted, "get_invoice", id=stripe.facts["invoice"])["id"] == stripe.facts["invoice"]
        assert on_record(host, minted)["revoked_at"] is None
    assert on_record(host, minted)["revoked_at"] is not None
    assert call(minted, "get_invoice", id="in_1").startswith("The call failed (unauthorized): ")


@pytest.mark.parametrize("error", [RuntimeError("boom"), KeyboardInterrupt()])
def test_a_lease_ends_when_its_block_raises(host, mint, error):
    with pytest.raises(type(error)):
        with mint.lease(READER) as minted:
            raise error
    assert on_record(host, minted)["revoked_at"] is not None


def test_an_async_lease_ends_when_its_block_raises(host, async_mint):
    async def run():
        async with async_mint.lease(READER) as minted:
            leased.append(minted)
            raise RuntimeError("boom")

    leased = []
    with pytest.raises(RuntimeError, match="boom"):
        asyncio.run(run())
    assert on_record(host, leased[0])["revoked_at"] is not None


def test_an_async_lease_ends_when_its_task_is_cancelled(host, async_mint):
    async def run():
        async def hold():
            async with async_mint.lease(READER) as minted:
                leased.append(minted)
                inside.set()
                await asyncio.Event().wait()

        inside = asyncio.Event()
        task = asyncio.create_task(hold())
        await inside.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    leased = []
    asyncio.run(run())
    assert on_record(host, leased[0])["revoked_at"] is not None


@pytest.mark.parametrize("way", ["a scope of anyio", "twice"])
def test_an_async_lease_ends_when_its_task_is_cancelled_again(host, async_mint, way):
    async def hold(inside):
        async with async_mint.lease(READER) as minted:
            leased.append(minted)
            inside.set()
            await asyncio.Event().wait()

    async def scope():
        inside = asyncio.Event()
        async with anyio.create_task_group() as group:
            group.start_soon(hold, inside)
            await inside.wait()
            group.cancel_scope.cancel()

    async def twice():
        inside = asyncio.Event()
        task = asyncio.create_task(hold(inside))
        await inside.wait()
        for _ in range(2):
            task.cancel()
            await asyncio.sleep(0)
        with pytest.raises(asyncio.CancelledError):
            await task

    leased = []
    asyncio.run(scope() if way == "a scope of anyio" else twice())
    assert on_record(host, leased[0])["revoked_at"] is not None


GIVEN = {"token": TOKEN, "id": "tok_1", "agent": "reader", "expires_at": 1795630848428}


@pytest.mark.parametrize("way", ["a scope of anyio", "once"])
@pytest.mark.parametrize("of_a_group", [False, True])
def test_a_token_that_is_minted_while_its_task_is_cancelled_is_revoked(way, of_a_group):
    async def hold():
        mint = AsyncTokenMint(url=host.url, token=OPERATOR)
        async with mint.group({"reader": READER}) if of_a_group else mint.lease(READER):
            raise AssertionError("it was cancelled before there was one")

    async def asked():
        while not host.asked:
            await asyncio.sleep(0.01)

    async def scope():
        async with anyio.create_task_group() as group:
            group.start_soon(hold)
            await asked()
            group.cancel_scope.cancel()

    async def once():
        task = asyncio.ensure_future(hold())
        await asked()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with Scripted(Reply(201, GIVEN, wait_s=0.3), Reply(204)) as host:
        asyncio.run(scope() if way == "a scope of anyio" else once())
    assert [(command, path) for command, path, _, _ in host.asked] == [
        ("POST", "/v1/tokens"),
        ("DELETE", "/v1/tokens/tok_1"),
    ]


def test_a_task_that_is_cancelled_ends_so_though_nothing_was_minted(caplog):
    async def run():
        task = asyncio.ensure_future(hold())
        while not host.asked:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    async def hold():
        async with AsyncTokenMint(url=host.url, token=OPERATOR).lease(READER):
            raise AssertionError("there is none")

    with Scripted(problem(403, "denied")) as host:
        host.replies[0].wait_s = 0.3
        asyncio.run(run())
    assert len(host.asked) == 1 and "it isn't known whether" not in caplog.text


@pytest.mark.parametrize("way", ["sync", "async", "cancelled"])
def test_a_token_that_may_have_been_minted_is_told_of(way, caplog):
    async def cancelled():
        task = asyncio.ensure_future(AsyncTokenMint(url=host.url, token=OPERATOR).mint(READER))
        while not host.asked:
            await asyncio.sleep(0.01)
        task.cancel()
        await task

    with Scripted(Reply(201, GIVEN, wait_s=20) if way == "cancelled" else None) as host:
        with pytest.raises((KeybearerError, asyncio.CancelledError)):
            if way == "sync":
                TokenMint(url=host.url, token=OPERATOR).mint(READER)
            else:
                asyncio.run(
                    cancelled() if way == "cancelled" else AsyncTokenMint(url=host.url, token=OPERATOR).mint(READER)
                )
    assert "it isn't known whether a token for the agent reader was minted" in caplog.text
    assert "ends by itself after 60 s" in caplog.text and OPERATOR not in caplog.text


def test_what_was_not_minted_for_sure_is_no_riddle(caplog):
    with Scripted(problem(403, "denied")) as host, pytest.raises(Refused):
        TokenMint(url=host.url, token=OPERATOR).mint(READER)
    assert "it isn't known whether" not in caplog.text


def test_each_role_has_a_token_of_its_own(host, stripe, mint):
    with mint.group({"analytics": READER, "billing": WRITER}, conversation="c-3") as tokens:
        rows = {role: on_record(host, minted) for role, minted in tokens.items()}
        assert {role: (row["role"], row["conversation"]) for role, row in rows.items()} == {
            "analytics": ("analytics", "c-3"),
            "billing": ("billing", "c-3"),
        }
        wanted = {"amount": 700, "currency": "usd", "customer": stripe.facts["customer"]}
        assert call(tokens["analytics"], "create_charge", **wanted).startswith("The call failed (unknown_tool): ")
        assert call(tokens["billing"], "create_charge", **wanted)["amount"] == 700
    assert all(on_record(host, minted)["revoked_at"] is not None for minted in tokens.values())


def test_a_group_is_minted_whole_or_not_at_all(host, mint, async_mint):
    wrong = {"reader": READER, "wrong": Grant("x", operations=["no colon"])}
    before = {row["id"] for row in host.as_operator("GET", "/v1/tokens").json()["tokens"]}

    async def group():
        async with async_mint.group(wrong):
            raise AssertionError("there's no such group")

    with pytest.raises(Refused):
        with mint.group(wrong):
            raise AssertionError("there's no such group")
    with pytest.raises(Refused):
        asyncio.run(group())
    rows = [row for row in host.as_operator("GET", "/v1/tokens").json()["tokens"] if row["id"] not in before]
    assert len(rows) == 2 and all(row["revoked_at"] is not None for row in rows)


def test_a_factory_makes_an_agent_for_one_request(host, stripe, async_mint):
    minted = []

    def build(token):
        minted.append(token)
        said = model(("get_invoice", {"id": stripe.facts["invoice"]}))
        return AssistantAgent("billing", said, workbench=KeybearerWorkbench(**token.connection))

    async def built_later(token):
        return build(token)

    @asynccontextmanager
    async def built_for_a_while(token):
        yield build(token)
        ended.append(on_record(host, token)["revoked_at"])

    async def requests():
        seen = []
        for builder in (build, built_later, built_for_a_while):
            async with AgentFactory(builder, READER, async_mint).agent() as agent:
                seen += results((await agent.run(task="Look it up.")).messages)
        return seen

    ended = []
    for result in asyncio.run(requests()):
        assert not result.is_error, result
    assert ended == [None], "it's left before its token ends"
    rows = [on_record(host, one) for one in minted]
    assert len({row["conversation"] for row in rows}) == 3
    assert all(row["revoked_at"] is not None for row in rows)


def test_a_factory_without_its_tenant_s_token_has_none_to_fall_back_to(host, monkeypatch):
    monkeypatch.setenv("KEYBEARER_URL", host.url)
    monkeypatch.setenv("KEYBEARER_OPERATOR_TOKEN", host.operator_token)
    monkeypatch.delenv("KEYBEARER_OPERATOR_ACME", raising=False)
    with pytest.raises(ConfigurationError, match="KEYBEARER_OPERATOR_ACME isn't set"):
        TokenMint("KEYBEARER_OPERATOR_ACME").mint(READER)


def test_an_agent_s_token_mints_nothing(host):
    with pytest.raises(ConfigurationError, match="takes an operator's token"):
        TokenMint(url=host.url, token=host.token).mint(READER)


def test_a_token_that_may_still_be_valid_is_told_of(caplog):
    given = {"token": TOKEN, "id": "tok_1", "agent": "reader", "expires_at": 1795630848428}
    replies = [Reply(201, given), problem(500, "internal")]
    with Scripted(*replies) as host, pytest.raises(KeybearerError, match="internal"):
        with TokenMint(url=host.url, token=OPERATOR).lease(READER):
            pass
    # What went wrong inside is what is raised; the log says the rest.
    caplog.set_level(logging.ERROR)
    with Scripted(*replies) as host, pytest.raises(RuntimeError, match="boom"):
        with TokenMint(url=host.url, token=OPERATOR).lease(READER):
            raise RuntimeError("boom")
    assert "tok_1 couldn't be revoked, and ends by itself at 1795630848428 ms" in caplog.text
    assert TOKEN not in caplog.text and OPERATOR not in caplog.text


def test_a_token_that_may_still_be_valid_is_told_of_when_its_task_is_cancelled(caplog):
    given = {"token": TOKEN, "id": "tok_1", "agent": "reader", "expires_at": 1795630848428}

    async def run():
        with anyio.CancelScope() as scope:
            async with AsyncTokenMint(url=host.url, token=OPERATOR).lease(READER):
                scope.cancel()
                await asyncio.Event().wait()
        assert scope.cancelled_caught

    with Scripted(Reply(201, given), problem(500, "internal")) as host:
        asyncio.run(run())
    assert "tok_1 couldn't be revoked, and ends by itself at 1795630848428 ms" in caplog.text


def test_nothing_that_is_printed_holds_a_token(host, mint):
    with mint.lease(READER) as minted:
        shown = f"{minted!r} {minted} {minted.connection} {mint!r} {READER!r}"
        assert minted.token.reveal()[4:] not in shown and host.operator_token not in shown


def test_an_answer_in_another_form_is_no_token():
    for given in ({}, {"token": "short"}, {"token": TOKEN}):
        with Scripted(Reply(201, given)) as host, pytest.raises(NotAHost, match="a token in another form") as told:
            TokenMint(url=host.url, token=OPERATOR).mint(READER)
        assert TOKEN not in str(told.value)


@pytest.mark.parametrize(
    "wrong", [{"tools": "get_invoice"}, {"operations": "stripe:*"}, {"operations": b"x"}, {"budgets": {"limit": 1}}]
)
def test_one_name_is_no_list(wrong):
    [name] = wrong
    with pytest.raises(ConfigurationError, match=f"{name} is a list, also of one"):
        Grant("a", **wrong)


def test_members_that_say_nothing_are_left_out():
    assert Grant("a").body(None) == {"agent": "a", "expires_in_seconds": 3600}
    body = Grant("a", user="u-1", may_store_secrets=True).body("c-1")
    assert (body["user"], body["may_store_secrets"], body["conversation"]) == ("u-1", True, "c-1")
