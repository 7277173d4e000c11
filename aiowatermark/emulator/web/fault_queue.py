"""What is to happen to one of the next requests or jobs, taken in the order it was asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from attrs import define, field

T = TypeVar("T")


@define
class _Entry(Generic[T]):
    item: T
    provider: str | None
    step: str | None
    remaining: int | None

    def matches(self, provider: str | None, step: str | None) -> bool:
        return self.provider in (None, provider) and (self.step is None or self.step == step)


@define
class FaultQueue(Generic[T]):
    """A queue of things to happen; each is taken at most `times` times, None meaning for ever."""

    _entries: list[_Entry[T]] = field(init=False, factory=list)

    def add(self, what: T, *, provider: str | None = None, step: str | None = None, times: int | None = 1) -> None:
        """Put one in at the end. Raises ValueError when it could never be taken."""
        if times is not None and times < 1:
            raise ValueError(f"times={times}: a number from 1, or None for every time.")
        self._entries.append(_Entry(what, provider, step, times))

    def take(self, provider: str | None, step: str | None, wanted: Callable[[T], bool]) -> T | None:
        """The first that fits the provider and the step and is wanted; it has then been used once."""
        for entry in self._entries:
            if entry.matches(provider, step) and wanted(entry.item):
                self._use(entry)
                return entry.item
        return None

    def __bool__(self) -> bool:
        """Whether anything is left."""
        return bool(self._entries)

    def clear(self) -> None:
        """Forget everything that has not happened yet."""
        self._entries.clear()

    def _use(self, entry: _Entry[T]) -> None:
        if entry.remaining is None:
            return
        entry.remaining -= 1
        if not entry.remaining:
            self._entries = [other for other in self._entries if other is not entry]
