"""The programs of examples/autogen that the tests of a framework don't run already, run as their users do."""

import ast
import json
import re
import subprocess

import pytest

from frameworks import EXAMPLES, codes, run_script
from scripted import Reply, Scripted
from surroundings import KEYBEARER, ROOT, SECRET, clean_environment
from test_package_docs import BLOCK

GET_INVOICE = {"operations": ["stripe:get_invoice"], "tools": ["get_invoice"]}


def shown(printed):
    """What the model saw, as the examples print it."""
    return [line.split("]", 1)[1].strip() for line in printed.splitlines() if line.startswith("[sees]")]


def test_every_example_is_listed_and_run():
    there = {file.name for file in EXAMPLES.glob("*.py")}
    assert set(re.findall(r"(?m)^\| \[\w+\.py\]\((\w+\.py)\)", (EXAMPLES / "README.md").read_text())) == there
    tests = "".join(file.read_text() for file in (ROOT / "tests/python").glob("*.py"))
    assert {name for name in there if f'"{name}"' in tests or f"autogen/{name}" in tests} == there


def programs():
    """The examples that speak to the host, and the README's code."""
    files = [file for file in (ROOT / "examples").rglob("*.py") if file.name != "before.py"]
    return [(file.name, file.read_text()) for file in files] + [("README", "".join(BLOCK.findall((ROOT / "README.md").read_text())))]


def test_no_example_s_own_requests_go_through_a_proxy_of_the_environment():
    asking = {"get", "post", "put", "delete", "request", "stream", "Client", "AsyncClient"}
    found = 0
    for name, text in programs():
        for node in ast.walk(compile(text, name, "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)):
            if isinstance(node, ast.Call) and ast.unparse(node.func).removeprefix("httpx2.").removeprefix("httpx.") in asking:
                given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
                assert given.get("trust_env") == "False", f"{name}: {ast.unparse(node)}"
                found += 1
    assert found >= 7


def test_a_proxy_sees_no_token_once_no_proxy_names_the_host(host, stripe):
    token, invoice = host.mint(**GET_INVOICE)["token"], stripe.facts["invoice"]
    with Scripted(Reply(502, b"<html>Bad Gateway</html>", "text/html")) as proxy:
        given = {"KEYBEARER_URL": host.url, "KEYBEARER_TOKEN": token, "HTTP_PROXY": proxy.url, "http_proxy": proxy.url}
        printed = run_script(EXAMPLES / "single_agent.py", "--invoice", invoice, NO_PROXY="127.0.0.1", **given)
        assert f'"id":"{invoice}"' in printed and proxy.asked == []
        # Without it AutoGen's HttpTool hands it over: this is what the pages warn of.
        run_script(EXAMPLES / "single_agent.py", "--invoice", invoice, **given)
    assert {path for _, path, _, _ in proxy.asked} == {f"{host.url}/v1/tools/get_invoice"}
    assert proxy.asked[0][2]["Authorization"] == f"Bearer {token}"


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
