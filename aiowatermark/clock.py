"""The SDK's time: what polls, retries, rate limits and deadlines read and wait on.

It is the event loop's, unless `aiowatermark.testing.no_waiting()` has replaced it: then waits take no time, and time
passes only while nothing is under way. For that, whatever really takes time (requests, store accesses, threads) is
marked as `active`, which costs nothing otherwise:

    now()               seconds, on the clock of the running loop; compare them with `now()` only
    call_later(…)       a timer
    pause(seconds)      sleep
    time_limit(…)       like `asyncio.timeout`, for waits that end by the passing of this time
    Watchdog            a timeout of a connection: real time, or this time while an emulator lets an answer wait
    active(), as_activity(…), in_thread(…), active_until_done(…)
                        something is under way that takes real time
    idle()              ... but waits for this time meanwhile, or for what needs it to pass

Other timeouts of sockets and stores stay real: they are `asyncio.timeout`s.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, nullcontext
from types import TracebackType
from typing import Any, ParamSpec, Protocol, Self, TypeVar
from weakref import WeakKeyDictionary

P = ParamSpec("P")
T = TypeVar("T")


class Timer(Protocol):
    """What `call_later` returns."""

    def cancel(self) -> object:
        """Do not call the function any more."""


class Clock:
    """Real time. `ahead`: seconds that have passed in virtual time, and not really, by event loop.

    `wall_ahead`: the same for the time of day.
    """

    counts = False
    """Whether it matters what is under way."""

    def __init__(self, ahead: Mapping[asyncio.AbstractEventLoop, float] | None = None, wall_ahead: float = 0.0) -> None:
        self._ahead = None if ahead is None else WeakKeyDictionary(ahead)
        self._wall_ahead = wall_ahead

    def now(self) -> float:
        """Seconds on the running loop's clock."""
        loop = asyncio.get_running_loop()
        return loop.time() if self._ahead is None else loop.time() + self._ahead.get(loop, 0.0)

    def wall_time(self) -> float:
        """Seconds since 1970."""
        return time.time() + self._wall_ahead

    def call_later(self, seconds: float, function: Callable[..., object], *arguments: Any) -> Timer:
        """Call the function on the running loop in so many seconds."""
        return asyncio.get_running_loop().call_later(seconds, function, *arguments)

    def count(self, change: int, loop: asyncio.AbstractEventLoop) -> None:
        """So many more activities are under way on this loop; real time passes anyway."""


_clock = Clock()
_NOT_COUNTED: AbstractContextManager[None] = nullcontext()


def current_clock() -> Clock:
    """Return the clock in use."""
    return _clock


def use_clock(clock: Clock) -> None:
    """Use another clock, in all threads, from now on."""
    global _clock  # noqa: PLW0603 - one time for all clients of a process
    _clock = clock


def now() -> float:
    """Seconds on the clock of the running loop."""
    return _clock.now()


def wall_time() -> float:
    """Seconds since 1970."""
    return _clock.wall_time()


def call_later(seconds: float, function: Callable[..., object], *arguments: Any) -> Timer:
    """Call the function on the running loop in so many seconds, unless the timer is cancelled before."""
    return _clock.call_later(seconds, function, *arguments)


async def pause(seconds: float) -> None:
    """Wait so many seconds."""
    if seconds <= 0:
        await asyncio.sleep(0)
        return
    waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    timer = _clock.call_later(seconds, _wake, waiter)
    try:
        await waiter
    finally:
        timer.cancel()


@asynccontextmanager
async def time_limit(seconds: float) -> AsyncIterator[None]:
    """Raise TimeoutError if the block takes longer than so many seconds."""
    scope, loop = asyncio.timeout(None), asyncio.get_running_loop()
    timer = _clock.call_later(seconds, lambda: scope.reschedule(loop.time()))
    try:
        async with scope:
            yield
    finally:
        timer.cancel()


class Watchdog:
    """Raises TimeoutError when its time is over; `extend` sets it anew. An asynchronous context manager.

    It counts real time, and virtual time as well, which passes during a request only in an emulator that stalls.
    """

    __slots__ = ("_scope", "_timer")

    def __init__(self, seconds: float) -> None:
        self._scope = asyncio.timeout(seconds)
        self._timer = self._start_timer(seconds)

    async def __aenter__(self) -> Self:
        """Begin."""
        await self._scope.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End; raises TimeoutError if the time was over."""
        self._stop_timer()
        await self._scope.__aexit__(kind, error, trace)

    def extend(self, seconds: float) -> None:
        """Let so many seconds remain from now on."""
        self._scope.reschedule(asyncio.get_running_loop().time() + seconds)
        self._stop_timer()
        self._timer = self._start_timer(seconds)

    def _start_timer(self, seconds: float) -> Timer | None:
        return _clock.call_later(seconds, self._expire) if _clock.counts else None

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _expire(self) -> None:
        if not self._scope.expired():
            self._scope.reschedule(asyncio.get_running_loop().time())


def counts_activities() -> bool:
    """Whether time is virtual, so that it matters what is under way."""
    return _clock.counts


def active() -> AbstractContextManager[None]:
    """Mark that something is under way which takes real time: a request, an access to a store, work in a thread."""
    return _counted(1) if _clock.counts else _NOT_COUNTED


def as_activity(awaitable: Awaitable[T]) -> Awaitable[T]:
    """Mark that something is under way while it is awaited."""
    return _await_counted(awaitable) if _clock.counts else awaitable


async def _await_counted(awaitable: Awaitable[T]) -> T:
    with _counted(1):
        return await awaitable


async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call the function in a thread, as `asyncio.to_thread`, as an activity."""
    with active():
        return await asyncio.to_thread(function, *args, **kwargs)


def idle() -> AbstractContextManager[None]:
    """Mark that an activity waits for this time to pass: the emulator's handler of a request that takes a while."""
    return _counted(-1) if _clock.counts else _NOT_COUNTED


def active_until_done(future: asyncio.Future[Any]) -> None:
    """Mark that something is under way, until the future is done."""
    clock = _clock
    if clock.counts:
        loop = future.get_loop()
        clock.count(1, loop)
        future.add_done_callback(lambda _: clock.count(-1, loop))


@contextmanager
def _counted(change: int) -> Iterator[None]:
    clock, loop = _clock, asyncio.get_running_loop()
    clock.count(change, loop)
    try:
        yield
    finally:
        clock.count(-change, loop)


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
