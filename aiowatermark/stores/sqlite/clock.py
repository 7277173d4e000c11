"""StoreClock: the time that a store itself observed, in seconds; a jump of the wall clock does not pass on it.

Records are kept for so many seconds on this clock. It runs with the monotonic clock of a process that has the store
open. While no process has, only the wall clock says how much time passed, and it may have been set: at most a day of
it counts for each opening.
"""

from __future__ import annotations

import time

from attrs import define, field

_MAX_CLOSED_SECONDS = 86_400.0


@define(eq=False)
class StoreClock:
    """The clock of one open store; `tick` continues it from what is stored, `now` reads it in between."""

    _time: float = field(default=0.0, init=False)
    _ticked: float | None = field(default=None, init=False)

    def now(self) -> float:
        """Return the time on this clock."""
        return self._time + (0.0 if self._ticked is None else time.monotonic() - self._ticked)

    def tick(self, stored: float, wall: float) -> tuple[float, float]:
        """Continue from the stored time, which was written when the wall clock showed `wall`; return both for now."""
        monotonic, wall_now = time.monotonic(), time.time()
        limit = _MAX_CLOSED_SECONDS if self._ticked is None else monotonic - self._ticked
        self._time = stored + min(max(wall_now - wall, 0.0), limit)
        self._ticked = monotonic
        return self._time, wall_now
