"""The programs of examples/autogen that the tests of a framework don't run already, run as their users do."""

import json
import re
import subprocess

from frameworks import EXAMPLES, codes, run_script
from surroundings import KEYBEARER, ROOT, SECRET, clean_environment

GET_INVOICE = {"operations": ["stripe:get_invoice"], "tools": ["get_invoice"]}


def shown(printed):
    """What the model saw, as the examples print it."""
    return [line.split("]", 1)[1].strip() for line in printed.splitlines() if line.startswith("[sees]")]


def test_every_example_is_listed_and_run():
    there = {file.name for file in EXAMPLES.glob("*.py")}
    assert set(re.findall(r"(?m)^\| \[\w+\.py\]\((\w+\.py)\)", (EXAMPLES / "README.md").read_text())) == there
    tests = "".join(file.read_text() for file in (ROOT / "tests/python").glob("*.py"))
    assert {name for name in there if f'"{name}"' in tests or f"autogen/{name}" in tests} == there


def test_streaming(host, models, stripe):
    invoice = stripe.facts["invoice"]
    models.script("gpt-4o", [("get_invoice", {"id": invoice})], "It is a draft.")
    printed = run_script(
        EXAMPLES / "streaming.py",
        f"What is the state of invoice {invoice}?",
        KEYBEARER_URL=host.url,
        KEYBEARER_TOKEN=host.mint(**GET_INVOICE)["token"],
        **models.environment(),
    )
    assert "It is a draft." in printed and f'[calls] get_invoice {{"id": "{invoice}"}}' in printed
    [seen] = shown(printed)
    assert json.loads(seen)["id"] == invoice
    assert models.results("gpt-4o") == [seen]


def test_over_mcp(host, models, stripe):
    invoice = stripe.facts["invoice"]
    models.script("gpt-4o", [("get_invoice", {"id": invoice})], "It is a draft.")
    printed = run_script(
        EXAMPLES / "mcp_workbench.py",
        f"What is the state of invoice {invoice}?",
        KEYBEARER_URL=host.url,
        KEYBEARER_TOKEN=host.mint(**GET_INVOICE)["token"],
        **models.environment(),
    )
    assert "It is a draft." in printed
    [seen] = shown(printed)
    assert json.loads(seen)["id"] == invoice


def test_each_request_of_a_tenant_is_an_agent_of_its_own(host, models, stripe, key, tmp_path):
    """Two tenants of one host, with a key each; a third one has none."""
    keys = {"acme": key[:-8] + "acme0000", "globex": key[:-8] + "globex00"}
    command = [KEYBEARER, "--home", host.home]
    for tenant, secret in keys.items():
        store = [*command, "vault", "set", SECRET, "--tenant", tenant]
        subprocess.run(store, input=secret, text=True, check=True, capture_output=True, env=clean_environment())
    platform = {}
    for tenant in (*keys, "initech"):
        mint = [*command, "token", "mint", "--tenant", tenant, "--agent", "platform", "--may-delegate"]
        mint += ["--tool", "get_invoice", "--operation", "stripe:get_invoice", "--ttl", "30d", "--json"]
        done = subprocess.run(mint, text=True, check=True, capture_output=True, env=clean_environment())
        platform[f"KEYBEARER_TOKEN_{tenant.upper()}"] = json.loads(done.stdout)["token"]

    def request(tenant):
        models.script("gpt-4o", [("get_invoice", {"id": stripe.facts["invoice"]})], "I looked.")
        example = EXAMPLES / "multi_tenant.py"
        printed = run_script(example, tenant, "Look.", KEYBEARER_URL=host.url, **platform, **models.environment())
        return shown(printed)

    for tenant, secret in keys.items():
        others = [other for other in keys.values() if other != secret]
        before = len(host.front.transcript.read_bytes())
        [seen] = request(tenant)
        sent = host.front.transcript.read_bytes()[before:]
        assert json.loads(seen)["id"] == stripe.facts["invoice"]
        assert secret.encode() in sent and not any(other.encode() in sent for other in others)
    # Where a tenant has no key, nobody else's stands in.
    assert codes(request("initech")) == ["no_secret"]
    for secret in (*keys.values(), *platform.values()):
        assert secret.encode() not in models.everything()
