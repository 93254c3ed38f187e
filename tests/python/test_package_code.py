"""KeybearerCodeExecutor with the real sandbox: what AutoGen's local executor does, without the machine."""

import asyncio
import os
import time
import warnings

import pytest
from autogen_agentchat.agents import AssistantAgent, CodeExecutorAgent
from autogen_agentchat.messages import TextMessage
from autogen_core import CancellationToken
from autogen_core.code_executor import CodeBlock
from autogen_ext.code_executors.local import LocalCommandLineCodeExecutor
from autogen_ext.tools.code_execution import PythonCodeExecutionTool
from keybearer_autogen import KeybearerCodeExecutor, KeybearerWorkbench

from surroundings import charges, new_customer
from test_package_docs import blocks, run
from test_package_workbench import last_seq, model, results, rows_of


def executor(host, token=None, **more):
    return KeybearerCodeExecutor(url=host.url, token=token or host.token, **{"timeout": 30, **more})


def execute(one, *codes, language="python"):
    async def run_all():
        async with one:
            return await one.execute_code_blocks([CodeBlock(code, language) for code in codes], CancellationToken())

    return asyncio.run(run_all())


@pytest.mark.parametrize(
    "codes",
    [
        ["print('hi')"],
        ["print('one')", "print('two')"],
        ["import sys\nsys.exit(3)", "print('never')"],
        ["raise SystemExit"],
        ["1 +"],
        ["raise ValueError('no')"],
        ["# filename: named.py\nprint('named')"],
        ["# filename: ../out.py\nprint('out')"],
    ],
)
def test_it_answers_as_the_local_executor_does(code_host, tmp_path, codes):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        local = execute(LocalCommandLineCodeExecutor(work_dir=tmp_path / "local"), *codes)
    ours = execute(executor(code_host, work_dir=tmp_path / "ours"), *codes)
    assert ours.exit_code == local.exit_code
    if "Traceback" in local.output or "SyntaxError" in local.output:
        assert ours.output.splitlines()[-1] == local.output.splitlines()[-1]
    else:
        assert ours.output == local.output
    assert list((tmp_path / "ours").iterdir()) == list((tmp_path / "local").iterdir()) == []


def test_time_ends_with_124(code_host):
    result = execute(executor(code_host, timeout=2), "print('once')", "while True: pass")
    assert result.exit_code == 124
    assert result.output.startswith("once\n") and result.output.endswith("Timeout")


def test_the_timeout_is_each_block_s(code_host):
    nap = "import time; time.sleep(1.1); print('slept')"
    result = execute(executor(code_host, timeout=3), nap, nap, nap)
    assert (result.exit_code, result.output) == (0, "slept\n" * 3)


def test_another_language_is_told_so(code_host):
    result = execute(executor(code_host), "echo hi", language="sh")
    assert result.exit_code == 1 and "sh" in result.output and "Python" in result.output


