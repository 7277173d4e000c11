"""no_waiting: waits of the SDK and of the emulator take no time, in the order in which they would end.

Time stands still while anything is under way: a request, an access to a store, a callback on its way, work of the
emulator in a thread. When nothing is, it jumps to the earliest timer of all event loops, and so on. A job that takes a
minute is polled as often as in a minute, a deadline of ten minutes passes after ten minutes of polls, and who is done
first is what it would be, without the waiting.

    something is under way       time stands still
    nothing is, a timer is set   `_settle`: each running loop takes some steps; if one of them starts something or sets
                                 a timer, begin anew. Then the earliest timer is called, one at a time

The steps are what a loop needs from the end of one activity to the start of the next: a few callbacks and futures.
A loop that does not run is not waited for; one that is blocked is: its time stands still as well.

Several loops in several threads take part (the emulator has its own), so all state is behind one lock, and timers are
called on their loops. When the context ends, timers that are left become real ones for what is left of them, and the
clock keeps the time that has passed: for a job that is still running, nothing jumps.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from heapq import heappop, heappush
from threading import RLock
from typing import Any

from attrs import define, field

from ..clock import Clock, Timer, current_clock, use_clock

_STEPS = 12


@contextmanager
def no_waiting() -> Iterator[None]:
    """Let waits take no time while the context is open, in this process: for tests of code that uses the SDK.

    These waits: intervals of polling, pauses before retries (also those that a server asks for), the rate limit,
    deadlines of jobs, the `timeout` of `JobHandle.result`, pauses before a result handler is called again; and in an
    emulator of the same process the processing time, the delays of callbacks, and the wait of a synchronous
    submission. All happen in the order they would have in real time, and as often; what is paid, and how often, does
    not change. Your own sleeps and timeouts, those of sockets, and stalled or slow answers stay real.

    Open it before the client. Jobs still waiting when it ends go on in real time. It may be nested.
    """
    before = current_clock()
    if isinstance(before, VirtualClock):
        yield
        return
    clock = VirtualClock(before)
    use_clock(clock)
    try:
        yield
    finally:
        use_clock(clock.end())


@define(eq=False)
class _VirtualTimer:
    loop: asyncio.AbstractEventLoop
    due: float  # seconds that have passed on the clock by then
    function: Callable[..., object]
    arguments: tuple[Any, ...]
    cancelled: bool = False
    real: asyncio.TimerHandle | None = field(default=None, init=False)

    def cancel(self) -> None:
        self.cancelled = True
        if self.real is not None:
            self.real.cancel()

    def call(self) -> None:
        if not self.cancelled:
            self.function(*self.arguments)

    def become_real(self, seconds: float) -> None:
        if not self.cancelled:
            self.real = self.loop.call_later(max(0.0, seconds), self.call)


class VirtualClock(Clock):
    """A clock that jumps from timer to timer; see the head of this module."""

    counts = True

    def __init__(self, before: Clock) -> None:
        super().__init__()
        self._before, self._wall_start = before, before.wall_time()
        self._elapsed = 0.0
        self._lock = RLock()
        self._timers: list[tuple[float, int, _VirtualTimer]] = []
        self._active: Counter[asyncio.AbstractEventLoop] = Counter()
        self._changes = 0
        # each loop with its time minus the seconds that have passed here
        self._loops: dict[asyncio.AbstractEventLoop, float] = {}
        self._settling: _Settling | None = None
        self._ended = False

    def now(self) -> float:
        """Seconds on the running loop's clock; they stand still while anything is under way."""
        with self._lock:
            return self._elapsed + self._start_of(asyncio.get_running_loop())

    def _start_of(self, loop: asyncio.AbstractEventLoop) -> float:
        if loop not in self._loops:
            self._loops[loop] = self._before.now() - self._elapsed
        return self._loops[loop]

    def wall_time(self) -> float:
        """Seconds since 1970 at the start of the context, and what has passed since on this clock."""
        return self._wall_start + self._elapsed

    def call_later(self, seconds: float, function: Callable[..., object], *arguments: Any) -> Timer:
        """Call the function when everything that is due before it has been called, and nothing is under way."""
        with self._lock:
            loop = asyncio.get_running_loop()
            self._start_of(loop)
            timer = _VirtualTimer(loop, self._elapsed + max(0.0, seconds), function, arguments)
            self._changes += 1
            if self._ended:
                timer.become_real(seconds)
            else:
                heappush(self._timers, (timer.due, self._changes, timer))
                self._settle()
        return timer

    def count(self, change: int, loop: asyncio.AbstractEventLoop) -> None:
        """So many more activities are under way on this loop; time stands still while there are any."""
        with self._lock:
            self._active[loop] += change
            self._changes += 1
            self._settle()

    @property
    def _stands_still(self) -> bool:
        # what was under way on a loop that has ended never ends
        return sum(count for loop, count in self._active.items() if loop.is_running()) > 0

    def end(self) -> Clock:
        """Let timers that are left become real; returns a clock on which nothing jumps."""
        with self._lock:
            self._ended, self._settling = True, None
            for _, _, timer in self._timers:
                _post(timer.loop, timer.become_real, timer.due - self._elapsed)
            self._timers.clear()
        ahead = {loop: start + self._elapsed - loop.time() for loop, start in self._loops.items()}
        return Clock(ahead, self.wall_time() - time.time())

    def _settle(self) -> None:
        """Begin to let the loops take their steps, unless that is under way on a loop that runs."""
        if self._ended or not self._timers or self._stands_still:
            return
        if self._settling is None or not self._settling.loop.is_running():
            self._settling = _Settling(self._timers[0][2].loop)
            self._next_step(self._settling)

    def _next_step(self, settling: _Settling) -> None:
        """Let the next loop take a step, or call the earliest timer if all have taken theirs."""
        with self._lock:
            if settling is not self._settling:
                return
            if self._stands_still:
                self._settling = None
                return
            if settling.changes != self._changes:
                settling.changes = self._changes
                settling.steps = [loop for loop in {*self._loops, *self._active} if loop.is_running()] * _STEPS
            while settling.steps:
                settling.loop = settling.steps.pop()
                if _post(settling.loop, self._next_step, settling):
                    return
                self._loops.pop(settling.loop, None)
            self._settling = None
            self._call_earliest()

    def _call_earliest(self) -> None:
        while self._timers:
            due, _, timer = heappop(self._timers)
            if timer.cancelled or not _post(timer.loop, timer.call):
                continue
            self._elapsed = max(self._elapsed, due)
            self._changes += 1
            break
        self._settle()


@define(eq=False)
class _Settling:
    """The steps that loops must take before time may pass; `changes`: of the clock when they were counted."""

    loop: asyncio.AbstractEventLoop
    changes: int = -1
    steps: list[asyncio.AbstractEventLoop] = field(factory=list)


def _post(loop: asyncio.AbstractEventLoop, function: Callable[..., object], *arguments: Any) -> bool:
    """Call the function in the loop's next iteration; False if the loop is closed."""
    try:
        if asyncio._get_running_loop() is loop:  # noqa: SLF001 - the same
            loop.call_soon(function, *arguments)
        else:
            loop.call_soon_threadsafe(function, *arguments)
    except RuntimeError:
        return False
    return True
