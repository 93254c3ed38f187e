"""Tokens for as long as they're needed: one for each conversation and each role, revoked at the end.

This is for the program around the agents, which holds an operator's token of one tenant. No agent should run in a
process that lets it read that token::

    mint = AsyncTokenMint()                              # reads KEYBEARER_OPERATOR_TOKEN
    billing = Grant("billing", tools=["get_invoice"], operations=["stripe:get_invoice"])

    async with mint.lease(billing, conversation="c-17") as minted:
        async with KeybearerWorkbench(**minted.connection) as workbench:
            agent = AssistantAgent("billing", model_client=model, workbench=workbench)
            await agent.run(task=…)

A token ends with its block, also when the block raises or is cancelled, and in any case at its time.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypedDict, TypeVar

from . import wire
from .access import Access
from .client import AsyncClient, Client
from .errors import ConfigurationError, KeybearerError, NotAHost, Refused
from .token import Token
from .wire import Answer, Ask

log = logging.getLogger("keybearer_autogen")

Agent = TypeVar("Agent")


@dataclass(frozen=True)
class Grant:
    """What a token may do, and for whom it is. What isn't named isn't allowed.

    Attributes:
        agent: The agent's name, as the audit trail and policies know it.
        tools: Tools it may call; `*` for all.
        operations: Operations it may use: `stripe:get_invoice`, `stripe:*`.
        budgets: Limits of its own, as the host takes them: `{"limit": 5000, "unit": "usd", "window": "day"}`.
        role: The role that policies ask for.
        task: What it is for, in words; recorded.
        environment: The environment of the tenant; the operator token's own if left out. Another one takes an operator's
            token for every environment.
        may_delegate: Whether its holder may hand on a part.
        user: The person on whose behalf it acts: connections that use a user's own secret use this one's.
        may_store_secrets: Whether it may store secrets of that person.
        expires_in_seconds: When it ends, whatever happens. From 1 s to 365 days.
    """

    agent: str
    tools: Sequence[str] = ()
    operations: Sequence[str] = ()
    budgets: Sequence[Mapping[str, Any]] = ()
    role: str | None = None
    task: str | None = None
    environment: str | None = None
    may_delegate: bool = False
    user: str | None = None
    may_store_secrets: bool = False
    expires_in_seconds: int = 3600

    def __post_init__(self) -> None:
        for name in ("tools", "operations", "budgets"):
            # A text is a list as well, of letters.
            if isinstance(getattr(self, name), (str, bytes, Mapping)):
                raise ConfigurationError(f"{name} is a list, also of one: write {name}=[…]")

    def body(self, conversation: str | None) -> dict[str, Any]:
        """The request for such a token. What says nothing is left out."""
        wanted: dict[str, Any] = {
            "agent": self.agent,
            "tools": list(self.tools),
            "operations": list(self.operations),
            "budgets": [dict(budget) for budget in self.budgets],
            "role": self.role,
            "task": self.task,
            "environment": self.environment,
            "may_delegate": self.may_delegate,
            "user": self.user,
            "may_store_secrets": self.may_store_secrets,
            "conversation": conversation,
        }
        given = {name: value for name, value in wanted.items() if value not in (None, False, [])}
        return {**given, "expires_in_seconds": self.expires_in_seconds}


class Connection(TypedDict):
    """What the components of this package take to act with a token: `KeybearerWorkbench(**minted.connection)`."""

    url: str
    token: Token
    ca_file: str | None
    insecure_http: bool
    conversation: str | None


@dataclass(frozen=True)
class Minted:
    """A token that was minted.

    Attributes:
        token: The token; its text is shown by `token.reveal()` alone.
        id: Its public id (`tok_…`), which is no credential.
        agent: The agent it is for.
        role: Its role.
        conversation: The conversation it is bound to.
        expires_at: When it ends, in milliseconds since 1970-01-01T00:00:00Z.
        connection: What components take to act with it.
    """

    token: Token
    id: str
    agent: str
    role: str | None
    conversation: str | None
    expires_at: int
    connection: Connection = field(repr=False)


class _Minting:
    """What both mints share: requests, and what answers mean."""

    def __init__(self, access: Access) -> None:
        self._access = access

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._access!r})"

    def _minted(self, answer: Answer, conversation: str | None) -> Minted:
        given = wire.read_json(answer)
        try:
            token = Token(given["token"])
            connection = Connection(
                url=str(self._access.url()),
                token=token,
                ca_file=self._access.ca_file,
                insecure_http=self._access.insecure_http,
                conversation=conversation,
            )
            return Minted(
                token, given["id"], given["agent"], given.get("role"), conversation, given["expires_at"], connection
            )
        except (KeyError, TypeError, AttributeError, KeybearerError):
            pass
        raise NotAHost("a token in another form", answer.origin, answer.request_sent)


class TokenMint(_Minting):
    """Mints and revokes agents' tokens of one tenant, and blocks while it does.

    Args:
        token_env: The name of the environment variable that holds an operator's token. Each tenant has its own.
        url: The host's address. Without it, the environment variable that `url_env` names is read.
        url_env: The name of the environment variable that holds the address.
        token: The operator's token itself, if it comes from elsewhere.
        ca_file: A PEM file of authorities, if the host's certificate is by one of your own.
        insecure_http: Allows `http://` beyond loopback.
    """

    def __init__(
        self,
        token_env: str = "KEYBEARER_OPERATOR_TOKEN",
        *,
        url: str | None = None,
        url_env: str = "KEYBEARER_URL",
        token: Token | str | None = None,
        ca_file: str | None = None,
        insecure_http: bool = False,
    ) -> None:
        super().__init__(
            Access(
                url=url, url_env=url_env, token_env=token_env, token=token, ca_file=ca_file, insecure_http=insecure_http
            )
        )
        self._client = Client(self._access, operator=True)

    def mint(self, grant: Grant, *, conversation: str | None = None) -> Minted:
        """A token with these rights, bound to this conversation.

        Raises:
            KeybearerError: There is none.
        """
        return self._minted(self._client.ask(wire.mint_token(grant.body(conversation))), conversation)

    def revoke(self, minted: Minted | str) -> None:
        """Ends a token: the very next send with it is refused. One that is gone already is no error.

        Args:
            minted: The token, or its id.

        Raises:
            KeybearerError: It may still be valid.
        """
        try:
            self._client.ask(_end_of(minted))
        except Refused as refused:
            if refused.status != 404:
                raise

    def close(self) -> None:
        """Closes kept connections."""
        self._client.close()

    @contextmanager
    def lease(self, grant: Grant, *, conversation: str | None = None) -> Iterator[Minted]:
        """A token for the block, revoked at its end.

        Raises:
            KeybearerError: There is none; or, at the end of a block that went well, it couldn't be revoked.
        """
        minted = self.mint(grant, conversation=conversation)
        try:
            yield minted
        except BaseException:
            try:
                self.revoke(minted)
            except KeybearerError as error:
                log.error(_left(minted, error))
            raise
        self.revoke(minted)

    @contextmanager
    def group(self, roles: Mapping[str, Grant], *, conversation: str | None = None) -> Iterator[dict[str, Minted]]:
        """A token for each role, all of them or none, revoked together at the end of the block.

        Args:
            roles: The grants by role. A grant that names no role gets this one.
            conversation: The conversation they are all bound to.
        """
        with ExitStack() as stack:
            yield {
                role: stack.enter_context(self.lease(grant, conversation=conversation))
                for role, grant in _with_roles(roles).items()
            }


class AsyncTokenMint(_Minting):
    """Mints and revokes agents' tokens of one tenant.

    Args:
        token_env: The name of the environment variable that holds an operator's token. Each tenant has its own.
        url: The host's address. Without it, the environment variable that `url_env` names is read.
        url_env: The name of the environment variable that holds the address.
        token: The operator's token itself, if it comes from elsewhere.
        ca_file: A PEM file of authorities, if the host's certificate is by one of your own.
        insecure_http: Allows `http://` beyond loopback.
    """

    def __init__(
        self,
        token_env: str = "KEYBEARER_OPERATOR_TOKEN",
        *,
        url: str | None = None,
        url_env: str = "KEYBEARER_URL",
        token: Token | str | None = None,
        ca_file: str | None = None,
        insecure_http: bool = False,
    ) -> None:
        super().__init__(
            Access(
                url=url, url_env=url_env, token_env=token_env, token=token, ca_file=ca_file, insecure_http=insecure_http
            )
        )
        self._client = AsyncClient(self._access, operator=True)

    async def mint(self, grant: Grant, *, conversation: str | None = None) -> Minted:
        """A token with these rights, bound to this conversation.

        Raises:
            KeybearerError: There is none.
        """
        return self._minted(await self._client.ask(wire.mint_token(grant.body(conversation))), conversation)

    async def revoke(self, minted: Minted | str) -> None:
        """Ends a token: the very next send with it is refused. One that is gone already is no error.

        Args:
            minted: The token, or its id.

        Raises:
            KeybearerError: It may still be valid.
        """
        try:
            await self._client.ask(_end_of(minted))
        except Refused as refused:
            if refused.status != 404:
                raise

    async def close(self) -> None:
        """Closes kept connections."""
        await self._client.close()

    @asynccontextmanager
    async def lease(self, grant: Grant, *, conversation: str | None = None) -> AsyncIterator[Minted]:
        """A token for the block, revoked at its end.

        Raises:
            KeybearerError: There is none; or, at the end of a block that went well, it couldn't be revoked.
        """
        minted = await self.mint(grant, conversation=conversation)
        try:
            yield minted
        except BaseException:
            try:
                await self._end(minted)
            except KeybearerError:
                pass
            raise
        await self._end(minted)

    async def _end(self, minted: Minted) -> None:
        """Revokes a token and waits for that, however often the task is cancelled meanwhile: anyio's scopes cancel it
        again with each pass of the loop. The log says what failed.

        Raises:
            KeybearerError: It may still be valid.
            asyncio.CancelledError: The task was cancelled meanwhile.
        """
        ending = asyncio.ensure_future(self.revoke(minted))
        cancelled: asyncio.CancelledError | None = None
        while not ending.done():
            try:
                await asyncio.wait([ending])
            except asyncio.CancelledError as error:
                cancelled = error
        try:
            ending.result()
        except (Exception, asyncio.CancelledError) as error:
            log.error(_left(minted, error))
            if cancelled is None:
                raise
        if cancelled is not None:
            raise cancelled

    @asynccontextmanager
    async def group(
        self, roles: Mapping[str, Grant], *, conversation: str | None = None
    ) -> AsyncIterator[dict[str, Minted]]:
        """A token for each role, all of them or none, revoked together at the end of the block.

        Args:
            roles: The grants by role. A grant that names no role gets this one.
            conversation: The conversation they are all bound to.
        """
        async with AsyncExitStack() as stack:
            yield {
                role: await stack.enter_async_context(self.lease(grant, conversation=conversation))
                for role, grant in _with_roles(roles).items()
            }


class AgentFactory(Generic[Agent]):
    """Makes an agent for one request, with a token of its own that ends with the request.

    One factory is for one tenant: its mint has that tenant's operator token, and there's nothing to fall back to::

        @asynccontextmanager
        async def build(minted):
            async with KeybearerWorkbench(**minted.connection) as workbench:
                yield AssistantAgent("billing", model_client=model, workbench=workbench)

        agents = AgentFactory(build, billing, AsyncTokenMint("KEYBEARER_OPERATOR_ACME"))

        async with agents.agent() as agent:
            await agent.run(task=…)

    Args:
        build: Makes the agent from its token, at once, awaited, or as an async context manager that is entered for the
            request and left before the token ends.
        grant: What the token may do.
        mint: Where tokens come from.
    """

    def __init__(
        self,
        build: Callable[[Minted], Agent | Awaitable[Agent] | AbstractAsyncContextManager[Agent]],
        grant: Grant,
        mint: AsyncTokenMint,
    ) -> None:
        self._build, self._grant, self._mint = build, grant, mint

    @asynccontextmanager
    async def agent(self, *, conversation: str | None = None) -> AsyncIterator[Agent]:
        """An agent for the block.

        Args:
            conversation: The conversation it is for; a new one if left out.
        """
        conversation = conversation or f"c-{uuid.uuid4().hex}"
        async with self._mint.lease(self._grant, conversation=conversation) as minted:
            built = self._build(minted)
            if isinstance(built, AbstractAsyncContextManager):
                async with built as agent:
                    yield agent
            else:
                yield await built if inspect.isawaitable(built) else built


def _with_roles(roles: Mapping[str, Grant]) -> dict[str, Grant]:
    return {role: grant if grant.role else replace(grant, role=role) for role, grant in roles.items()}


def _end_of(minted: Minted | str) -> Ask:
    return wire.revoke_token(minted if isinstance(minted, str) else minted.id)


def _left(minted: Minted, error: BaseException) -> str:
    why = str(error) or "cancelled"
    return f"the token {minted.id} couldn't be revoked, and ends by itself at {minted.expires_at} ms: {why}"
