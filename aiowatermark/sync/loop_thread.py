"""A private event loop in a daemon thread, on which other threads run coroutines and wait for them.

    state      start()          run()                                        stop()
    new        running          InvalidInput                                 does nothing
    running    InvalidInput     runs the coroutine, waits for its end        ended, once its tasks are cancelled
    ended      InvalidInput     InvalidInput                                 does nothing

Any number of threads call `run` at once. A caller that is interrupted (Ctrl-C) cancels its coroutine and waits until
that has ended, because a coroutine that is cancelled may still wait for the answer to a paid request; a second
interruption ends this wait, and the coroutine goes on. A call whose loop ends without it gets InvalidInput, so that
no call waits for ever; one that arrives while the loop ends is not begun.

A child of a fork has no copy of the thread; every call there is InvalidInput. A call on the loop's own thread, in a
progress callback for example, would wait for itself, and is InvalidInput, too.

The thread is a daemon: an interpreter that exits does not wait for it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import Any, Generic, TypeVar

from attrs import define, field

from ..errors import InvalidInput

T = TypeVar("T")
log = logging.getLogger("aiowatermark")

WAIT_SECONDS = 0.5
"""Length of one wait of many: a signal that arrives just before a wait begins does not end it, and is seen after it."""


@define(eq=False)
class LoopCall(Generic[T]):
    """One coroutine on the loop; `outcome` is done when it has ended, or will never begin."""

    function: Callable[[], Coroutine[Any, Any, T]]
    outcome: Future[T] = field(factory=Future, init=False)
    _task: asyncio.Task[T] | None = field(default=None, init=False)

    def begin(self) -> None:
        """Start the coroutine, unless its caller was interrupted before; on the loop."""
        if not self.outcome.done():
            self._task = asyncio.create_task(self.function())
            self._task.add_done_callback(self._end)

    def cancel(self) -> None:
        """Cancel the coroutine; on the loop."""
        if self._task is not None:
            self._task.cancel()
        else:
            self.abandon("the call was interrupted")

    def wait(self) -> None:
        """Wait for the end; in the caller's thread."""
        while not self.outcome.done():
            with suppress(TimeoutError):
                self.outcome.exception(WAIT_SECONDS)

    def abandon(self, reason: str) -> None:
        """End a call that has not ended."""
        with suppress(InvalidStateError):
            self.outcome.set_exception(InvalidInput(reason))

    def _end(self, task: asyncio.Task[T]) -> None:
        if task.cancelled():
            self.abandon("the call was cancelled: its client was closed meanwhile")
        elif (error := task.exception()) is not None:
            self.outcome.set_exception(error)
        else:
            self.outcome.set_result(task.result())


@define(eq=False)
class LoopThread:
    """An event loop in a thread of its own; `owner` is what messages call the object it serves. Started once."""

    owner: str
    _loop: asyncio.AbstractEventLoop | None = field(default=None, init=False)
    _thread: threading.Thread | None = field(default=None, init=False)
    _stopping: asyncio.Event = field(factory=asyncio.Event, init=False)
    _process: int = field(default=0, init=False)
    # reentrant: the garbage collector may close a stream, which posts, while this thread posts
    _lock: threading.RLock = field(factory=threading.RLock, init=False)
    _calls: set[LoopCall[Any]] = field(factory=set, init=False)

    def start(self) -> None:
        """Start the thread and its loop."""
        if self._thread is not None:
            raise InvalidInput(f"{self.owner} is already open")
        self._process = os.getpid()
        ready: Future[asyncio.AbstractEventLoop] = Future()
        self._thread = threading.Thread(target=self._serve, args=(ready,), name=f"{self.owner}, loop", daemon=True)
        self._thread.start()
        self._loop = ready.result()

    @property
    def running(self) -> bool:
        """Whether this process can run coroutines on the loop."""
        return self._loop is not None and self._process == os.getpid()

    def run(self, function: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run a coroutine function on the loop; returns what it returns, and raises what it raises.

        Raises InvalidInput if the loop does not run or ends meanwhile, in a forked child, and on the loop's own thread.
        """
        call = LoopCall(function)
        try:
            self.begin(call)
            call.wait()
            return call.outcome.result()
        except BaseException:
            self.cancel(call)
            raise

    def begin(self, call: LoopCall[Any]) -> None:
        """Start a call on the loop; raises what `run` raises. Interrupted here or later, it must be cancelled."""
        self.check_caller()
        self._calls.add(call)  # before it is posted: what the loop leaves undone when it ends is found here
        call.outcome.add_done_callback(lambda _: self._calls.discard(call))
        self._post(lambda: self._begin(call))

    def cancel(self, call: LoopCall[Any]) -> None:
        """Cancel a call that has begun and not ended, and wait for its end."""
        if call not in self._calls:
            return
        try:
            self._post(call.cancel)
        except InvalidInput as error:
            call.abandon(error.message)
        call.wait()

    def finish(self, function: Callable[[], Coroutine[Any, Any, object]]) -> None:
        """Run what ends something, where that is possible: not after the loop, nor in a forked child.

        On the loop's own thread, where the garbage collector may call it, it is started and not awaited.
        """
        if not self.running:
            return
        with suppress(InvalidInput, RuntimeError):  # the loop is ending, and ends it, too
            if threading.current_thread() is self._thread:
                self._post(lambda: self._begin(LoopCall(function)))
            else:
                self.run(function)

    def stop(self) -> None:
        """Cancel what runs on the loop, and end it and its thread."""
        if not self.running:
            return
        with suppress(InvalidInput):
            self._post(self._stopping.set)
        while self._thread is not None and self._thread.is_alive():
            self._thread.join(WAIT_SECONDS)

    def _begin(self, call: LoopCall[Any]) -> None:
        """Start a call, unless the loop is ending and would destroy it; on the loop."""
        if self._stopping.is_set():
            call.abandon(f"{self.owner} was closed meanwhile")
        else:
            call.begin()

    def _post(self, function: Callable[[], object]) -> None:
        """Call a function on the loop soon; raises InvalidInput if the loop has ended."""
        with self._lock:
            if self._loop is None or self._loop.is_closed():
                raise InvalidInput(f"{self.owner} is not open: use it inside its `with` block")
            self._loop.call_soon_threadsafe(function)

    def check_caller(self) -> None:
        """Raise InvalidInput where waiting for the loop is impossible: in a forked child, and on its own thread."""
        if self._thread is not None and self._process != os.getpid():
            raise InvalidInput(
                f"{self.owner} was opened in another process, and a fork does not copy its thread: "
                "open one in each process, after the fork"
            )
        if threading.current_thread() is self._thread:
            raise InvalidInput(
                f"{self.owner} was called in its own thread, for example by a progress callback, where it would wait "
                "for itself: call it in another thread"
            )

    def _serve(self, ready: Future[asyncio.AbstractEventLoop]) -> None:
        """Run the loop; the function of the thread."""
        try:
            with asyncio.Runner() as runner:
                try:
                    runner.run(self._wait_until_stopped(ready))
                finally:
                    self._stopping.set()
        except RuntimeError:
            log.exception("%s: its event loop was stopped", self.owner)
        finally:
            with self._lock:
                self._loop = None
                calls = list(self._calls)
            for call in calls:
                call.abandon(f"{self.owner} was closed meanwhile")

    async def _wait_until_stopped(self, ready: Future[asyncio.AbstractEventLoop]) -> None:
        ready.set_result(asyncio.get_running_loop())
        await self._stopping.wait()
