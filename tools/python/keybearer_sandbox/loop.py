"""Waiting, where there are no threads and no sockets: an event loop for asyncio with callbacks, tasks and timers, and
conditions that don't wait for what can't come."""

import asyncio
import queue
import threading
import time
from asyncio import base_events, unix_events


class _Timers:
    """Stands where a loop has its selector. With nothing to select from, it only waits for the next timer."""

    def select(self, timeout):
        if timeout is None:
            raise RuntimeError(
                "this event loop would wait for ever: nothing is scheduled, and the sandbox has no threads, sockets "
                "or signals that could wake it"
            )
        if timeout > 0:
            time.sleep(timeout)
        return ()


class SandboxEventLoop(base_events.BaseEventLoop):
    """Runs coroutines, callbacks and timers. Whatever needs a socket, a pipe, a process or a signal isn't there."""

    def __init__(self):
        super().__init__()
        self._selector = _Timers()

    def _process_events(self, events):
        pass

    def _write_to_self(self):
        pass

    def run_in_executor(self, executor, func, *args):
        """Runs the function at once: there are no threads."""
        if executor is not None:
            return super().run_in_executor(executor, func, *args)
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future

    async def shutdown_default_executor(self, timeout=None):
        pass


_wait = threading.Condition.wait


def _wait_in_time(self, timeout=None):
    """`Condition.wait`, which events, queues, semaphores and futures wait by."""
    if timeout is None:
        raise RuntimeError("this would wait for ever: the sandbox has no threads, and so no other one that could wake it")
    return _wait(self, timeout)


def install():
    """Makes it the loop of `asyncio.run` and `asyncio.new_event_loop`, and has all that waits go by a condition."""
    threading.Condition.wait = _wait_in_time
    queue.SimpleQueue = queue._PySimpleQueue
    unix_events._DefaultEventLoopPolicy._loop_factory = SandboxEventLoop
    for module in (asyncio, unix_events):
        module.SelectorEventLoop = module.EventLoop = SandboxEventLoop
