"""RequestTimeouts: ends requests that take too long, with one timer for all requests of a transport.

A timer for each request costs 3 % of the CPU of a job (benchmarks/overhead.py), and nearly none of them ever fires:

    a request begins     the time of its end is noted; the timer is set only if it is not set, or set to a later time
    a request ends       that time is forgotten; the timer stays
    the timer fires      requests whose time has come are timed out; it is set to the earliest time that is left

So each request is timed out at its own time, and while all may take equally long the timer is set once in that long.
The rest is left to `asyncio.timeout`, which tells a timeout from a cancellation by others.
"""

from __future__ import annotations

import asyncio
from math import inf

from ...clock import Watchdog, counts_activities


class RequestTimeouts:
    """The timeouts of the requests of one transport, on the running event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._ends: dict[asyncio.Timeout, float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._due = inf

    def start(self, seconds: float) -> asyncio.Timeout | Watchdog:
        """Return what raises TimeoutError in so many seconds: to be entered at once, and given to `end` afterwards."""
        if counts_activities():
            return Watchdog(seconds)  # virtual time passes for each request by itself
        scope = asyncio.timeout(None)
        self._ends[scope] = end = self._loop.time() + seconds
        if end < self._due:
            self._set_timer(end)
        return scope

    def end(self, scope: asyncio.Timeout | Watchdog) -> None:
        """The request has ended."""
        if isinstance(scope, asyncio.Timeout):
            self._ends.pop(scope, None)

    def close(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer, self._due = None, inf

    def _set_timer(self, end: float) -> None:
        self.close()
        self._timer, self._due = self._loop.call_at(end, self._expire), end

    def _expire(self) -> None:
        time = self._loop.time()
        self.close()
        for scope in [scope for scope, end in self._ends.items() if end <= time]:
            del self._ends[scope]
            scope.reschedule(time)
        if self._ends:
            self._set_timer(min(self._ends.values()))
