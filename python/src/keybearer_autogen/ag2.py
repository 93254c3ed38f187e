"""Agent-written code in the host's sandbox, for AG2 from 1.0 on."""

from __future__ import annotations

from typing import Any, Literal

from . import wire
from .access import Access
from .client import AsyncClient
from .coding import Run, Workspace
from .context import Context, current_context
from .errors import KeybearerError
from .extras import needs
from .token import Token


class KeybearerCodeEnvironment:
    """Runs agent-written Python in a fresh sandbox on a Keybearer host, never on this machine::

        agent = Agent("analyst", config=…, tools=[SandboxCodeTool(KeybearerCodeEnvironment())])

    It fits the protocol `ag2.tools.code.CodeEnvironment`. A task that is cancelled closes its connection, which stops
    the code at once.

    Args:
        timeout: How long the code may run, in seconds.
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
        *,
        url: str | None = None,
        url_env: str = "KEYBEARER_URL",
        token_env: str = "KEYBEARER_TOKEN",
        token: Token | str | None = None,
        conversation: str | None = None,
        ca_file: str | None = None,
        insecure_http: bool = False,
    ) -> None:
        with needs("ag2", "KeybearerCodeEnvironment"):
            from ag2.tools.code import CodeRunResult
        if timeout < 1:
            raise ValueError("timeout is at least 1 second")
        self._result = CodeRunResult
        self._access = Access(
            url=url, url_env=url_env, token_env=token_env, token=token, ca_file=ca_file, insecure_http=insecure_http
        )
        self._context = Context(conversation=conversation)
        self._timeout = timeout
        self._client = AsyncClient(self._access)

    @property
    def supported_languages(self) -> tuple[Literal["python"], ...]:
        """What the model is told that it may write."""
        return ("python",)

    async def run(self, code: str, language: str, *, context: Any = None) -> Any:
        """Runs the code.

        Args:
            code: The code.
            language: Python; another is exit code 1 with a sentence.
            context: AG2's own; nothing of it is needed.

        Returns:
            AG2's own `CodeRunResult`. A refusal is a result too, with exit code 126.
        """
        run = Run(Workspace(None, clean_up=False))
        if run.begins(language, code):
            try:
                ask = wire.run_code(language, code, current_context().over(self._context), self._timeout)
                run.ended(wire.read_json(await self._client.ask(ask)))
            except KeybearerError as error:
                run.failed(error)
        outcome = run.outcome()
        return self._result(output=outcome.output, exit_code=outcome.exit_code)

    async def close(self) -> None:
        """Closes kept connections."""
        await self._client.close()

    def __repr__(self) -> str:
        return f"KeybearerCodeEnvironment({self._access!r})"
