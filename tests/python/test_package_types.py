"""The package's types, as a type checker sees them: its own, and those of a program that uses it."""

import re
import sys

from mypy import api

from surroundings import ROOT
from test_package_docs import blocks

PACKAGE = ROOT / "python"

# What the page's examples stand in. `build` is the page's own, with the types that a strict program gives it.
USER = """
from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal, Protocol

from autogen_agentchat.agents import AssistantAgent
from autogen_core.models import ChatCompletionClient
from keybearer_autogen import (
    AgentFactory, AsyncTokenMint, Grant, KeybearerCodeEnvironment, KeybearerWorkbench, Minted, cancellation
)
from keybearer_autogen.secrets import SecretFilter

model: ChatCompletionClient
billing: Grant


class Environment(Protocol):
    # What AG2 asks of one.
    @property
    def supported_languages(self) -> tuple[Literal["python", "bash"], ...]: ...


async def later(minted: Minted) -> AssistantAgent:
    return AssistantAgent("billing", model_client=model, workbench=KeybearerWorkbench(**minted.connection))


def at_once(minted: Minted) -> AssistantAgent:
    return AssistantAgent("billing", model_client=model, workbench=KeybearerWorkbench(**minted.connection))


async def main() -> None:
    mint = AsyncTokenMint()
    plain, awaited = AgentFactory(at_once, billing, mint), AgentFactory(later, billing, mint)
    async with plain.agent() as one, awaited.agent() as other:
        reveal_type(one)
        reveal_type(other)
    async with mint.lease(billing) as minted:
        secrets = SecretFilter("u-17", **minted.connection)
        reveal_type(await secrets.clean("text"))
    with cancellation(seconds=60) as token:
        reveal_type(token)
    environment: Environment = KeybearerCodeEnvironment()
"""


CONFIG = """
[mypy]
[mypy-keybearer_autogen.*]
ignore_errors = true
[mypy-ag2.*,autogen.*]
ignore_missing_imports = true
"""


def checked(*arguments, cache):
    """What mypy says, in one line for each thing."""
    said, errors, _ = api.run([*arguments, "--strict", "--cache-dir", str(cache), "--python-executable", sys.executable])
    assert errors == "", errors
    return said.splitlines()


def test_the_package_checks_strictly_on_its_oldest_python(tmp_path, monkeypatch):
    monkeypatch.chdir(PACKAGE)
    said = checked("--python-version", "3.10", cache=tmp_path)
    assert said[-1].startswith("Success: "), "\n".join(said)


def test_a_program_that_does_as_the_page_says_checks_strictly(tmp_path, monkeypatch):
    *_, factory = blocks("docs/AUTOGEN.md", "A token for each conversation and role")
    factory = factory.replace("build(minted)", "build(minted: Minted) -> AsyncIterator[AssistantAgent]")
    indented = "".join(f"    {line}" for line in factory.splitlines(keepends=True))
    program = tmp_path / "program.py"
    program.write_text(f"{USER}\n\nasync def page() -> None:\n{indented}    reveal_type(agents)\n")
    monkeypatch.chdir(tmp_path)
    # As an installed package: what is wrong inside it is the other test's.
    monkeypatch.setenv("MYPYPATH", str(PACKAGE / "src"))
    config = tmp_path / "mypy.ini"
    config.write_text(CONFIG)
    said = checked("--config-file", str(config), str(program), cache=tmp_path)
    assert said[-1].startswith("Success: "), "\n".join(said)
    revealed = [re.search(r'Revealed type is "(.*)"', line)[1] for line in said[:-1]]
    agent = "autogen_agentchat.agents._assistant_agent.AssistantAgent"
    assert [name.rsplit(".")[-1] for name in revealed[:4]] == ["AssistantAgent", "AssistantAgent", "str", "CancellationToken"]
    assert revealed[-1].endswith(f"AgentFactory[{agent}]]"), revealed
