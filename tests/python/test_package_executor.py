"""KeybearerCodeExecutor: the contract of LocalCommandLineCodeExecutor, without the machine."""

import asyncio
import sys
import threading
import warnings
from dataclasses import dataclass, field

import pytest
from autogen_agentchat.agents import CodeExecutorAgent
from autogen_agentchat.messages import TextMessage
from autogen_core import CancellationToken
from autogen_core.code_executor import CodeBlock, CodeExecutor
from autogen_ext.code_executors.local import LocalCommandLineCodeExecutor
from autogen_ext.tools.code_execution import PythonCodeExecutionTool
from keybearer_autogen import ConfigurationError, KeybearerCodeExecutor, calling, wire

from scripted import TOKEN, Reply, Scripted, dead_port, problem


TELLS = pytest.mark.skipif(sys.version_info < (3, 11), reason="a task of Python 3.10 doesn't tell who cancelled it")


def ran(exit_code=0, output="", **more):
    return Reply(200, {"exit_code": exit_code, "output": output, "calls": ["call_1"], **more})


def blocks(*codes, language="python"):
    return [CodeBlock(code, language) for code in codes]


def execute(executor, *codes, language="python", token=None):
    async def run():
        async with executor:
            return await executor.execute_code_blocks(blocks(*codes, language=language), token or CancellationToken())

    return asyncio.run(run())


def executor(host, **more):
    return KeybearerCodeExecutor(url=host.url, token=TOKEN, **more)


def test_blocks_run_in_order_until_one_fails():
    with Scripted(ran(0, "one\n"), ran(3, "two\n", result="2"), ran(0, "three\n")) as host:
        result = execute(executor(host, timeout=7, conversation="c-1"), "print('one')", "print('two')", "print('three')")
    assert (result.exit_code, result.output, result.code_file) == (3, "one\ntwo\n", None)
    assert (result.result, result.calls) == ("2", ["call_1", "call_1"])
    assert [body["blocks"][0]["code"] for _, _, _, body in host.asked] == ["print('one')", "print('two')"]
    command, path, headers, body = host.asked[0]
    assert (command, path) == ("POST", "/v1/code")
    assert body == {"blocks": [{"language": "python", "code": "print('one')"}], "timeout_ms": 7000}
    assert headers["Keybearer-Conversation"] == "c-1"


def test_no_blocks_are_a_success():
    with Scripted(ran()) as host:
        assert execute(executor(host)).exit_code == 0
    assert host.asked == []


def test_a_timeout_of_the_host_and_one_of_our_own_are_124(monkeypatch):
    monkeypatch.setattr(wire, "GRACE_S", 0.1)
    late = threading.Event()
    for last in (ran(124, "two\nTimeout"), problem(504, "deadline_exceeded", "safe"), late):
        with Scripted(ran(0, "one\n"), last) as host:
            result = execute(executor(host, timeout=1), "print('one')", "while True: pass")
        assert result.exit_code == 124
        assert result.output.startswith("one\n") and result.output.endswith("Timeout")


@pytest.mark.parametrize("status, code", [(401, "unauthorized"), (403, "denied"), (500, "internal")])
def test_a_refusal_is_126_and_a_sentence(status, code):
    with Scripted(problem(status, code)) as host:
        result = execute(executor(host), "print('hi')")
    assert (result.exit_code, result.output) == (126, f"The call failed ({code}): told so.")


WAITS = "a person has to approve this first: it waits as apr_0123456789abcdef01234567 until 2026-05-04T09:12:41.990Z"


def test_code_that_a_person_has_to_read_first_says_what_it_waits_for():
    waiting = problem(403, "approval_required")
    waiting.body["detail"] = f"The call failed (approval_required): {WAITS}."
    with Scripted(waiting, ran(0, "hi\n")) as host:
        waits = execute(executor(host), "print('hi')", "print('never')")
        assert (waits.exit_code, waits.approval) == (126, "apr_0123456789abcdef01234567")
        assert WAITS in waits.output
        assert len(host.asked) == 1, "what comes behind it doesn't run"
        with calling(approval=f"{waits.approval}, apr_{'1' * 24}", wait_for_approval=True):
            runs = execute(executor(host), "print('hi')")
    assert (runs.exit_code, runs.output, runs.approval) == (0, "hi\n", None)
    _, _, headers, _ = host.asked[1]
    assert headers["Keybearer-Approval"] == f"{waits.approval}, apr_{'1' * 24}"
    assert headers["Keybearer-Approval-Wait"] == "yes"


def test_a_host_that_is_down_is_126_and_a_sentence():
    result = execute(KeybearerCodeExecutor(url=f"http://127.0.0.1:{dead_port()}", token=TOKEN), "print('hi')")
    assert result.exit_code == 126 and result.output.startswith("The call failed (host_unreachable): ")


@pytest.mark.parametrize("body", [{}, {"exit_code": "0", "output": ""}, {"exit_code": True, "output": ""}, {"exit_code": 0}])
def test_an_answer_in_another_form_is_no_success(body):
    with Scripted(Reply(200, body)) as host:
        result = execute(executor(host), "print('hi')")
    assert result.exit_code == 126 and "another form" in result.output


