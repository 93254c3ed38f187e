"""Work that AutoGen's cancellation token stops at once."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Cancellation(Protocol):
    """AutoGen's `CancellationToken`, as far as it's needed."""

    def is_cancelled(self) -> bool: ...

    def add_callback(self, callback: Any) -> None: ...


def only_token_cancelled(token: Cancellation | None) -> bool:
    """Whether the token was cancelled, and this very task wasn't, of which Python 3.10 doesn't tell.

    Only the token asks for a result; a task that is cancelled wants none, whatever the token says.
    """
    task = asyncio.current_task()
    task_too = task is not None and sys.version_info >= (3, 11) and task.cancelling() > 0
    return token is not None and token.is_cancelled() and not task_too


async def stopped_by(token: Cancellation | None, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, which ends when `token` is cancelled, from whichever thread.

    Raises:
        asyncio.CancelledError: It was cancelled, by the token or with the task that waits for it. `work` has ended
            by then.
    """
    if token is not None and token.is_cancelled():
        work.close()
        raise asyncio.CancelledError
    task = asyncio.ensure_future(work)
    if token is not None:
        loop = asyncio.get_running_loop()

        def stop() -> None:
            # The token outlives the call, and so does its memory of this function.
            if not task.done() and not loop.is_closed():
                loop.call_soon_threadsafe(task.cancel)

        token.add_callback(stop)
    try:
        return await task
    finally:
        if not task.done():
            task.cancel()
