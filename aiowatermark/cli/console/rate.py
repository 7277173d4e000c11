"""How far something has come, how fast it goes, and how long it will take."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from attrs import define, field

_WINDOW = 5.0
_APART = 0.2
_STEADY = 1.0


@define(eq=False)
class RateMeter:
    """What has been seen of something that moves: `done` of `total`, in bytes unless it is a mere share.

    The rate is that of the last `window` seconds, so that what stands still is seen to.
    """

    in_bytes: bool = True
    window: float = _WINDOW
    clock: Callable[[], float] = time.monotonic
    done: float = field(default=0.0, init=False)
    total: float | None = field(default=None, init=False)
    _seen: deque[tuple[float, float]] = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Nothing has moved yet."""
        self._seen = deque([(self.clock(), 0.0)])

    def update(self, done: float, total: float | None) -> None:
        """It has come so far; less far than before where it had to begin again."""
        now = self.clock()
        if done < self.done:
            self._seen = deque([(now, done)])
        self.done, self.total = done, total
        if now - self._seen[-1][0] >= _APART:
            self._seen.append((now, done))
        while len(self._seen) > 2 and self._seen[1][0] < now - self.window:
            self._seen.popleft()

    @property
    def rate(self) -> float | None:
        """How much a second; None while it is too early to tell."""
        since, before = self._seen[0]
        seconds = self.clock() - since
        return (self.done - before) / seconds if seconds >= _STEADY else None

    @property
    def remaining_seconds(self) -> float | None:
        """Seconds until it is done, as it looks; None where that cannot be told."""
        rate = self.rate
        return (self.total - self.done) / rate if self.total and rate else None

    @property
    def text(self) -> str:
        """It in words: bytes or percent, rate, time left, as far as they are known."""
        rate, left = self.rate, self.remaining_seconds
        parts = [self._amount()]
        if self.in_bytes and rate is not None:
            parts.append(f"{format_bytes(rate)}/s")
        if left is not None:
            parts.append(f"{format_seconds(left)} left")
        return "  ".join(parts)

    def _amount(self) -> str:
        if not self.in_bytes:
            return f"{self.done / (self.total or 1):.0%}"
        return f"{format_bytes(self.done)} of {format_bytes(self.total)}" if self.total else format_bytes(self.done)


def format_bytes(count: float) -> str:
    """Bytes as a person reads them."""
    for unit in ("B", "kB", "MB"):
        if count < 999.5:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.2f} GB"


def format_seconds(seconds: float) -> str:
    """A time as clocks show it."""
    minutes, rest = divmod(round(min(seconds, 359_999)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
