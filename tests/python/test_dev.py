"""`keybearer dev` and the signals that end it: no home and no token is left, whenever one comes."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from surroundings import COMPONENTS, KEYBEARER, PATIENCE_S, clean_environment

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]

# The command that is run: it says that it's there, and stays.
STAY = [sys.executable, "-c", "import time; print('here', flush=True); time.sleep(600)"]


@pytest.fixture
def surroundings(tmp_path):
    """A folder for temporary files, and the environment that has it. What was compiled for others isn't used."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    environment = {"TMPDIR": str(temporary), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    return temporary, {**clean_environment(), **environment}


def start(environment, *arguments):
    command = [KEYBEARER, *map(str, arguments), "--", *STAY]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, env=environment, start_new_session=True, text=True, **pipes)


def end(program, number):
    """Sends a signal as it comes: Ctrl-C reaches the whole group, the others may reach one process alone."""
    (os.killpg if number == signal.SIGINT else os.kill)(program.pid, number)
    try:
        errors = program.communicate(timeout=PATIENCE_S)[1]
    except subprocess.TimeoutExpired:
        os.killpg(program.pid, signal.SIGKILL)
        raise
    return program.returncode, errors


@pytest.mark.parametrize("number", SIGNALS)
def test_nothing_is_left_of_one_that_a_signal_ends_before_its_command_begins(number, surroundings):
    temporary, environment = surroundings
    program = start(environment, "dev", "--tools", COMPONENTS / "tools")
    waited_until = time.monotonic() + PATIENCE_S
    while not any(temporary.iterdir()):
        assert program.poll() is None and time.monotonic() < waited_until
        time.sleep(0.001)
    code, errors = end(program, number)
    # Where the machine is slow to send it, the command may be there by then.
    assert (code == 1 and "before the command began" in errors) or code > 128, errors
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("number", SIGNALS)
def test_nothing_is_left_of_one_that_a_signal_ends_later(number, surroundings):
    temporary, environment = surroundings
    program = start(environment, "dev", "--operator")
    assert program.stdout.readline() == "here\n"
    code, errors = end(program, number)
    assert code in {128 + number, 128 + signal.SIGKILL}, errors
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("number", SIGNALS)
def test_its_tokens_end_with_it_whatever_ends_it(number, surroundings, tmp_path):
    _, environment = surroundings

    def keybearer(*arguments):
        command = [KEYBEARER, "--home", tmp_path / "home", *arguments]
        ended = subprocess.run(command, env=environment, check=True, capture_output=True, timeout=PATIENCE_S)
        return ended.stdout

    keybearer("init")
    program = start(environment, "--home", tmp_path / "home", "dev", "--operator")
    assert program.stdout.readline() == "here\n"
    end(program, number)
    tokens = json.loads(keybearer("token", "list", "--all", "--json"))
    states = sorted((token["kind"], token["state"]) for token in tokens if token["agent"] == "dev")
    assert states == [("agent", "revoked"), ("operator", "revoked")]
