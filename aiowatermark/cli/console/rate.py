"""Progress meter: how much of a transfer is done, at which rate, and how long the rest will take."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from attrs import define, field

# seconds
_WINDOW = 5.0
_SAMPLE_INTERVAL = 0.2
_MIN_DURATION = 1.0


@define(eq=False)
class RateMeter:
    """Progress of one operation: `done` of `total`, in bytes, or as a fraction of 1 if `in_bytes` is false.

    The rate is the average over the last `window` seconds, so that a stalled transfer shows as a falling rate.
    """

    in_bytes: bool = True
    window: float = _WINDOW
    clock: Callable[[], float] = time.monotonic
    done: float = field(default=0.0, init=False)
    total: float | None = field(default=None, init=False)
    _samples: deque[tuple[float, float]] = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Take the first sample: nothing done yet."""
        self._samples = deque([(self.clock(), 0.0)])

    def update(self, done: float, total: float | None) -> None:
        """Record the progress; a smaller `done` than before is a restart and resets the rate."""
        now = self.clock()
        if done < self.done:
            self._samples = deque([(now, done)])
        self.done, self.total = done, total
        if now - self._samples[-1][0] >= _SAMPLE_INTERVAL:
            self._samples.append((now, done))
        # the oldest sample stays until the second one leaves the window: the average covers the whole window
        while len(self._samples) > 2 and self._samples[1][0] < now - self.window:
            self._samples.popleft()

    @property
    def rate(self) -> float | None:
        """Amount per second; None during the first second, when an average means little."""
        since, before = self._samples[0]
        seconds = self.clock() - since
        return (self.done - before) / seconds if seconds >= _MIN_DURATION else None

    @property
    def remaining_seconds(self) -> float | None:
        """Estimated seconds until it is done; None if the total or the rate is unknown."""
        rate = self.rate
        return (self.total - self.done) / rate if self.total and rate else None

    @property
    def text(self) -> str:
        """Amount (bytes or percent), rate and remaining time, as far as they are known."""
        rate, remaining = self.rate, self.remaining_seconds
        parts = [self._amount()]
        if self.in_bytes and rate is not None:
            parts.append(f"{format_bytes(rate)}/s")
        if remaining is not None:
            parts.append(f"{format_seconds(remaining)} left")
        return "  ".join(parts)

    def _amount(self) -> str:
        if not self.in_bytes:
            return f"{self.done / (self.total or 1):.0%}"
        return f"{format_bytes(self.done)} of {format_bytes(self.total)}" if self.total else format_bytes(self.done)


def format_bytes(count: float) -> str:
    """Return a byte count with its unit: `123 kB`."""
    for unit in ("B", "kB", "MB"):
        # 999.5 would be rounded to 1000: it is shown in the next unit
        if count < 999.5:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.2f} GB"


def format_seconds(seconds: float) -> str:
    """Return a duration as `M:SS` or `H:MM:SS`, at most 99:59:59."""
    minutes, rest = divmod(round(min(seconds, 359_999)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
