"""Agent-written code in the host's sandbox, for AutoGen v0.2 and AG2 classic: everything with a `ConversableAgent`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol, Sequence

from . import wire
from .access import Access
from .client import Client
from .coding import Run, Workspace
from .context import Context, current_context
from .errors import KeybearerError
from .extras import needs
from .token import Token


class _Block(Protocol):
    """A code block, as every version has it."""

    @property
    def code(self) -> str: ...

    @property
    def language(self) -> str: ...


class KeybearerClassicCodeExecutor:
    """Runs agent-written Python in a fresh sandbox on a Keybearer host, never on this machine::

        runner = ConversableAgent("runner", llm_config=False,
                                  code_execution_config={"executor": KeybearerClassicCodeExecutor()})

    It fits the protocol `autogen.coding.CodeExecutor`, and keeps the contract of
    :class:`~keybearer_autogen.KeybearerCodeExecutor`. Ctrl-C while code runs closes the connection, which stops it.

    Args:
        timeout: How long a block may run, in seconds.
        work_dir: A folder that the code is kept in, for people to read. The sandbox doesn't see it.
        cleanup_temp_files: Whether those files are removed after the run.
        url: The host's address. Without it, the environment variable that `url_env` names is read.
        url_env: The name of the environment variable that holds the address.
        token_env: The name of the environment variable that holds the token. It's read at each run.
        token: The token itself, for factories.
        conversation: The conversation that all runs belong to.
        ca_file: A PEM file of authorities, if the host's certificate is by one of your own.
        insecure_http: Allows `http://` beyond loopback.
    """

    def __init__(
        self,
        timeout: int = 60,
        work_dir: str | Path | None = None,
        cleanup_temp_files: bool = True,
        *,
        url: str | None = None,
        url_env: str = "KEYBEARER_URL",
        token_env: str = "KEYBEARER_TOKEN",
        token: Token | str | None = None,
        conversation: str | None = None,
        ca_file: str | None = None,
        insecure_http: bool = False,
    ) -> None:
        with needs("ag2-classic", "KeybearerClassicCodeExecutor"):
            from autogen.coding import MarkdownCodeExtractor
            from autogen.coding.base import CommandLineCodeResult
        if timeout < 1:
            raise ValueError("timeout is at least 1 second")
        self._extractor, self._result = MarkdownCodeExtractor(), CommandLineCodeResult
        self._access = Access(
            url=url, url_env=url_env, token_env=token_env, token=token, ca_file=ca_file, insecure_http=insecure_http
        )
        self._context = Context(conversation=conversation)
        self._timeout = timeout
        self._workspace = Workspace(work_dir, clean_up=cleanup_temp_files)
        self._client = Client(self._access)

    @property
    def code_extractor(self) -> Any:
        """What finds code blocks in a message: the framework's own, for Markdown."""
        return self._extractor

    def execute_code_blocks(self, code_blocks: Sequence[_Block]) -> Any:
        """Runs the blocks in order, until one doesn't exit with 0.

        Args:
            code_blocks: The blocks.

        Returns:
            The framework's own `CommandLineCodeResult`. A refusal is a result too, with exit code 126.
        """
        run = Run(self._workspace)
        try:
            for block in code_blocks:
                if not run.begins(block.language, block.code):
                    break
                try:
                    context = current_context().over(self._context)
                    ask = wire.run_code(block.language, block.code, context, self._timeout)
                    run.ended(wire.read_json(self._client.ask(ask)))
                except KeybearerError as error:
                    run.failed(error)
        finally:
            outcome = run.outcome()
        return self._result(exit_code=outcome.exit_code, output=outcome.output, code_file=outcome.code_file)

    def restart(self) -> None:
        """Nothing has to be restarted: every block gets a fresh sandbox."""

    def __repr__(self) -> str:
        return f"KeybearerClassicCodeExecutor({self._access!r})"

    def __deepcopy__(self, memo: object) -> KeybearerClassicCodeExecutor:
        # Agents copy their configuration. Connections can't be copied, and needn't be.
        return self
