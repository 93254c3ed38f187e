"""The host's tools over MCP, for AutoGen's `McpWorkbench`.

Inside AutoGen, :class:`~keybearer_autogen.KeybearerWorkbench` also tells the host the model's own id of a call. This is
for programs that speak MCP to everything.
"""

from __future__ import annotations

import logging
from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar

from . import wire
from .access import Access
from .cancelling import Stopped, stopped_by
from .client import AsyncClient
from .context import Context, current_context
from .errors import ConfigurationError, KeybearerError
from .extras import needs
from .token import Token

with needs("mcp", "keybearer_autogen.mcp"):
    from autogen_core import CancellationToken, Component
    from autogen_core.tools import ToolOverride, ToolResult, ToolSchema
    from autogen_ext.tools.mcp import McpWorkbench, StreamableHttpServerParams
    from mcp.types import CallToolResult, ListToolsResult, Result
    from pydantic import Field
    from typing_extensions import Self

    from .component import HostConfig
    from .workbench import CANCELLED, UNFORESEEN, result

log = logging.getLogger("keybearer_autogen")

Kind = TypeVar("Kind", bound=Result)


class _Unshown(str):
    """A header's value that isn't shown where the header is."""

    def __repr__(self) -> str:
        return "'…'"


def mcp_server_params(
    *,
    url: str | None = None,
    url_env: str = "KEYBEARER_URL",
    token_env: str = "KEYBEARER_TOKEN",
    token: Token | str | None = None,
    conversation: str | None = None,
    deadline_s: float = 30.0,
    ca_file: str | None = None,
    insecure_http: bool = False,
) -> StreamableHttpServerParams:
    """What `McpWorkbench` takes to use the host's tools.

    **These parameters hold the token**, as AutoGen's do: `dump_component()` of a workbench that was made from them
    writes it in clear. :class:`KeybearerMcpWorkbench` has the same tools and a dump without it.

    Args:
        url: The host's address. Without it, the environment variable that `url_env` names is read.
        url_env: The name of the environment variable that holds the address.
        token_env: The name of the environment variable that holds the token.
        token: The token itself, for factories.
        conversation: The conversation that all calls belong to.
        deadline_s: How long one call may take, in seconds. The host cuts it to its own limit.
        ca_file: Refused: MCP's client takes none.
        insecure_http: Allows `http://` beyond loopback.

    Raises:
        ConfigurationError: The address or the token is missing or can't be right.
    """
    _check(deadline_s)
    if ca_file is not None:
        raise ConfigurationError(
            "MCP's client takes no ca_file: name the file in the environment variable SSL_CERT_FILE instead, or use "
            "KeybearerMcpWorkbench or KeybearerWorkbench, which take one"
        )
    access = Access(url=url, url_env=url_env, token_env=token_env, token=token, insecure_http=insecure_http)
    return _params(access, Context(conversation=conversation), deadline_s)


class KeybearerMcpWorkbenchConfig(HostConfig):
    """The workbench's configuration. The token is named by its environment variable."""

    deadline_s: float = 30.0
    tool_overrides: dict[str, ToolOverride] = Field(default_factory=dict)


class _Exchange:
    """What stands where `McpWorkbench` has a session: a request for each call.

    MCP's client sends a session's requests from tasks of their own. So a call goes on that nobody waits for any more,
    and a connection that breaks ends the session, which its calls notice when their time is up. The host keeps no
    session, and needs none.
    """

    initialize_result = None

    def __init__(self, access: Access, context: Context, deadline_s: float) -> None:
        self._client, self._context, self._deadline_s = AsyncClient(access), context, deadline_s

    async def call(self, what: str, args: Mapping[str, Any] | None = None) -> Coroutine[Any, Any, Result]:
        """The work that a call of a session is."""
        if what == "call_tool" and args is not None:
            return self._asked(CallToolResult, "tools/call", {"name": args["name"], "arguments": args["kargs"]})
        if what == "list_tools":
            return self._asked(ListToolsResult, "tools/list", {})
        raise NotImplementedError("a Keybearer host has tools, and neither prompts nor resources")

    async def close(self) -> None:
        """Closes kept connections."""
        await self._client.close()

    async def _asked(self, kind: type[Kind], method: str, params: Mapping[str, Any]) -> Kind:
        ask = wire.mcp(method, params, current_context().over(self._context), self._deadline_s)
        return kind.model_validate(wire.read_mcp(await self._client.ask(ask)))