def test_cancelled_before_it_begins_nothing_runs():
    token = CancellationToken()
    token.cancel()
    with Scripted(ran()) as host:
        result = execute(executor(host), "print('hi')", token=token)
    assert (result.exit_code, result.output, host.asked) == (125, "Cancelled", [])


def test_cancelled_in_mid_run_it_ends_at_once():
    with Scripted(ran(0, "one\n"), threading.Event()) as host:

        async def run():
            token = CancellationToken()
            running = asyncio.ensure_future(executor(host).execute_code_blocks(blocks("1", "2", "3"), token))
            while len(host.asked) < 2:
                await asyncio.sleep(0.01)
            threading.Thread(target=token.cancel).start()
            return await running

        result = asyncio.run(run())
    assert (result.exit_code, result.output) == (125, "one\nCancelled")
    assert len(host.asked) == 2


@pytest.mark.parametrize("token_too", [False, pytest.param(True, marks=TELLS)])
def test_a_task_that_is_cancelled_is_not_kept_alive(tmp_path, token_too):
    with Scripted(threading.Event()) as host:

        async def run():
            one, token = executor(host, work_dir=tmp_path), CancellationToken()
            running = asyncio.ensure_future(one.execute_code_blocks(blocks("1"), token))
            while not host.asked:
                await asyncio.sleep(0.01)
            if token_too:
                token.cancel()
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running

        asyncio.run(run())
    assert list(tmp_path.iterdir()) == []


def test_the_host_says_what_isn_t_python(tmp_path):
    with Scripted(ran(1, "Only Python runs here.")) as host:
        result = execute(executor(host, work_dir=tmp_path), "# filename: x.sh\nls", language="sh")
    assert (result.exit_code, result.output, list(tmp_path.iterdir())) == (1, "Only Python runs here.", [])


@dataclass
class Kept:
    """The files of a folder, by name, while a host is asked."""

    folder: object
    seen: list = field(default_factory=list)

    def __call__(self):
        return {str(path.relative_to(self.folder)): path.read_text() for path in self.folder.rglob("*") if path.is_file()}


NAMED = "# filename: solve.py\nprint('hi')"


def test_code_is_kept_in_the_working_directory(tmp_path):
    folder = tmp_path / "coding"
    with Scripted(ran(0, "hi\n")) as host:
        one = executor(host, work_dir=str(folder), cleanup_temp_files=False)
        for _ in range(2):
            named = execute(one, NAMED)
        deep = execute(one, "# filename: pkg/mod.py\n1")
        unnamed = execute(one, "print('hi')")
    files = Kept(folder)()
    assert files["solve.py"] == NAMED and named.code_file == str(folder / "solve.py")
    assert deep.code_file == str(folder / "pkg/mod.py")
    assert files[unnamed.code_file.split("/")[-1]] == "print('hi')"
    assert host.asked[0][3]["blocks"][0]["code"] == NAMED, "what is kept is what runs"