def test_the_code_sees_nothing_of_the_agent_s_process(code_host, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-proj-of-the-agent")
    code = "import os\nprint(dict(os.environ), os.environ.get('KEYBEARER_TOKEN'))\nprint(os.path.exists('/proc'))"
    result = execute(executor(code_host), code)
    assert (result.exit_code, result.output) == (0, "{} None\nFalse\n")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        local = execute(LocalCommandLineCodeExecutor(), "import os; print(os.environ['OPENAI_API_KEY'])")
    assert local.output == "sk-proj-of-the-agent\n", "this is what is better here"


def test_an_agent_s_code_calls_out_under_the_token_s_rights(code_host, stripe):
    code = f"import keybearer\nprint(keybearer.http('stripe').get('/v1/invoices/{stripe.facts['invoice']}').json()['id'])"

    async def agent(token):
        tool = PythonCodeExecutionTool(executor(code_host, token))
        one = AssistantAgent("analyst", model(("CodeExecutor", {"code": code})), tools=[tool])
        return results((await one.run(task="Look it up.")).messages)

    [result] = asyncio.run(agent(code_host.token))
    assert result.content == stripe.facts["invoice"] + "\n"
    less = code_host.mint(tools=["run_python"], operations=["stripe:get_customer"])["token"]
    [result] = asyncio.run(agent(less))
    assert "get_invoice" in result.content and stripe.facts["invoice"] + "\n" != result.content


def test_a_token_without_the_right_is_126_and_a_sentence(code_host):
    token = code_host.mint(tools=["get_invoice"], operations=["stripe:*"])["token"]
    result = execute(executor(code_host, token), "print('hi')")
    assert result.exit_code == 126 and result.output.startswith("The call failed (unknown_tool): ")


def test_the_code_executor_agent_runs_it(code_host):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        agent = CodeExecutorAgent("runner", executor(code_host), sources=["coder"], supported_languages=["python"])
    message = TextMessage(content="```python\nprint(6 * 7)\n```", source="coder")
    said = asyncio.run(agent.on_messages([message], CancellationToken()))
    assert said.chat_message.content == "42\n"


def test_cancelling_stops_a_side_effect_that_is_pending(code_host, upstream):
    customer = new_customer(upstream)
    form = {"amount": 1000, "currency": "usd", "customer": customer}
    code = f"import time, keybearer\ntime.sleep(20)\nkeybearer.http('stripe').post('/v1/charges', form={form})"
    since = last_seq(code_host)

    async def cancelled():
        token = CancellationToken()
        running = asyncio.ensure_future(executor(code_host).execute_code_blocks([CodeBlock(code, "python")], token))
        while not await asyncio.to_thread(rows_of, code_host, since, "call_begun"):
            await asyncio.sleep(0.05)
        token.cancel()
        return await running

    result = asyncio.run(cancelled())
    assert (result.exit_code, result.output) == (125, "Cancelled")
    for _ in range(1000):
        if finished := rows_of(code_host, since, "call_finished"):
            break
        time.sleep(0.02)
    # It was stopped while it slept, so nothing was sent and nothing will be.
    assert [(row["mark"], row["sends"]) for row in finished] == [("cancelled", 0)]
    assert charges(upstream, {customer}) == {}


def test_the_workbench_offers_it_to_who_may(code_host):
    async def call(token):
        async with KeybearerWorkbench(url=code_host.url, token=token) as bench:
            names = {tool["name"] for tool in await bench.list_tools()}
            return names, await bench.call_tool("run_python", {"code": "print(6 * 7)"})

    names, result = asyncio.run(call(code_host.token))
    assert "run_python" in names and not result.is_error and "42" in result.to_text()
    names, result = asyncio.run(call(code_host.mint(tools=["get_invoice"])["token"]))
    assert names == {"get_invoice"} and result.is_error


def test_the_runs_are_in_the_trail(code_host):
    result = execute(executor(code_host, conversation="c-7"), "1 + 1", "2 + 2")
    assert result.result == "4" and len(result.calls) == 2
    for call in result.calls:
        begun = code_host.as_operator("GET", f"/v1/audit/{call}").json()["rows"][0]
        assert (begun["door"], begun["conversation"]) == ("code", "c-7")


def test_the_page_s_example(code_host, monkeypatch):
    monkeypatch.setenv("KEYBEARER_URL", code_host.url)
    monkeypatch.setenv("KEYBEARER_TOKEN", code_host.token)
    names = {"model": model(("CodeExecutor", {"code": "print(6 * 7)"})), "AssistantAgent": AssistantAgent}

    async def page():
        await run(names, *blocks("docs/AUTOGEN.md", "Code that agents write"))
        return results((await names["agent"].run(task="Go.")).messages)

    [result] = asyncio.run(page())
    assert result.content == "42\n"
    assert "KEYBEARER_TOKEN" in os.environ and code_host.token not in names["tool"].dump_component().model_dump_json()
