"""Bounds for many waits at once: one timer for all of them, and hardly anything to do for a wait that ends in time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

T = TypeVar("T")


class TimeoutGroup:
    """Cuts waits off when their time is over, by cancelling their task; belongs to one event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._deadlines: dict[asyncio.Task[Any], tuple[float, int]] = {}
        self._expired: dict[asyncio.Task[Any], int] = {}
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, seconds: float) -> asyncio.Task[Any]:
        """The running task begins a wait for so many seconds; one wait a task at a time."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - whoever awaits is a task
        end = self._loop.time() + seconds
        self._deadlines[task] = end, task.cancelling()
        if self._timer is None or end < self._timer.when():
            self._schedule(end)
        return task

    def end(self, task: asyncio.Task[Any]) -> bool:
        """The wait is over; True where it was cut off, and nobody else cancelled the task."""
        self._deadlines.pop(task, None)
        before = self._expired.pop(task, None)
        return before is not None and task.uncancel() <= before

    async def within(self, seconds: float, wait: Awaitable[T]) -> T:
        """What a wait of the running task gives; raises TimeoutError where it takes too long."""
        task = self.begin(seconds)
        try:
            return await wait
        except asyncio.CancelledError:
            if self.end(task):
                raise TimeoutError from None
            raise
        finally:
            self.end(task)

    def close(self) -> None:
        """Cut everything off that still waits: nobody will look any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._cancel(list(self._deadlines))

    def _schedule(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(when, self._expire)

    def _expire(self) -> None:
        self._timer = None
        now = self._loop.time()
        self._cancel([task for task, (end, _) in self._deadlines.items() if end <= now])
        if self._deadlines:
            self._schedule(min(end for end, _ in self._deadlines.values()))

    def _cancel(self, tasks: list[asyncio.Task[Any]]) -> None:
        for task in tasks:
            self._expired[task] = self._deadlines.pop(task)[1]
            task.cancel()
