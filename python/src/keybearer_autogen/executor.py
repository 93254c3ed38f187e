"""Agent-written code in the host's sandbox, as an AutoGen code executor."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path

from . import wire
from .access import Access
from .cancelling import Stopped, stopped_by
from .client import AsyncClient
from .coding import Run, Workspace
from .context import Context, current_context
from .errors import KeybearerError
from .extras import needs
from .token import Token

with needs("autogen", "KeybearerCodeExecutor"):
    from autogen_core import CancellationToken, Component
    from autogen_core.code_executor import CodeBlock, CodeExecutor, CodeResult
    from typing_extensions import Self

    from .component import HostConfig


@dataclass
class KeybearerCodeResult(CodeResult):
    """The result of code blocks.

    Attributes:
        code_file: The file of the first block, if the executor was given a working directory.
        result: The value of the last block's last expression: JSON if it can be written as JSON, else its `repr`.
        calls: The ids of the runs in the host's audit trail.
        approval: The approval (`apr_…`) that the code waits for, if a person has to read it first. It's in the output as
            well. Once it's approved, exactly the same code runs.
    """

    code_file: str | None = None
    result: str | None = None
    calls: list[str] = field(default_factory=list)
    approval: str | None = None


class KeybearerCodeExecutorConfig(HostConfig):
    """An executor's configuration. The token is named by its environment variable."""

    timeout: int = 60
    work_dir: str | None = None
    cleanup_temp_files: bool = True


class KeybearerCodeExecutor(CodeExecutor, Component[KeybearerCodeExecutorConfig]):
    """Runs agent-written Python in a fresh sandbox on a Keybearer host, never on this machine.

    It takes the place of `LocalCommandLineCodeExecutor`, in `PythonCodeExecutionTool` and `CodeExecutorAgent` too. The
    code sees no file, no environment and no network. What it may reach, it reaches by name through the host:
    `keybearer.http("stripe").get(…)`, under the token's rights.

    - Exit codes are those of a Python process; 124 with `Timeout`, 125 with `Cancelled`, and 126 with a sentence when
      the host refused or couldn't be reached.
    - Where a person has to read the code first, it doesn't run: the exit code is 126, and the output says which approval
      it waits for. Inside `calling(wait_for_approval=True)` the host waits for the person, for three quarters of `timeout`.
    - Only Python is run. Another language is exit code 1 with a sentence.
    - Nothing is kept from one block to the next.
    - Cancelling stops the code at once, also in mid-run: what it hasn't sent by then isn't sent.

    Example::

        tool = PythonCodeExecutionTool(KeybearerCodeExecutor())
        agent = AssistantAgent("analyst", model_client=model, tools=[tool])

    Args:
        timeout: How long a block may run, in seconds. The host has a limit of its own (300 s unless its operator set
            another).
        work_dir: A folder that the code is kept in, for people to read: in the file that its first line
            `# filename: NAME.py` names, else in one named by its digest. The sandbox doesn't see it. A name that leads
            out of the folder is refused, and a file that the executor didn't write is never touched.
        cleanup_temp_files: Whether those files are removed after the run.
        url: The host's address. Without it, the environment variable that `url_env` names is read.
        url_env: The name of the environment variable that holds the address.
        token_env: The name of the environment variable that holds the token. It's read at each run.
        token: The token itself, for factories. An executor that was given one can't be dumped.
        conversation: The conversation that all runs belong to.
        ca_file: A PEM file of authorities, if the host's certificate is by one of your own.
        insecure_http: Allows `http://` beyond loopback.
    """

    component_config_schema = KeybearerCodeExecutorConfig
    component_provider_override = "keybearer_autogen.KeybearerCodeExecutor"

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
        if timeout < 1:
            raise ValueError("timeout is at least 1 second")
        self._access = Access(
            url=url, url_env=url_env, token_env=token_env, token=token, ca_file=ca_file, insecure_http=insecure_http
        )
        self._context = Context(conversation=conversation)
        self._timeout = timeout
        self._workspace = Workspace(work_dir, clean_up=cleanup_temp_files)
        self._client = AsyncClient(self._access)

    @property
    def timeout(self) -> int:
        """How long a block may run, in seconds."""
        return self._timeout

    @property
    def work_dir(self) -> Path | None:
        """The folder that code is kept in."""
        return self._workspace.folder

    @property
    def cleanup_temp_files(self) -> bool:
        """Whether files are removed after the run."""
        return self._workspace.clean_up

    async def execute_code_blocks(
        self, code_blocks: list[CodeBlock], cancellation_token: CancellationToken
    ) -> KeybearerCodeResult:
        """Runs the blocks in order, until one doesn't exit with 0.

        Args:
            code_blocks: The blocks.
            cancellation_token: Stops what runs, at once.

        Returns:
            What they wrote, and how they ended. A refusal is a result too, with exit code 126.

        Raises:
            asyncio.CancelledError: The task was cancelled, and not by the token.
        """
        run = Run(self._workspace)
        try:
            for block in code_blocks:
                if not run.begins(block.language, block.code):
                    break
                try:
                    context = current_context().over(self._context)
                    ask = wire.run_code(block.language, block.code, context, self._timeout)
                    # AutoGen's agents wait for ever for a tool that raises when their token cancels it.
                    answer = await stopped_by(cancellation_token, self._client.ask(ask), linked=True)
                    run.ended(wire.read_json(answer))
                except KeybearerError as error:
                    run.failed(error)
                except Stopped:
                    run.cancelled()
        finally:
            outcome = run.outcome()
        return KeybearerCodeResult(**asdict(outcome))

    async def start(self) -> None:
        """Looks whether the address and the token are there; there's nothing to start.

        Raises:
            ConfigurationError: They aren't.
        """
        self._access.url()
        self._access.token(operator=False)

    async def stop(self) -> None:
        """Closes kept connections."""
        await self._client.close()

    async def restart(self) -> None:
        """Nothing has to be restarted: every block gets a fresh sandbox."""

    def __repr__(self) -> str:
        return f"KeybearerCodeExecutor({self._access!r})"

    def _to_config(self) -> KeybearerCodeExecutorConfig:
        return KeybearerCodeExecutorConfig(
            **self._access.for_config(),
            conversation=self._context.conversation,
            timeout=self._timeout,
            work_dir=None if self.work_dir is None else str(self.work_dir),
            cleanup_temp_files=self.cleanup_temp_files,
        )

    @classmethod
    def _from_config(cls, config: KeybearerCodeExecutorConfig) -> Self:
        return cls(**config.model_dump())