def test_code_is_cleaned_up_and_nothing_else(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with Scripted(ran(0, "hi\n")) as host:
        result = execute(executor(host, work_dir=tmp_path), NAMED, "print(2)")
    assert result.code_file == str(tmp_path / "solve.py")
    assert Kept(tmp_path)() == {"mine.txt": "mine"}


def test_a_file_that_is_there_is_not_touched(tmp_path):
    (tmp_path / "solve.py").write_text("mine")
    with Scripted(ran(0, "hi\n")) as host:
        result = execute(executor(host, work_dir=tmp_path), NAMED)
    assert result.exit_code == 1 and "is there already" in result.output
    assert host.asked == [] and Kept(tmp_path)() == {"solve.py": "mine"}


def test_the_same_program_of_another_executor_is_left_where_it_is(tmp_path):
    code = "print('hi')"
    with Scripted(ran(0, "hi\n")) as host:
        first = execute(executor(host, work_dir=tmp_path, cleanup_temp_files=False), code)
        again = execute(executor(host, work_dir=tmp_path), code)
        [kept] = tmp_path.iterdir()
        assert (again.exit_code, again.code_file) == (0, first.code_file) and kept.read_text() == code
        kept.write_text("mine")
        other = execute(executor(host, work_dir=tmp_path), code)
        kept.unlink()
        (tmp_path / "solve.py").write_text(NAMED)
        named = execute(executor(host, work_dir=tmp_path), NAMED)
    assert other.exit_code == named.exit_code == 1 and "is there already" in other.output
    assert Kept(tmp_path)() == {"solve.py": NAMED}


ESCAPES = ["../out.py", "/tmp/out.py", "a/../../out.py", "link/out.py", "..", ".", "~/../../out.py"]


@pytest.mark.parametrize("name", ESCAPES + [".bashrc.py", ".git/hooks/x.py", "a\\b.py", "x\0.py"])
def test_a_name_that_leads_out_is_refused(tmp_path, name):
    inside, outside = tmp_path / "coding", tmp_path / "outside"
    inside.mkdir(), outside.mkdir()
    (inside / "link").symlink_to(outside)
    with Scripted(ran(0, "hi\n")) as host:
        result = execute(executor(host, work_dir=inside), f"# filename: {name}\nprint('hi')")
    assert (result.exit_code, result.output, result.code_file) == (1, "Filename is not in the workspace", None)
    assert host.asked == [] and Kept(tmp_path)() == {}


@pytest.mark.parametrize("name", ["../out.py", "/tmp/out.py"])
def test_the_local_executor_refuses_them_in_the_same_words(tmp_path, name):
    code = f"# filename: {name}\nprint('hi')"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        local = execute(LocalCommandLineCodeExecutor(work_dir=tmp_path), code)
    with Scripted(ran(0, "hi\n")) as host:
        ours = execute(executor(host, work_dir=tmp_path), code)
    assert (ours.exit_code, ours.output, ours.code_file) == (local.exit_code, local.output, local.code_file)


@pytest.mark.parametrize("name", ["a" * 300 + ".py", "solve.py/mod.py"])
def test_a_file_that_can_not_be_written_is_told_of(tmp_path, name):
    (tmp_path / "solve.py").write_text("mine")
    with Scripted(ran(0, "hi\n")) as host:
        result = execute(executor(host, work_dir=tmp_path), f"# filename: {name}\nprint('hi')")
    assert result.exit_code == 1 and result.output.endswith("can't be written")
    assert host.asked == [] and Kept(tmp_path)() == {"solve.py": "mine"}


@pytest.mark.parametrize("name", ["x.pth", "conftest", "run.sh"])
def test_only_python_s_files_are_written(tmp_path, name):
    with Scripted(ran(0, "hi\n")) as host:
        result = execute(executor(host, work_dir=tmp_path), f"# filename: {name}\nprint('hi')")
    assert result.exit_code == 1 and "ends in .py" in result.output and list(tmp_path.iterdir()) == []


def test_without_a_working_directory_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with Scripted(ran(0, "hi\n")) as host:
        assert execute(executor(host), NAMED).code_file is None
        assert execute(executor(host), "# filename: ../x.py\n1").output == "Filename is not in the workspace"
    assert list(tmp_path.iterdir()) == [] and len(host.asked) == 1


def test_it_drops_into_autogen_s_code_tool_and_agent():
    with Scripted(ran(0, "hi\n")) as host:
        tool = PythonCodeExecutionTool(executor(host))
        assert tool.return_value_as_string(
            asyncio.run(tool.run_json({"code": "print('hi')"}, CancellationToken()))
        ) == "hi\n"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            agent = CodeExecutorAgent("runner", executor(host), sources=["coder"])
        message = TextMessage(content="```python\nprint('hi')\n```", source="coder")
        said = asyncio.run(agent.on_messages([message], CancellationToken()))
    assert said.chat_message.content == "hi\n"
    assert [body["blocks"][0]["code"] for _, _, _, body in host.asked] == ["print('hi')", "print('hi')\n"]


def test_a_dump_names_the_variable_and_loads(tmp_path, monkeypatch):
    monkeypatch.setenv("KEYBEARER_TOKEN", TOKEN)
    one = KeybearerCodeExecutor(9, tmp_path, False, conversation="c-1")
    for dumped in (one.dump_component(), PythonCodeExecutionTool(one).dump_component()):
        assert TOKEN not in dumped.model_dump_json() and "KEYBEARER_TOKEN" in dumped.model_dump_json()
    again = CodeExecutor.load_component(one.dump_component())
    assert isinstance(again, KeybearerCodeExecutor) and again.dump_component() == one.dump_component()
    assert (again.timeout, again.work_dir, again.cleanup_temp_files) == (9, tmp_path, False)


def test_an_executor_that_was_given_its_token_is_not_dumped():
    one = KeybearerCodeExecutor(url="http://127.0.0.1:1", token=TOKEN)
    for dump in (one.dump_component, PythonCodeExecutionTool(one).dump_component):
        with pytest.raises(ConfigurationError, match="a dump must not hold a token"):
            dump()
    assert TOKEN not in repr(one)


def test_start_tells_what_is_missing(monkeypatch):
    for missing in ("KEYBEARER_URL", "KEYBEARER_TOKEN"):
        monkeypatch.setenv("KEYBEARER_URL", "http://127.0.0.1:1")
        monkeypatch.setenv("KEYBEARER_TOKEN", TOKEN)
        monkeypatch.delenv(missing)
        with pytest.raises(ConfigurationError, match=f"{missing} isn't set"):
            asyncio.run(KeybearerCodeExecutor().start())
    with pytest.raises(ValueError, match="at least 1 second"):
        KeybearerCodeExecutor(timeout=0)


def test_it_is_restarted_by_doing_nothing():
    asyncio.run(KeybearerCodeExecutor(token=TOKEN).restart())
