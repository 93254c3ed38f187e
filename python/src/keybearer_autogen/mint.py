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
import logging
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Any, TypeVar

from . import wire
from .access import Access
from .client import AsyncClient, Client
from .errors import KeybearerError, NotAHost, Refused
from .grant import Connection, Grant, Minted
from .token import Token
from .wire import Answer, Ask

log = logging.getLogger("keybearer_autogen")

T = TypeVar("T")


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
            KeybearerError: There is none, or none that is known here: the log says where the host may have minted one.
        """
        with _told_if_unknown(grant):
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
            KeybearerError: There is none, or none that is known here: the log says where the host may have minted one.
        """
        with _told_if_unknown(grant):
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
        """A token for the block, revoked at its end. One that is minted while the task is cancelled is revoked as well.

        Raises:
            KeybearerError: There is none; or, at the end of a block that went well, it couldn't be revoked.
        """
        minting, cancelled = await _to_its_end(self.mint(grant, conversation=conversation))
        if cancelled is not None:
            # A failure is no matter any more, and has been logged if it left something behind.
            if not minting.cancelled() and minting.exception() is None:
                await self._end(minting.result(), cancelled)
            raise cancelled
        minted = minting.result()
        try:
            yield minted
        except BaseException:
            try:
                await self._end(minted)
            except KeybearerError:
                pass
            raise
        await self._end(minted)

    async def _end(self, minted: Minted, cancelled: asyncio.CancelledError | None = None) -> None:
        """Revokes a token and waits for that. The log says what failed.

        Args:
            minted: The token.
            cancelled: That the task was cancelled before.

        Raises:
            KeybearerError: It may still be valid.
            asyncio.CancelledError: The task was cancelled, before or meanwhile.
        """
        ending, meanwhile = await _to_its_end(self.revoke(minted))
        cancelled = cancelled or meanwhile
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


def _with_roles(roles: Mapping[str, Grant]) -> dict[str, Grant]:
    return {role: grant if grant.role else replace(grant, role=role) for role, grant in roles.items()}


async def _to_its_end(work: Coroutine[Any, Any, T]) -> tuple[asyncio.Task[T], asyncio.CancelledError | None]:
    """Waits for work, however often the task is cancelled meanwhile: anyio's scopes cancel it again with each pass of the
    loop. Whether it was is the second of the pair.
    """
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    return task, cancelled


@contextmanager
def _told_if_unknown(grant: Grant) -> Iterator[None]:
    """Has the log say it if nobody knows here whether the host has minted a token."""
    try:
        yield
    except (KeybearerError, asyncio.CancelledError, KeyboardInterrupt) as error:
        if not isinstance(error, KeybearerError) or error.request_sent != "no":
            log.warning(
                "it isn't known whether a token for the agent %s was minted (`keybearer token list` shows it); one that "
                "was ends by itself after %s s: %s",
                grant.agent,
                grant.expires_in_seconds,
                str(error) or type(error).__name__,
            )
        raise


def _end_of(minted: Minted | str) -> Ask:
    return wire.revoke_token(minted if isinstance(minted, str) else minted.id)


def _left(minted: Minted, error: BaseException) -> str:
    why = str(error) or "cancelled"
    return f"the token {minted.id} couldn't be revoked, and ends by itself at {minted.expires_at} ms: {why}"
