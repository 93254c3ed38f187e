"""The host's tools over MCP, for AutoGen's `McpWorkbench`.

Inside AutoGen, :class:`~keybearer_autogen.KeybearerWorkbench` says more to the host (the model's id of a call, the turn)
and less to nobody (its dump names a variable). This is for programs that speak MCP to everything.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .access import Access
from .errors import ConfigurationError
from .extras import needs
from .token import Token
from .wire import Context, deadline_header

with needs("mcp", "keybearer_autogen.mcp"):
    from autogen_core import CancellationToken, Component
    from autogen_core.tools import ToolOverride, ToolResult, ToolSchema
    from autogen_ext.tools.mcp import McpWorkbench, StreamableHttpServerParams
    from pydantic import Field
    from typing_extensions import Self

    from .component import HostConfig


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
    timeout_s: float = 30.0,
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
        timeout_s: How long one call may take, in seconds. The host cuts it to its own limit.
        ca_file: Refused: MCP's client takes none.
        insecure_http: Allows `http://` beyond loopback.

    Raises:
        ConfigurationError: The address or the token is missing or can't be right.
    """
    _check(timeout_s, ca_file)
    access = Access(url=url, url_env=url_env, token_env=token_env, token=token, insecure_http=insecure_http)
    return _params(access, Context(conversation=conversation), timeout_s)


class KeybearerMcpWorkbenchConfig(HostConfig):
    """The workbench's configuration. The token is named by its environment variable."""

    timeout_s: float = 30.0
    tool_overrides: dict[str, ToolOverride] = Field(default_factory=dict)


class KeybearerMcpWorkbench(McpWorkbench, Component[KeybearerMcpWorkbenchConfig]):
    """AutoGen's own `McpWorkbench` on the host's `/mcp`, except that the token is read when it starts, and dumped never.

    Args:
        url: The host's address. Without it, the environment variable that `url_env` names is read.
        url_env: The name of the environment variable that holds the address.
        token_env: The name of the environment variable that holds the token. It's read when the workbench starts.
        token: The token itself, for factories. A workbench that was given one can't be dumped.
        conversation: The conversation that all calls belong to.
        timeout_s: How long one call may take, in seconds. The host cuts it to its own limit.
        tool_overrides: Other names and descriptions for tools, as `McpWorkbench` takes them.
        ca_file: Refused: MCP's client takes none.
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
        timeout_s: float = 30.0,
        tool_overrides: dict[str, ToolOverride] | None = None,
        ca_file: str | None = None,
        insecure_http: bool = False,
    ) -> None:
        _check(timeout_s, ca_file)
        # What stands here until it's started leads nowhere.
        super().__init__(StreamableHttpServerParams(url="http://127.0.0.1:0/"), tool_overrides=tool_overrides)
        self._access = Access(url=url, url_env=url_env, token_env=token_env, token=token, insecure_http=insecure_http)
        self._context, self._timeout_s = Context(conversation=conversation), timeout_s

    async def start(self) -> None:
        """Connects.

        Raises:
            ConfigurationError: The address or the token is missing or can't be right.
        """
        self._server_params = _params(self._access, self._context, self._timeout_s)
        await super().start()

    async def list_tools(self) -> list[ToolSchema]:
        """The tools that the token may call."""
        await self._revive()
        return await super().list_tools()

    async def call_tool(
        self,
        name: str,
        arguments: Mapping[str, Any] | None = None,
        cancellation_token: CancellationToken | None = None,
        call_id: str | None = None,
    ) -> ToolResult:
        """Calls a tool, as `McpWorkbench` does. What goes wrong is a result with `is_error`."""
        await self._revive()
        return await super().call_tool(name, arguments, cancellation_token, call_id)

    async def _revive(self) -> None:
        """Connects again if a call broke the session, as one to a host that is down does: AutoGen's stays broken."""
        if self._actor is not None and not self._actor._active:
            await self.stop()
            await self.start()

    def __repr__(self) -> str:
        return f"KeybearerMcpWorkbench({self._access!r})"

    def _to_config(self) -> KeybearerMcpWorkbenchConfig:  # type: ignore[override]
        return KeybearerMcpWorkbenchConfig(
            **self._access.for_config(),
            conversation=self._context.conversation,
            timeout_s=self._timeout_s,
            tool_overrides=self._tool_overrides,
        )

    @classmethod
    def _from_config(cls, config: KeybearerMcpWorkbenchConfig) -> Self:  # type: ignore[override]
        given: dict[str, Any] = config.model_dump(exclude={"tool_overrides"})
        return cls(**given, tool_overrides=config.tool_overrides)


def _check(timeout_s: float, ca_file: str | None) -> None:
    if not timeout_s > 0:
        raise ValueError("timeout_s is more than 0 seconds")
    if ca_file is not None:
        raise ConfigurationError(
            "MCP's client takes no ca_file: name the file in the environment variable SSL_CERT_FILE instead, or use "
            "KeybearerWorkbench, which takes one"
        )


def _params(access: Access, context: Context, timeout_s: float) -> StreamableHttpServerParams:
    headers = {
        "Authorization": _Unshown(f"Bearer {access.token(operator=False).reveal()}"),
        **context.headers(),
        # A little less, so that the host's own words arrive.
        **deadline_header(timeout_s - min(1.0, timeout_s / 10)),
    }
    return StreamableHttpServerParams(
        url=str(access.url().join("mcp")),
        headers=headers,
        timeout=timeout_s,
        # How long a call waits for its answer; the host's deadline comes before it.
        sse_read_timeout=timeout_s,
        # The host keeps no session that could be ended.
        terminate_on_close=False,
    )
