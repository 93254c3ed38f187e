"""docs/AUTOGEN.md and the package's README: their code runs as it stands, against a real host."""

import ast
import asyncio
import inspect
import re

import pytest

from frameworks import python_of, run_script
from surroundings import ROOT
from test_package_workbench import model, results

BLOCK = re.compile(r"(?ms)^```python\n(.*?)^```$")


def blocks(file, section):
    """The code of a section, block by block."""
    text = (ROOT / file).read_text()
    found = re.search(rf"(?ms)^##+ {re.escape(section)}$(.*?)(?=^##+ |\Z)", text)
    assert found, f"{file} has no section {section!r}"
    return BLOCK.findall(found[1])


async def run(names, *codes):
    """Runs code as a prompt that knows `await` would."""
    for code in codes:
        compiled = compile(code, "a document", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        outcome = eval(compiled, names)
        if inspect.iscoroutine(outcome):
            await outcome
    return names


def asks_for(invoice):
    """A model that asks for the invoice, each time it's asked."""
    return model(*[("get_invoice", {"id": invoice})] * 3)


@pytest.fixture
def names(host, stripe, monkeypatch):
    """What a reader has: the variables, a model, and what was imported further up."""
    monkeypatch.setenv("KEYBEARER_URL", host.url)
    monkeypatch.setenv("KEYBEARER_TOKEN", host.token)
    monkeypatch.setenv("KEYBEARER_OPERATOR_TOKEN", host.operator_token)
    monkeypatch.setenv("KEYBEARER_OPERATOR_ACME", host.operator_token)
    given = {"model": asks_for(stripe.facts["invoice"])}
    exec("from autogen_agentchat.agents import AssistantAgent\nfrom keybearer_autogen import KeybearerWorkbench", given)
    return given


def saw_the_invoice(names, stripe):
    [result] = results(names["result"].messages)
    return not result.is_error and stripe.facts["invoice"] in result.content


def test_the_workbench(names, stripe):
    asyncio.run(run(names, *blocks("docs/AUTOGEN.md", "The workbench")))
    assert saw_the_invoice(names, stripe)


def test_mcp(names, stripe):
    asyncio.run(run(names, *blocks("docs/AUTOGEN.md", "MCP")))
    assert saw_the_invoice(names, stripe)


def test_tokens(names, stripe):
    lease, group, factory = blocks("docs/AUTOGEN.md", "A token for each conversation and role")
    asyncio.run(run(names, lease))
    assert saw_the_invoice(names, stripe)
    asyncio.run(run(names, group))
    assert [agent.name for agent in names["agents"]] == ["billing", "analytics"]
    names["model"] = asks_for(stripe.facts["invoice"])
    del names["result"]
    asyncio.run(run(names, factory))
    assert saw_the_invoice(names, stripe)


def test_the_package_s_readme(names, stripe):
    asyncio.run(run(names, *blocks("python/README.md", "Tools"), *blocks("python/README.md", "Code")))
    tools = asyncio.run(names["agent"]._workbench[0].list_tools())
    assert "get_invoice" in {tool["name"] for tool in tools}
    asyncio.run(run(names, *blocks("python/README.md", "Tokens")))
    assert names["agent"]._workbench == [names["workbench"]]


@pytest.mark.parametrize(
    "section, framework, found",
    [
        ("v0.2 and AG2 classic", "classic", "runner.code_executor.code_extractor"),
        ("AG2 from 1.0 on", "ag2", "tool.environment.supported_languages"),
    ],
)
def test_other_frameworks(section, framework, found, tmp_path):
    script = tmp_path / "page.py"
    script.write_text("\n".join([*blocks("docs/AUTOGEN.md", section), f"print({found})"]))
    assert run_script(script, python=python_of(framework)).strip()


@pytest.mark.parametrize("file", ["docs/AUTOGEN.md", "python/README.md", "README.md"])
def test_links_lead_somewhere(file):
    path = ROOT / file
    text = path.read_text()
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith("https://"):
            continue
        there, _, anchor = target.partition("#")
        linked = (path.parent / there).resolve() if there else path
        assert linked.exists(), f"{file} links to {target}"
        if anchor:
            headings = re.findall(r"(?m)^#+ (.*)$", linked.read_text())
            slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in slugs, f"{file} links to {target}"
