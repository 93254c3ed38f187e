"""Fixtures: one host for all tests, and others for those that break theirs."""

import os
import secrets
import socket
import sys
from pathlib import Path

import certifi
import httpx
import pytest

from scripted_model import ScriptedModel
from surroundings import PLAIN, ROOT, SANDBOX, FakeStripe, Host, TlsFront, new_customer

sys.path.insert(0, str(ROOT / "examples/autogen"))

# The package as it lies here, for this process and those it starts.
sys.path.insert(0, str(ROOT / "python/src"))
os.environ["PYTHONPATH"] = str(ROOT / "python/src")

# httpx, and so HttpTool, would send loopback traffic to a proxy that the environment names.
for proxy in ("http_proxy", "https_proxy", "all_proxy"):
    os.environ.pop(proxy, None)
    os.environ.pop(proxy.upper(), None)


# Files that take long, the longest first: no worker is to begin with one when the others are done.
LONG = ["test_code", "test_sandbox_build", "test_guide", "test_frameworks_code"]


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: LONG.index(item.path.stem) if item.path.stem in LONG else len(LONG))


@pytest.fixture(scope="session", autouse=True)
def own_configuration(tmp_path_factory):
    """Stripe's SDK writes an id of its own into the user's configuration: not into that of whoever runs the tests."""
    os.environ["XDG_CONFIG_HOME"] = str(tmp_path_factory.mktemp("configuration"))


@pytest.fixture(scope="session", autouse=True)
def one_authority(tmp_path_factory):
    """httpx, and so HttpTool, loads all authorities for each client, tens of milliseconds. Here everything is plain HTTP."""
    first = Path(certifi.where()).read_text().partition("-----END CERTIFICATE-----")
    file = tmp_path_factory.mktemp("authorities") / "one.pem"
    file.write_text("".join(first[:2]))
    os.environ["SSL_CERT_FILE"] = str(file)


@pytest.fixture(scope="session")
def key():
    """The upstream's key: fake, and random, so that finding it anywhere means something."""
    return f"sk_test_{secrets.token_hex(16)}"


@pytest.fixture(scope="session")
def stripe():
    server = FakeStripe()
    yield server
    server.stop()


@pytest.fixture
def upstream(stripe):
    """The fake Stripe, asked directly."""
    reader = {"Authorization": "Bearer sk_test_reader"}
    with httpx.Client(base_url=f"http://{stripe.address}", headers=reader, **PLAIN) as client:
        yield client


@pytest.fixture
def customers(upstream):
    """200 customers, each with a card."""
    return [new_customer(upstream) for _ in range(200)]


@pytest.fixture(scope="session")
def host(stripe, key, tmp_path_factory):
    folder = tmp_path_factory.mktemp("host")
    front = TlsFront(stripe.address, folder)
    running = Host(front, folder, key)
    yield running
    running.stop()
    front.stop()


@pytest.fixture(scope="session")
def code_host(stripe, key, tmp_path_factory):
    """A host where agents may run code, over its own front."""
    folder = tmp_path_factory.mktemp("code-host")
    front = TlsFront(stripe.address, folder)
    running = Host(front, folder, key, sandbox=SANDBOX)
    yield running
    running.stop()
    front.stop()


@pytest.fixture
def front(stripe, tmp_path):
    """TLS before the fake Stripe, for a host that a test sets up by itself."""
    running = TlsFront(stripe.address, tmp_path)
    yield running
    running.stop()


@pytest.fixture
def models():
    """A chat server like OpenAI's whose models say what the test writes down."""
    with ScriptedModel() as server:
        yield server


@pytest.fixture
def silent_host(key, tmp_path):
    """A host whose upstream takes every connection and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as silence:
        front = TlsFront(f"127.0.0.1:{silence.getsockname()[1]}", tmp_path)
        running = Host(front, tmp_path, key)
        yield running
        running.stop()
        front.stop()
