"""An agent for each request, with a token of its own."""

from __future__ import annotations

import inspect
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Generic, TypeVar, overload

from .grant import Grant, Minted
from .mint import AsyncTokenMint

Agent = TypeVar("Agent")


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

    @overload
    def __init__(
        self, build: Callable[[Minted], AbstractAsyncContextManager[Agent]], grant: Grant, mint: AsyncTokenMint
    ) -> None: ...

    @overload
    def __init__(self, build: Callable[[Minted], Awaitable[Agent]], grant: Grant, mint: AsyncTokenMint) -> None: ...

    @overload
    def __init__(self, build: Callable[[Minted], Agent], grant: Grant, mint: AsyncTokenMint) -> None: ...

    def __init__(self, build: Callable[[Minted], Any], grant: Grant, mint: AsyncTokenMint) -> None:
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
