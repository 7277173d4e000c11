"""EndedMedia: bounds the results in memory of ended jobs whose results are not acknowledged yet.

Their records stay leased, so that they can be written again after a rewind; a result that came as bytes is part of its
record. Above the bound the oldest are kept without their results, which are in Redis.
"""

from __future__ import annotations

from attrs import define, field

_MAX_BYTES = 32 << 20


@define(eq=False)
class EndedMedia:
    """Bytes of results by key, the job that ended first at the front."""

    _sizes: dict[str, int] = field(factory=dict, init=False)
    _total: int = field(default=0, init=False)

    def add(self, key: str, size: int) -> list[str]:
        """Count the result of an ended job; returns the keys of those whose results must go."""
        self.drop(key)
        self._sizes[key] = size
        self._total += size
        dropped = []
        while self._total > _MAX_BYTES:
            oldest = next(iter(self._sizes))
            dropped.append(oldest)
            self.drop(oldest)
        return dropped

    def drop(self, key: str) -> None:
        """Count a result no longer."""
        self._total -= self._sizes.pop(key, 0)
