"""What the tests stand a host in: a fake Stripe, its TLS front, and the host itself."""

import base64
import contextlib
import json
import os
import re
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx

ROOT = Path(__file__).resolve().parents[2]
COMPONENTS = Path(os.environ.get("KEYBEARER_TEST_COMPONENTS", ROOT / "target/xtask"))
KEYBEARER = os.environ.get("KEYBEARER_BIN", str(ROOT / "target/debug/keybearer"))
TLS_FRONT = os.environ.get("KEYBEARER_TLS_FRONT_BIN", str(ROOT / "target/debug/keybearer-tls-front"))
SECRET = "stripe-test"
SANDBOX = COMPONENTS / "sandbox/python.wasm"

# How long a program may take before a test gives it up, in seconds: others run beside it, on a machine that may be busy.
PATIENCE_S = 180

# How httpx is used here: no proxy, and no authorities, which take tens of milliseconds to load for each client. What the tests
# ask speaks plain HTTP.
PLAIN = {"trust_env": False, "verify": ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)}

# Code may run for whoever's token names it; it charges 50.00 at most, and every other rule is the home's own.
CODE_POLICY = """
@id("tests-run-code")
permit (principal, action == Action::"run_code", resource);
@id("tests-code-charges-little")
forbid (principal, action == Action::"stripe:create_charge", resource)
when { context.door == "code" && context.body.amount > 5000 };
"""

# The command that `keybearer dev` runs: it hands the addresses over and waits to be let go.
HOLD = """
import json, os, sys
print(json.dumps({name: value for name, value in os.environ.items() if name.startswith("KEYBEARER_")}), flush=True)
sys.stdin.read()
"""


class Program:
    """A program that runs until its standard input closes. What it writes to standard error is kept."""

    def __init__(self, command, env=None):
        self.errors = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            env=env,
            cwd=ROOT,
            text=True,
        )

    def hear(self, until):
        """The lines that it prints, up to and with the one that `until` accepts."""
        lines = []
        for line in self.process.stdout:
            lines.append(line.rstrip("\n"))
            if until(lines[-1]):
                return lines
        raise RuntimeError(f"{self.process.args[0]} ended too early:\n{self.log()}")

    def heard_in_errors(self, pattern):
        """The first group of what it writes to standard error, once that is there."""
        while self.process.poll() is None:
            if found := re.search(pattern, self.log()):
                return found[1]
            time.sleep(0.02)
        raise RuntimeError(f"{self.process.args[0]} ended too early:\n{self.log()}")

    def go_on(self):
        """Presses Enter."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def rest(self):
        """All other lines that it prints, when it has ended well."""
        self.process.stdin.close()
        lines = self.process.stdout.read().splitlines()
        assert self.process.wait(timeout=PATIENCE_S) == 0, self.log()
        return lines

    def log(self):
        self.errors.seek(0)
        return self.errors.read().decode(errors="replace")

    def interrupt(self):
        """Ctrl-C."""
        self.process.send_signal(signal.SIGINT)
        return self.stop()

    def stop(self):
        self.process.stdin.close()
        try:
            return self.process.wait(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        finally:
            self.process.stdout.close()


class FakeStripe:
    """localstripe with a customer and two invoices."""

    def __init__(self):
        self.program = Program([sys.executable, ROOT / "tests/python/fake_stripe.py"])
        self.facts = dict(line.split("=") for line in self.program.hear(lambda line: line == "ready")[:-1])
        self.address = f"127.0.0.1:{self.facts['port']}"

    def stop(self):
        self.program.stop()


class TlsFront:
    """TLS before a plain server, by a CA of its own. It keeps what clients sent."""

    def __init__(self, target, folder):
        self.ca, self.transcript = folder / "ca.pem", folder / "transcript"
        command = [TLS_FRONT, "--target", target, "--ca-out", self.ca, "--transcript", self.transcript]
        self.program = Program(command)
        self.port = int(self.program.hear(lambda line: True)[0])

    def stop(self):
        self.program.stop()


@dataclass
class Host:
    """A host run by `keybearer dev` on a home that was set up before, with the Stripe tool and a secret; with a sandbox, if one
    is given (`SANDBOX`), where code may use Stripe."""

    front: TlsFront
    folder: Path
    key: str
    sandbox: Path | None = None
    url: str = field(init=False)
    token: str = field(init=False)

    def __post_init__(self):
        self.home, self.env = self.folder / "home", {**clean_environment(), "KEYBEARER_LOG": "debug"}
        self.run("init")
        (self.home / "connections/stripe.toml").write_text(self.connection())
        if self.sandbox:
            share_compiled(self.home)
            (self.home / "policies/code.cedar").write_text(CODE_POLICY)
            self.run("sandbox", "add", "--yes", "--connection", "stripe", self.sandbox)
        self.run("tool", "add", "--yes", COMPONENTS / "tools/stripe.wasm")
        self.run("vault", "set", SECRET, given=self.key)
        hold = ["dev", "--operator", "--", sys.executable, "-c", HOLD]
        self.program = Program([KEYBEARER, "--home", self.home, *hold], env=self.env)
        given = json.loads(self.program.hear(lambda line: line.startswith("{"))[-1])
        self.url, self.token = given["KEYBEARER_URL"], given["KEYBEARER_TOKEN"]
        self.operator_token = given["KEYBEARER_OPERATOR_TOKEN"]

    def run(self, *arguments, given=""):
        """A command on the home, which gets this on its standard input."""
        command = [KEYBEARER, "--home", self.home, *arguments]
        done = subprocess.run(command, env=self.env, input=given, capture_output=True, text=True, timeout=PATIENCE_S)
        assert done.returncode == 0, done.stderr

    def connection(self):
        """The example's connection, turned to our upstream."""
        text = turned_to(self.front, (ROOT / "examples/connections/stripe.toml").read_text())
        return re.sub(r"(?m)^secret\b.*$", f'secret = "{SECRET}"', text)

    def mint(self, **grant):
        """A token with these rights, minted as an operator would over HTTP."""
        body = {"agent": "tester", "expires_in_seconds": 600, **grant}
        reply = self.as_operator("POST", "/v1/tokens", json=body)
        assert reply.is_success, reply.text
        return reply.json()

    def as_operator(self, method, path, **more):
        headers = {"Authorization": f"Bearer {self.operator_token}"}
        with httpx.Client(**PLAIN) as client:
            return client.request(method, self.url + path, headers=headers, **more)

    def agent_environment(self, token=None):
        """All that an agent's process is given."""
        return {**clean_environment(), "KEYBEARER_URL": self.url, "KEYBEARER_TOKEN": token or self.token}

    def log(self):
        return self.program.log()

    def files(self):
        """Every file of the home."""
        return [path for path in self.home.rglob("*") if path.is_file()]

    def stop(self):
        return self.program.stop()


