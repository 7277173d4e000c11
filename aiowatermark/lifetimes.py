"""Lifetime: opens and closes one object at a time, on one event loop, whatever its callers do meanwhile.

    state      open()                                         close()
    closed     opening, then open; closed if that fails       does nothing
    opening    InvalidInput                                   does nothing
    open       InvalidInput; if its loop has ended without    closing, then closed
               closing it, what is left is discarded first
    closing    InvalidInput                                   waits for the closing that is under way

Closing runs in a task of its own. A caller that is cancelled, once or again and again (cancel scopes of anyio, nested
timeouts, a second Ctrl-C), waits for its end all the same, and is cancelled then: how long that takes is bounded by
what is closed, not by the caller.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from contextvars import Context
from typing import Any, TypeVar

from attrs import define, field

from .errors import InvalidInput

T = TypeVar("T")
log = logging.getLogger("aiowatermark")

_DISCARD_SECONDS = 5.0


@define(eq=False)
class Lifetime:
    """The state of one object, called `name` in messages."""

    name: str
    _state: str = field(default="closed", init=False)
    _loop: asyncio.AbstractEventLoop | None = field(default=None, init=False)
    _stack: AsyncExitStack = field(factory=AsyncExitStack, init=False)
    _closing: asyncio.Task[None] | None = field(default=None, init=False)

    async def open(self, enter: Callable[[AsyncExitStack], Awaitable[T]]) -> T:
        """Open the object: `enter` pushes what closes it onto the stack, which is closed if `enter` fails.

        Raises InvalidInput if the object is not closed, and what `enter` raises.
        """
        loop = running_loop(self.name)
        self._check_can_open(loop)
        left, self._stack = self._stack, AsyncExitStack()
        discards = self._state != "closed"
        self._state, self._loop = "opening", loop
        try:
            if discards:
                await _discard(left, self.name)
            entered = await enter(self._stack)
        except BaseException:
            await finish(self._end())
            raise
        self._state = "open"
        return entered

    async def close(self) -> None:
        """Close what `open` opened; raises CancelledError afterwards if the caller was cancelled."""
        if self._state == "open":
            self.check_loop()
            self._state = "closing"
            self._closing = start_task(self._end())
        if self._closing is not None:
            await finish(self._closing)

    def check_loop(self) -> None:
        """Raise InvalidInput on another event loop than the one that opened the object."""
        if running_loop(self.name) is not self._loop:
            raise InvalidInput(f"{self.name} was opened on another event loop: open one for each loop")

    def _check_can_open(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._state == "closed" or (self._loop is not None and self._loop.is_closed()):
            return
        if self._loop is not loop:
            self.check_loop()
        advice = "open it when it is closed" if self._state == "closing" else "use one `async with` for each"
        already = "already open" if self._state == "open" else f"just {self._state}"
        raise InvalidInput(f"{self.name} is {already}: {advice}")

    async def _end(self) -> None:
        try:
            await self._stack.aclose()
        finally:
            self._state, self._loop, self._closing = "closed", None, None


@define(eq=False)
class SharedLifetime:
    """The state of one object that several users open together: the first opens it, the last closes it.

    All of them use one event loop. If that ends before they close the object, the next user discards what is left.
    """

    name: str
    _users: int = field(default=0, init=False)
    _loop: asyncio.AbstractEventLoop | None = field(default=None, init=False)
    _changing: asyncio.Lock = field(factory=asyncio.Lock, init=False)

    async def enter(self, open_: Callable[[], Awaitable[object]], discard: Callable[[], object]) -> None:
        """Add a user; raises InvalidInput on another event loop, and what `open_` raises."""
        loop = running_loop(self.name)
        if self._loop is not loop:
            self._change_loop(loop, discard)
        async with self._changing:
            if not self._users:
                await open_()
            self._users += 1

    @property
    def in_use(self) -> bool:
        """Whether there are users."""
        return self._users > 0

    def _change_loop(self, loop: asyncio.AbstractEventLoop, discard: Callable[[], object]) -> None:
        if self._loop is not None and (self._users or self._changing.locked()):
            if not self._loop.is_closed():
                raise InvalidInput(f"{self.name} is open on another event loop: use one for each loop")
            discard()
        self._users, self._changing, self._loop = 0, asyncio.Lock(), loop

    async def leave(self, close: Callable[[], Awaitable[object]]) -> None:
        """Remove a user; the last one closes the object, however often it is cancelled."""
        if running_loop(self.name) is self._loop and self._users:
            await finish(self._leave(close))

    async def _leave(self, close: Callable[[], Awaitable[object]]) -> None:
        async with self._changing:
            self._users -= 1
            if not self._users:
                await close()


async def finish(ending: Coroutine[Any, Any, T] | asyncio.Future[T]) -> T:
    """Wait for its end, of a coroutine in a task of its own, however often the caller is cancelled; returns its value.

    Raises what it raises; or, when it has ended, the CancelledError of the caller.
    """
    task = asyncio.ensure_future(ending)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        if not task.cancelled() and (problem := task.exception()) is not None:
            log.error("closing failed: %s", type(problem).__name__)
        raise cancelled
    return task.result()


async def run_all(*steps: Callable[[], Awaitable[object]]) -> None:
    """Run every step, in this order, also if one raises or is cancelled; the first exception is raised at the end."""
    problem: BaseException | None = None
    for step in steps:
        try:
            await step()
        except BaseException as error:  # noqa: BLE001 - raised below
            problem = problem or error
    if problem is not None:
        raise problem


async def _discard(stack: AsyncExitStack, name: str) -> None:
    """Close what an event loop left open that does not run any more; what needs that loop fails, and is ignored."""
    log.warning("%s was not closed before its event loop ended: what was left is discarded", name)
    try:
        async with asyncio.timeout(_DISCARD_SECONDS):
            await stack.aclose()
    except Exception as error:  # noqa: BLE001 - objects of the ended loop raise RuntimeError, among others
        log.debug("%s: discarding met %r", name, error)


def running_loop(name: str) -> asyncio.AbstractEventLoop:
    """Return the running event loop of asyncio; raises InvalidInput where there is none, for example under trio."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise InvalidInput(
            f"{name} needs a running asyncio event loop: use `asyncio.run()`, or anyio with its asyncio backend; "
            "under trio, run it in a thread of its own with `asyncio.run()`"
        ) from None


def start_task(coroutine: Coroutine[Any, Any, T], *, context: Context | None = None) -> asyncio.Task[T]:
    """Start a task whose first step runs after this call, whatever the task factory of the loop.

    With `asyncio.eager_task_factory`, `create_task` runs a task until it waits for something: it may end, and clear
    what its caller keeps of it, before the caller has it.
    """
    return asyncio.Task(coroutine, loop=asyncio.get_running_loop(), context=context)
