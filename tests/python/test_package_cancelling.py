"""What stops when an agent's task is cancelled, when its token is, and when a block with `cancellation` ends."""

import asyncio
import gc
import time
import warnings

import pytest
from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.teams import RoundRobinGroupChat
from autogen_core import CancellationToken
from autogen_core.code_executor import CodeBlock
from autogen_ext.code_executors.local import LocalCommandLineCodeExecutor
from autogen_ext.tools.code_execution import PythonCodeExecutionTool
from autogen_ext.tools.http import HttpTool
from keybearer_autogen import KeybearerCodeExecutor, KeybearerWorkbench, cancellation
from keybearer_autogen.mcp import KeybearerMcpWorkbench

from scripted import TOKEN, Reply, Scripted
from surroundings import charges, new_customer
from test_package_mcp import SAID
from test_package_workbench import last_seq, model, results, rows_of


LISTED = Reply(200, {"tools": [{"name": "t", "description": "A tool.", "input_schema": {}}]})


def ended(host, since):
    """How the calls since then ended, once one of them has."""
    for _ in range(1500):
        if rows := rows_of(host, since, "call_finished"):
            return [row["mark"] for row in rows]
        time.sleep(0.02)
    raise AssertionError("the call goes on")


async def begun(host, since, event):
    while not await asyncio.to_thread(rows_of, host, since, event):
        await asyncio.sleep(0.02)


def workbench(host):
    return {"workbench": KeybearerWorkbench(url=host.url, token=host.token, deadline_s=60)}


async def told_to_stop(way, run, is_under_way):
    """Runs an agent and stops it in the middle of a call, in one of the ways that people do."""

    async def inside():
        with cancellation() as token:
            await run(token)

    if way == "wait_for, in the block":
        with pytest.raises(asyncio.TimeoutError), cancellation() as token:
            running = asyncio.ensure_future(run(token))
            await is_under_way()
            await asyncio.wait_for(running, 0.01)
    elif way == "the task of the block":
        task = asyncio.ensure_future(inside())
        await is_under_way()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    else:
        with pytest.raises(RuntimeError, match="boom"), cancellation() as token:
            running = asyncio.ensure_future(run(token))
            await is_under_way()
            raise RuntimeError("boom")


WAYS = ["wait_for, in the block", "the task of the block", "the block raises"]


@pytest.mark.parametrize("way", WAYS)
def test_a_block_that_ends_stops_the_call_of_its_agent(silent_host, way):
    since = last_seq(silent_host)

    async def run(token):
        agent = AssistantAgent("a", model(("get_invoice", {"id": "in_1"})), **workbench(silent_host))
        await agent.run(task="Go.", cancellation_token=token)

    async def stopped():
        await told_to_stop(way, run, lambda: begun(silent_host, since, "send_begun"))
        return await asyncio.to_thread(ended, silent_host, since)

    assert asyncio.run(stopped()) == ["cancelled"]


def test_a_team_ends_when_its_time_is_up_and_makes_no_other_turn():
    with Scripted(LISTED, LISTED, Reply(200, {"ok": True}, wait_s=20)) as host:

        async def run():
            said = [("t", {"number": number}) for number in range(3)]
            bench = KeybearerWorkbench(url=host.url, token=TOKEN)
            team = RoundRobinGroupChat([AssistantAgent("a", model(*said), workbench=bench)], max_turns=3)
            begun = time.monotonic()
            with pytest.raises(asyncio.TimeoutError, match="after 0.5 s"), cancellation(seconds=0.5) as token:
                await team.run(task="Go.", cancellation_token=token)
            assert time.monotonic() - begun < 10

        asyncio.run(run())
    assert [path for _, path, _, _ in host.asked].count("/v1/tools/t") == 1


def test_a_task_that_is_cancelled_is_no_task_whose_time_was_up():
    async def run():
        async def inside():
            with cancellation(seconds=0.01):
                try:
                    await asyncio.sleep(60)
                finally:
                    time.sleep(0.05)
                    await asyncio.sleep(0)

        task = asyncio.ensure_future(inside())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())


@pytest.mark.parametrize("way", WAYS)
def test_a_write_of_code_is_not_made_once_its_block_has_ended(code_host, upstream, way):
    customer = new_customer(upstream)
    form = {"amount": 1000, "currency": "usd", "customer": customer}
    code = f"import time, keybearer\ntime.sleep(20)\nkeybearer.http('stripe').post('/v1/charges', form={form})"
    since = last_seq(code_host)

    async def run(token):
        tool = PythonCodeExecutionTool(KeybearerCodeExecutor(url=code_host.url, token=code_host.token))
        agent = AssistantAgent("a", model(("CodeExecutor", {"code": code})), tools=[tool])
        await agent.run(task="Charge.", cancellation_token=token)

    async def stopped():
        await told_to_stop(way, run, lambda: begun(code_host, since, "call_begun"))
        return await asyncio.to_thread(ended, code_host, since)

    assert asyncio.run(stopped()) == ["cancelled"]
    assert charges(upstream, {customer}) == {}


