"""docs/MIGRATION.md, done: from a tool function that holds the key to a tool that doesn't, with the same result."""

import json
import re
import subprocess

import httpx
import pytest

from frameworks import memory_of
from guide import Reader, blocks, commands, text_of
from surroundings import COMPONENTS, PATIENCE_S, PLAIN, ROOT, turned_to

PAGE = ROOT / "docs/MIGRATION.md"
EXAMPLES = ROOT / "examples/migration"
SECTIONS = ("Where you are", "Step one: the key goes, the code stays", "Step two: the function becomes a tool")


@pytest.fixture
def reader(tmp_path, models):
    reader = Reader(tmp_path)
    reader.env |= models.environment()
    return reader


class Run:
    """The agent of a section, run as the page says: what it saw, and what its process held while it ran."""

    def __init__(self, reader, models, section, invoice, replaced, **env):
        def look():
            environment = open(f"/proc/{agent.pid}/environ", "rb").read()
            self.process = environment + memory_of(agent.pid)
            return "I looked."

        models.script("gpt-4o", [("get_invoice", {"id": invoice})], look)
        typed = [line for line in commands(section, PAGE) if line.startswith(("export", "python"))]
        # A shell with one command left becomes that command.
        script = "\n".join(line.replace("python ", "exec python ", 1) for line in typed)
        for before, after in {"in_1Abc": invoice, **replaced}.items():
            assert before in script, before
            script = script.replace(before, after)
        agent = subprocess.Popen(
            ["bash", "-c", script],
            env={**reader.env, **env},
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.printed, _ = agent.communicate(timeout=PATIENCE_S)
        assert agent.returncode == 0, self.printed
        [self.seen] = re.findall(r"(?m)^\[sees\] (.*)$", self.printed)
        assert models.results("gpt-4o")[-1] == self.seen


def test_the_same_object_and_no_key_in_the_process(reader, models, stripe, front, key, tmp_path):
    invoice = stripe.facts["invoice"]
    local = {"STRIPE_API_BASE": f"http://{stripe.address}", "STRIPE_API_KEY": key}
    before = Run(reader, models, SECTIONS[0], invoice, {}, **local)
    assert set(json.loads(before.seen)) == {"id", "amount_due", "status"}
    assert key.encode() in before.process, "else the search that follows shows nothing"

    key_file = tmp_path / "key"
    key_file.write_text(key)
    typed(reader, "Set up a host", {"keybearer vault set stripe-key": f"keybearer vault set stripe-key < {key_file}"})
    key_file.unlink()
    connection = reader.home / "connections/stripe.toml"
    connection.write_text(turned_to(front, connection.read_text()))
    host, url = reader.serve()
    try:
        token = mint(reader, SECTIONS[1])
        moved = {"http://127.0.0.1:7411": url, "kbt_…": token}
        halfway = Run(reader, models, SECTIONS[1], invoice, moved)
        assert json.loads(halfway.seen) == json.loads(before.seen)
        assert key.encode() not in halfway.process and token.encode() in halfway.process
        for path in ("/v1/charges", "/v1/refunds", "/v1/invoices/in_1/../../customers"):
            asked = f"{url}/proxy/stripe{path}"
            reply = httpx.post(asked, headers={"Authorization": f"Bearer {token}"}, **PLAIN)
            assert reply.status_code in (400, 403), reply.text

        # As after the README, whose component has a tool of this name.
        reader.sh(f"keybearer tool add --yes {COMPONENTS / 'tools/stripe.wasm'}")
        [remove] = re.findall(r"`(keybearer tool remove \w+)` first", text_of(SECTIONS[2], PAGE))
        reader.sh(remove)
        component = COMPONENTS / "examples-migration/invoices.wasm"
        typed(
            reader,
            SECTIONS[2],
            {
                "keybearer tool build examples/migration/invoices": "true",
                "keybearer tool test examples/migration/invoices": "keybearer tool test examples/migration/invoices "
                f"--component {component}",
                "keybearer tool add target/keybearer/invoices.wasm": f"keybearer tool add --yes {component}",
            },
        )
        token = mint(reader, SECTIONS[2])
        after = Run(reader, models, SECTIONS[2], invoice, {"http://127.0.0.1:7411": url, "kbt_…": token})
        assert json.loads(after.seen) == json.loads(before.seen)
        for section, seen in ((SECTIONS[0], before.seen), (SECTIONS[2], after.seen)):
            [shown] = re.findall(r"(?m)^```\n\[sees\] (.*)\n```$", text_of(section, PAGE))
            as_shown = re.sub(r'(?<="amount_due":)( ?)\d+', r"\g<1>4200", seen.replace(invoice, "in_1Abc"))
            assert shown == as_shown
        assert key.encode() not in after.process and token.encode() in after.process
        trail = reader.sh("keybearer audit list")
        assert "get_invoice" in trail
        revoke(reader, token)
        bearer = {"Authorization": f"Bearer {token}"}
        said = httpx.post(f"{url}/v1/tools/get_invoice", json={"id": invoice}, headers=bearer, **PLAIN)
        assert said.status_code == 401
    finally:
        host.interrupt()
    assert key.encode() not in models.everything() and token.encode() not in models.everything()


def typed(reader, section, instead):
    """Types what a section says, but for tokens and agents. A test has no terminal to type a key or a yes at."""
    for command in commands(section, PAGE):
        if not command.startswith(("keybearer token mint", "export", "python")):
            reader.sh(instead.pop(command, command))
    assert not instead, f"the page doesn't say {list(instead)}"


def mint(reader, section):
    [command] = [line for line in commands(section, PAGE) if line.startswith("keybearer token mint")]
    return re.search(r"kbt_[\w-]+", reader.sh(command))[0]


def revoke(reader, token):
    newest = reader.sh("keybearer token list")
    for name in re.findall(r"tok_\w+", newest):
        reader.sh(f"keybearer token revoke {name}")


def test_the_page_shows_the_examples_as_they_are():
    [function] = blocks(SECTIONS[0], "python", PAGE)
    assert function in (EXAMPLES / "before.py").read_text()
    [tool] = blocks(SECTIONS[2], "rust", PAGE)
    assert (EXAMPLES / "invoices/src/lib.rs").read_text().endswith(tool)
    [call] = blocks(SECTIONS[2], "python", PAGE)
    assert call in (EXAMPLES / "after.py").read_text()


def test_the_functions_reach_further_than_meant(models, stripe, key, tmp_path):
    """What the page says of the URL: with the key at hand, the model's text chooses the request."""
    reader = Reader(tmp_path)
    reader.env |= models.environment()
    local = {"STRIPE_API_BASE": f"http://{stripe.address}", "STRIPE_API_KEY": key}
    elsewhere = f"../customers/{stripe.facts['customer']}"
    models.script("gpt-4o", [("get_invoice", {"id": elsewhere})], "I looked.")
    printed = reader.sh("python examples/migration/before.py look", **local)
    assert stripe.facts["customer"] in printed.split("[sees]")[1]
