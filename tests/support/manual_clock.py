"""A wall clock that only a test moves, for the parameter `clock` of the emulator and of rate meters."""

from __future__ import annotations

from attrs import define


@define
class ManualClock:
    """Returns `now`, in seconds, when it is called."""

    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now
