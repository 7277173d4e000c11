"""Fault queue: injected faults, or scripted callbacks, in the order in which they were added.

An entry is an item, the requests it applies to, and how often it may still be used:

    provider    a provider's name, or None for all
    step        submit, query, result, ticket, upload, start or credits, or None for all
    remaining   uses left, at least 1, or None for no limit

`take` returns the item of the first entry that matches the provider and the step and that the caller accepts, and
counts one use; an entry without uses left is removed. The caller's `accepts` separates consumers of the same queue:
the web side takes faults that affect a response, the job service takes those that fail a job.

Invariants: an item with `times=n` is returned exactly n times at most; entries that do not match keep their order.
A lock guards the entries: a test adds them from its own thread while an emulator serves in another. The search is
linear: a test injects a handful of faults.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
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
    """Items to be used by the next matching requests or jobs; true while it holds any."""

    _entries: list[_Entry[T]] = field(init=False, factory=list)
    _lock: Lock = field(init=False, factory=Lock, repr=False, eq=False)

    def add(self, item: T, *, provider: str | None = None, step: str | None = None, times: int | None = 1) -> None:
        """Append an item that may be taken `times` times, None meaning without limit.

        Raises ValueError when `times` is less than 1.
        """
        if times is not None and times < 1:
            raise ValueError(f"times must be at least 1, or None for every time, not {times}.")
        with self._lock:
            self._entries.append(_Entry(item, provider, step, times))

    def take(self, provider: str | None, step: str | None, accepts: Callable[[T], bool]) -> T | None:
        """Use the first item that matches the provider and the step and that `accepts` returns True for."""
        with self._lock:
            for entry in self._entries:
                if entry.matches(provider, step) and accepts(entry.item):
                    self._count_use(entry)
                    return entry.item
        return None

    def __bool__(self) -> bool:
        """Whether any item is left."""
        return bool(self._entries)

    def clear(self) -> None:
        """Remove all items."""
        with self._lock:
            self._entries.clear()

    def _count_use(self, entry: _Entry[T]) -> None:
        if entry.remaining is None:
            return
        entry.remaining -= 1
        if not entry.remaining:
            # by identity: two entries with equal fields are equal
            self._entries = [other for other in self._entries if other is not entry]
