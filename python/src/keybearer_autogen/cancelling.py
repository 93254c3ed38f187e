"""Work that AutoGen's cancellation token stops at once, and a token that ends with its block."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from .extras import needs

if TYPE_CHECKING:
    from autogen_core import CancellationToken

log = logging.getLogger("keybearer_autogen")

T = TypeVar("T")


class Cancellation(Protocol):
    """AutoGen's `CancellationToken`, as far as it's needed."""

    def is_cancelled(self) -> bool: ...

    def add_callback(self, callback: Any) -> None: ...


class Stopped(Exception):
    """The token was cancelled, and not the task that waits, which wants a result."""


@contextmanager
def cancellation(seconds: float | None = None) -> Iterator[CancellationToken]:
    """A cancellation token for the block. It's cancelled when the time is up, and when the block ends: well, by an error
    or with its task. What still runs with the token then stops::

        with cancellation(seconds=60) as token:
            result = await agent.run(task=…, cancellation_token=token)

    AutoGen's agents make their calls of tools in tasks of their own, which go on when the task of `agent.run` is
    cancelled; a team whose task is cancelled first makes all the turns that are left. The token is what stops both.

    Args:
        seconds: The time, if it's limited. What runs then ends as it does when anybody cancels its token.

    Raises:
        asyncio.TimeoutError: The time was up, and what ran in the block ended in `asyncio.CancelledError` for it.
    """
    with needs("autogen", "cancellation"):
        from autogen_core import CancellationToken
    token, before = CancellationToken(), _times_cancelled(asyncio.current_task() if seconds is not None else None)
    late = False

    def is_late() -> None:
        nonlocal late
        late = True
        _cancel(token)

    timer = None if seconds is None else asyncio.get_running_loop().call_later(seconds, is_late)
    try:
        yield token
    except asyncio.CancelledError:
        if late and _times_cancelled(asyncio.current_task()) == before:
            raise asyncio.TimeoutError(f"the time was up after {seconds:g} s") from None
        raise
    finally:
        if timer is not None:
            timer.cancel()
        _cancel(token)


def _cancel(token: CancellationToken) -> None:
    try:
        token.cancel()
    except Exception as error:
        # AutoGen's own McpWorkbench gives its token what can't be cancelled. What ended the block goes on from here.
        log.warning("not all that ran with a cancellation token could be stopped: %r", error)


def _times_cancelled(task: asyncio.Task[Any] | None) -> int:
    """How often a task was cancelled, of which Python 3.10 doesn't tell."""
    if sys.version_info < (3, 11) or task is None:
        return 0
    return task.cancelling()


async def stopped_by(token: Cancellation | None, work: Coroutine[Any, Any, T], *, linked: bool = False) -> T:
    """The result of `work`, which ends when `token` is cancelled, from whichever thread.

    Args:
        token: The token, if there's one.
        work: What to wait for.
        linked: Whether the token may cancel the waiting task as well, as AutoGen has it do with its tools: that alone
            doesn't count as a cancelled task.

    Raises:
        Stopped: The token was cancelled. `work` has ended by then.
        asyncio.CancelledError: The task that waits was cancelled, whatever the token says, of which Python 3.10 doesn't
            tell. `work` has ended by then.
    """
    if token is not None and token.is_cancelled():
        work.close()
        raise Stopped
    running = asyncio.ensure_future(work)
    call = _Call(running)
    if token is not None:
        token.add_callback(call.stop)
    try:
        return await running
    except asyncio.CancelledError:
        # Asking the token waits until all that it stops has been told.
        if token is not None and token.is_cancelled() and call.only_stopped(linked):
            raise Stopped from None
        raise
    finally:
        call.over()


class _Call:
    """What a token's callback has of one call. A token may outlive thousands of calls and remembers every callback, so
    this holds nothing once the call is over.
    """

    def __init__(self, running: asyncio.Future[Any]) -> None:
        self._running: asyncio.Future[Any] | None = running
        self._waiting = asyncio.current_task()
        self._before = self._by_token = _times_cancelled(self._waiting)

    def stop(self) -> None:
        """Stops it, from whichever thread. If the token cancels the waiting task too, it has done so by now."""
        self._by_token = _times_cancelled(self._waiting)
        running = self._running
        if running is not None:
            # A loop that is gone has no calls any more.
            with suppress(RuntimeError):
                running.get_loop().call_soon_threadsafe(running.cancel)

    def only_stopped(self, linked: bool) -> bool:
        """Whether nothing but the token cancelled the waiting task."""
        return _times_cancelled(self._waiting) == self._by_token <= self._before + linked

    def over(self) -> None:
        """It has ended, or is to end with who waited for it."""
        if self._running is not None and not self._running.done():
            self._running.cancel()
        self._running = self._waiting = None
