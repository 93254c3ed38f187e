"""The host's tools, as an AutoGen workbench."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from . import wire
from .access import Access
from .cancelling import Stopped, stopped_by
from .client import AsyncClient
from .context import Context, current_context
from .errors import KeybearerError, NotAHost
from .extras import needs
from .token import Token

with needs("autogen", "KeybearerWorkbench"):
    from autogen_core import CancellationToken, Component
    from autogen_core.tools import TextResultContent, ToolResult, ToolSchema, Workbench
    from typing_extensions import Self

    from .component import HostConfig

log = logging.getLogger("keybearer_autogen")

_CHECK = "A request may have been sent. Check what was done before you try again."
CANCELLED = f"The call failed (cancelled): it was cancelled. {_CHECK}"
UNFORESEEN = f"The call failed (internal): the package that calls the Keybearer host met an error of its own. {_CHECK}"


class KeybearerWorkbenchConfig(HostConfig):
    """A workbench's configuration. The token is named by its environment variable."""

    deadline_s: float = 30.0


class KeybearerWorkbench(Workbench, Component[KeybearerWorkbenchConfig]):
    """The tools that a token may call on a Keybearer host.

    The list of tools, their descriptions and schemas come from the host; so do the results. An error comes as a tool
    error whose text says that the call failed, why, whether anything was sent, and whether to try again. The agent's
    identity is the token's: give each agent a token of its own.

    Example::

        async with KeybearerWorkbench(conversation="c-17") as workbench:
            agent = AssistantAgent("billing", model_client=model, workbench=workbench)
            await agent.run(task="What is the state of invoice in_1Abc?")

    Args:
        url: The host's address. Without it, the environment variable that `url_env` names is read.
        url_env: The name of the environment variable that holds the address.
        token_env: The name of the environment variable that holds the token. It's read at each call.
        token: The token itself, for factories. A workbench that was given one can't be dumped.
        conversation: The conversation that all calls belong to. :func:`keybearer_autogen.calling` says more of single
            calls (turn, intent, approval) and goes before this.
        deadline_s: How long a call may take, in seconds. The host cuts it to its own limit (120 s unless its operator
            set another).
        ca_file: A PEM file of authorities, if the host's certificate is by one of your own.
        insecure_http: Allows `http://` beyond loopback.
    """

    component_config_schema = KeybearerWorkbenchConfig
    component_provider_override = "keybearer_autogen.KeybearerWorkbench"

    def __init__(
        self,
        *,
        url: str | None = None,
        url_env: str = "KEYBEARER_URL",
        token_env: str = "KEYBEARER_TOKEN",
        token: Token | str | None = None,
        conversation: str | None = None,
        deadline_s: float = 30.0,
        ca_file: str | None = None,
        insecure_http: bool = False,
    ) -> None:
        if not deadline_s > 0:
            raise ValueError("deadline_s is more than 0 seconds")
        self._access = Access(
            url=url, url_env=url_env, token_env=token_env, token=token, ca_file=ca_file, insecure_http=insecure_http
        )
        self._context = Context(conversation=conversation)
        self._deadline_s = deadline_s
        self._client = AsyncClient(self._access)
        self._listed: list[ToolSchema] | None = None

    async def list_tools(self) -> list[ToolSchema]:
        """The tools that the token may call, asked of the host each time.

        If the host doesn't answer, or refuses, after it has listed them once, this is what it listed then: the call
        that follows tells the model what is wrong, in a tool error.

        Raises:
            KeybearerError: The host has never listed them.
        """
        try:
            listed = wire.read_json(await self._client.ask(wire.list_tools())).get("tools")
            self._listed = [_schema(tool) for tool in _objects(listed, self._access)]
        except KeybearerError as error:
            if self._listed is None:
                raise
            log.warning("the tools couldn't be listed again: %s", error)
        return list(self._listed)

    async def call_tool(
        self,
        name: str,
        arguments: Mapping[str, Any] | None = None,
        cancellation_token: CancellationToken | None = None,
        call_id: str | None = None,
    ) -> ToolResult:
        """Calls a tool. What goes wrong is a result with `is_error`, in words for the model: AutoGen's agents wait for
        ever for a call that raises.

        Args:
            name: The tool.
            arguments: Its arguments; `None` values count as left out.
            cancellation_token: Cancelling closes the connection, and the host stops the call at once: what hasn't been
                sent upstream by then isn't sent. The result says that it was cancelled.
            call_id: The model's own id of the call. It's recorded in the host's audit trail.

        Raises:
            asyncio.CancelledError: The task was cancelled.
        """
        try:
            context = current_context().over(self._context)
            ask = wire.call_tool(name, arguments, context, call_id, self._deadline_s)
            text = wire.read_text(await stopped_by(cancellation_token, self._client.ask(ask)))
        except KeybearerError as error:
            log.warning("a call of %r failed: %s", name, error)
            return result(name, error.detail, is_error=True)
        except Stopped:
            return result(name, CANCELLED, is_error=True)
        except Exception:
            log.exception("a call of %r failed in a way that wasn't foreseen", name)
            return result(name, UNFORESEEN, is_error=True)
        return result(name, text, is_error=False)

    async def start(self) -> None:
        """Nothing has to be started: connections are made when they're needed."""

    async def stop(self) -> None:
        """Closes kept connections."""
        await self._client.close()

    async def reset(self) -> None:
        """Forgets what was listed."""
        self._listed = None

    async def save_state(self) -> Mapping[str, Any]:
        """Nothing: all state is the host's."""
        return {}

    async def load_state(self, state: Mapping[str, Any]) -> None:
        """Nothing: all state is the host's."""

    def __repr__(self) -> str:
        return f"KeybearerWorkbench({self._access!r})"

    def _to_config(self) -> KeybearerWorkbenchConfig:
        return KeybearerWorkbenchConfig(
            **self._access.for_config(), conversation=self._context.conversation, deadline_s=self._deadline_s
        )

    @classmethod
    def _from_config(cls, config: KeybearerWorkbenchConfig) -> Self:
        return cls(**config.model_dump())


def result(name: str, text: str, *, is_error: bool) -> ToolResult:
    """What a call of a tool came to, as AutoGen takes it."""
    return ToolResult(name=name, result=[TextResultContent(content=text)], is_error=is_error)


def _objects(listed: Any, access: Access) -> list[dict[str, Any]]:
    if isinstance(listed, list) and all(isinstance(tool, dict) and "name" in tool for tool in listed):
        return listed
    raise NotAHost("a list of tools in another form", str(access.url()), "no")


def _schema(tool: dict[str, Any]) -> ToolSchema:
    """A tool as AutoGen describes one to a model."""
    parameters: Any = {"properties": {}, **(tool.get("input_schema") or {}), "type": "object"}
    return ToolSchema(name=tool["name"], description=tool.get("description", ""), parameters=parameters)