def test_without_one_autogen_s_agent_leaves_its_call_running():
    """What the page says of AutoGen. When this fails, AutoGen is better, and the page may say so."""
    with Scripted(LISTED, LISTED, Reply(200, {"ok": True}, wait_s=1)) as host:

        async def run():
            agent = AssistantAgent("a", model(("t", {})), workbench=KeybearerWorkbench(url=host.url, token=TOKEN))
            running = asyncio.ensure_future(agent.run(task="Go."))
            while len(host.asked) < 3:
                await asyncio.sleep(0.01)
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(running, 0.01)
            left = asyncio.all_tasks() - {asyncio.current_task()}
            assert left
            await asyncio.gather(*left)

        asyncio.run(run())
    assert host.answered == 3


def test_without_one_autogen_s_team_makes_all_its_turns():
    """As the page says, too."""
    with Scripted(*[LISTED] * 2, Reply(200, {"ok": True}, wait_s=1), *[LISTED] * 2, Reply(200, {"ok": True})) as host:

        async def run():
            bench = KeybearerWorkbench(url=host.url, token=TOKEN)
            team = RoundRobinGroupChat([AssistantAgent("a", model(("t", {}), ("t", {})), workbench=bench)], max_turns=2)
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(team.run(task="Go."), 0.5)

        asyncio.run(run())
    assert [path for _, path, _, _ in host.asked].count("/v1/tools/t") == 2


def test_a_block_that_ends_well_ends_its_token_too():
    async def run():
        with cancellation() as token:
            other = asyncio.ensure_future(asyncio.sleep(60))
            token.link_future(other)
        with pytest.raises(asyncio.CancelledError):
            await other
        assert token.is_cancelled()

    asyncio.run(run())


def test_what_can_not_be_cancelled_does_not_hide_what_ended_the_block(caplog):
    with pytest.raises(RuntimeError, match="boom"), cancellation() as token:
        # As AutoGen's own McpWorkbench does.
        token.link_future(object())
        raise RuntimeError("boom")
    assert "not all that ran with a cancellation token could be stopped" in caplog.text


def slow_code(executor):
    tool = PythonCodeExecutionTool(executor)
    return AssistantAgent("a", model(("CodeExecutor", {"code": "import time\ntime.sleep(20)"})), tools=[tool])


@pytest.mark.parametrize("executor", ["ours", "AutoGen's own"])
def test_a_token_that_is_cancelled_ends_an_agent_that_runs_code(tmp_path, executor):
    """AutoGen has its token cancel the task of the tool, and waits for ever for one that raises."""

    async def run(one, is_under_way):
        token = CancellationToken()
        running = asyncio.ensure_future(slow_code(one).run(task="Go.", cancellation_token=token))
        await is_under_way()
        token.cancel()
        return results((await asyncio.wait_for(running, 10)).messages)

    async def asked():
        while not host.asked:
            await asyncio.sleep(0.01)

    with Scripted(Reply(200, {}, wait_s=20)) as host:
        if executor == "ours":
            [result] = asyncio.run(run(KeybearerCodeExecutor(url=host.url, token=TOKEN), asked))
            assert result.content == "Cancelled"
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                local = LocalCommandLineCodeExecutor(work_dir=tmp_path)
            [result] = asyncio.run(run(local, lambda: asyncio.sleep(1)))
            assert "Cancelled" in result.content


def test_autogen_s_http_tool_lets_its_agent_wait_for_ever():
    """As the page says, too. A block's token stops the call when nobody waits any more."""

    async def run():
        schema = {"type": "object", "properties": {}}
        where = {"host": "127.0.0.1", "port": int(host.url.rsplit(":", 1)[1]), "path": "/v1/tools/t", "scheme": "http"}
        tool = HttpTool(name="t", description="A tool.", json_schema=schema, **where)
        agent = AssistantAgent("a", model(("t", {})), tools=[tool])
        with cancellation() as token:
            running = asyncio.ensure_future(agent.run(task="Go.", cancellation_token=token))
            while not host.asked:
                await asyncio.sleep(0.01)
        _, waiting = await asyncio.wait([running], timeout=1)
        left = asyncio.all_tasks() - {asyncio.current_task(), running}
        running.cancel()
        return bool(waiting), left

    with Scripted(Reply(200, {}, wait_s=20)) as host:
        assert asyncio.run(run()) == (True, set())


def finished_tasks():
    gc.collect()
    return sum(isinstance(one, asyncio.Task) and one.done() for one in gc.get_objects())


def test_a_token_keeps_nothing_of_the_calls_that_it_outlives():
    code = Reply(200, {"exit_code": 0, "output": "x" * 1000, "calls": []})
    with Scripted(*[Reply(200, {"ok": "x" * 1000})] * 10, *[code] * 10, SAID) as host:

        async def run():
            token, given = CancellationToken(), {"url": host.url, "token": TOKEN}
            executor = KeybearerCodeExecutor(**given)
            before = finished_tasks()
            for _ in range(10):
                await KeybearerWorkbench(**given).call_tool("t", {}, token)
            for _ in range(10):
                await executor.execute_code_blocks([CodeBlock("1", "python")], token)
            async with KeybearerMcpWorkbench(**given) as workbench:
                for _ in range(10):
                    await workbench.call_tool("t", {}, token)
            return finished_tasks() - before

        assert asyncio.run(run()) < 10
    assert len(host.asked) == 30