class KeybearerMcpWorkbench(McpWorkbench, Component[KeybearerMcpWorkbenchConfig]):
    """AutoGen's `McpWorkbench` on the host's `/mcp`, with calls that can be cancelled, and a dump without the token.

    Args:
        url: The host's address. Without it, the environment variable that `url_env` names is read.
        url_env: The name of the environment variable that holds the address.
        token_env: The name of the environment variable that holds the token. It's read at each call.
        token: The token itself, for factories. A workbench that was given one can't be dumped.
        conversation: The conversation that all calls belong to. :func:`keybearer_autogen.calling` says more of single
            calls (turn, intent, approval) and goes before this.
        deadline_s: How long one call may take, in seconds. The host cuts it to its own limit.
        tool_overrides: Other names and descriptions for tools, as `McpWorkbench` takes them.
        ca_file: A PEM file of authorities, if the host's certificate is by one of your own.
        insecure_http: Allows `http://` beyond loopback.
    """

    component_config_schema = KeybearerMcpWorkbenchConfig  # type: ignore[assignment]
    component_provider_override = "keybearer_autogen.mcp.KeybearerMcpWorkbench"

    def __init__(
        self,
        *,
        url: str | None = None,
        url_env: str = "KEYBEARER_URL",
        token_env: str = "KEYBEARER_TOKEN",
        token: Token | str | None = None,
        conversation: str | None = None,
        deadline_s: float = 30.0,
        tool_overrides: dict[str, ToolOverride] | None = None,
        ca_file: str | None = None,
        insecure_http: bool = False,
    ) -> None:
        _check(deadline_s)
        # What stands here leads nowhere: see `server_params`.
        super().__init__(StreamableHttpServerParams(url="http://127.0.0.1:0/"), tool_overrides=tool_overrides)
        self._access = Access(
            url=url, url_env=url_env, token_env=token_env, token=token, ca_file=ca_file, insecure_http=insecure_http
        )
        self._context, self._deadline_s = Context(conversation=conversation), deadline_s
        self._listed: list[ToolSchema] | None = None

    @property
    def server_params(self) -> StreamableHttpServerParams:
        """What a plain `McpWorkbench` takes for the same. It holds the token, and doesn't show it.

        Raises:
            ConfigurationError: The address or the token is missing or can't be right.
        """
        return _params(self._access, self._context, self._deadline_s)

    async def start(self) -> None:
        """Looks whether the address and the token are there. Connections are made when they're needed.

        Raises:
            ConfigurationError: They aren't.
        """
        self._access.url()
        self._access.token(operator=False)
        if self._actor is None:
            self._actor = _Exchange(self._access, self._context, self._deadline_s)  # type: ignore[assignment]

    async def reset(self) -> None:
        """Forgets what was listed."""
        self._listed = None

    async def list_tools(self) -> list[ToolSchema]:
        """The tools that the token may call, asked of the host each time.

        If the host doesn't answer, or refuses, after it has listed them once, this is what it listed then: the call
        that follows tells the model what is wrong, in a tool error.

        Raises:
            KeybearerError: The host has never listed them.
        """
        try:
            self._listed = await super().list_tools()
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
        """Calls a tool. What goes wrong is a result with `is_error`, in words for the model.

        Args:
            name: The tool.
            arguments: Its arguments; `None` values count as left out.
            cancellation_token: Cancelling closes the connection, and the host stops the call at once: what hasn't been
                sent upstream by then isn't sent. The result says that it was cancelled.
            call_id: The model's own id of the call, for traces.

        Raises:
            asyncio.CancelledError: The task was cancelled.
        """
        try:
            # The token stays here: AutoGen's own would link it to what can't be cancelled.
            return await stopped_by(cancellation_token, super().call_tool(name, arguments, None, call_id))
        except ConfigurationError as error:
            # It wasn't started, and can't be.
            return result(name, self._format_errors(error), is_error=True)
        except Stopped:
            return result(name, CANCELLED, is_error=True)

    def _format_errors(self, error: Exception) -> str:
        """What the model reads of an error."""
        if isinstance(error, KeybearerError):
            log.warning("a call failed: %s", error)
            return error.detail
        log.error("a call failed in a way that wasn't foreseen", exc_info=error)
        return UNFORESEEN

    def __repr__(self) -> str:
        return f"KeybearerMcpWorkbench({self._access!r})"

    def _to_config(self) -> KeybearerMcpWorkbenchConfig:  # type: ignore[override]
        return KeybearerMcpWorkbenchConfig(
            **self._access.for_config(),
            conversation=self._context.conversation,
            deadline_s=self._deadline_s,
            tool_overrides=self._tool_overrides,
        )

    @classmethod
    def _from_config(cls, config: KeybearerMcpWorkbenchConfig) -> Self:  # type: ignore[override]
        given: dict[str, Any] = config.model_dump(exclude={"tool_overrides"})
        return cls(**given, tool_overrides=config.tool_overrides)


def _check(deadline_s: float) -> None:
    if not deadline_s > 0:
        raise ValueError("deadline_s is more than 0 seconds")


def _params(access: Access, context: Context, deadline_s: float) -> StreamableHttpServerParams:
    headers = {
        "Authorization": _Unshown(f"Bearer {access.token(operator=False).reveal()}"),
        **context.headers(),
        # A little less, so that the host's own words arrive.
        **wire.deadline_header(deadline_s - min(1.0, deadline_s / 10)),
    }
    return StreamableHttpServerParams(
        url=str(access.url().join("mcp")),
        headers=headers,
        timeout=deadline_s,
        # How long a call waits for its answer; the host's deadline comes before it.
        sse_read_timeout=deadline_s,
        # The host keeps no session that could be ended.
        terminate_on_close=False,
    )