def share_compiled(home):
    """Has a new home use what others of the tests have compiled: CPython takes long."""
    compiled = COMPONENTS / "compiled"
    compiled.mkdir(exist_ok=True)
    key = compiled / "cache.key"
    if not key.exists():
        # Of several that begin at once, one makes the key, and none reads a part of it.
        with tempfile.NamedTemporaryFile(dir=compiled) as made, contextlib.suppress(FileExistsError):
            made.write(os.urandom(32))
            made.flush()
            os.link(made.name, key)
    shutil.copy(key, home / "cache.key")
    (home / "cache").rmdir()
    (home / "cache").symlink_to(compiled)


def new_customer(upstream):
    """A customer of the fake Stripe with a card."""
    card = {"number": "4242424242424242", "exp_month": "12", "exp_year": "2035", "cvc": "123"}
    source = post(upstream, "/v1/tokens", {f"card[{name}]": value for name, value in card.items()})["id"]
    return post(upstream, "/v1/customers", {"source": source})["id"]


def post(client, path, form):
    reply = client.post(path, data=form)
    reply.raise_for_status()
    return reply.json()


def charges(upstream, customers):
    """The charges that there really are for these customers, by id."""
    found, after = {}, {}
    while True:
        page = upstream.get("/v1/charges", params={"limit": 100, **after}).json()
        for charge in page["data"]:
            if charge["customer"] in customers:
                found[charge["id"]] = charge
        if not page["has_more"]:
            return found
        after = {"starting_after": page["data"][-1]["id"]}


def turned_to(front, connection):
    """A connection's file with this upstream."""
    text = re.sub(r"(?m)^(ca_file|allow_private)\b.*\n", "", connection)
    upstream = (
        f'base_url = "https://localhost:{front.port}"\n'
        f'ca_file = "{front.ca}"\n'
        'allow_private = ["127.0.0.0/8", "::1/128"]'
    )
    return re.sub(r"(?m)^base_url\b.*$", upstream, text)


def forms(key):
    """The key as it might turn up."""
    raw = key.encode()
    yield raw
    yield raw[::-1]
    yield raw.hex().encode()
    for skip in range(3):
        # Without the characters that depend on what stands around it.
        yield base64.b64encode(b" " * skip + raw)[4 if skip else 0 : -4]


def clean_environment():
    """This process's environment without what would lead tests astray: proxies, and settings of another host."""
    proxies = {"http_proxy", "https_proxy", "all_proxy"}
    return {
        name: value
        for name, value in os.environ.items()
        if name.lower() not in proxies and not name.startswith("KEYBEARER_")
    }


def run_agent(host, invoice, folder, token=None):
    """Runs the example's agent to its end: what it printed, every message, and its environment while it ran."""
    dump = folder / "messages.json"
    script = ROOT / "examples/autogen/single_agent.py"
    agent = subprocess.Popen(
        [sys.executable, script, "--invoice", invoice, "--dump", dump],
        env=host.agent_environment(token),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    environ, environment = Path(f"/proc/{agent.pid}/environ"), b""
    while environ.exists() and not environment and agent.poll() is None:
        environment = environ.read_bytes()  # It's empty for a moment after the start.
    printed, _ = agent.communicate(timeout=PATIENCE_S)
    assert agent.returncode == 0, printed
    return printed, json.loads(dump.read_text()), environment
