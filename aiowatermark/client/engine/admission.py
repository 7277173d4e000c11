"""Limits how many jobs run at the same time.

A job that finds no free slot is queued without an asyncio task: 100,000 queued jobs cost a deque entry each.
Two FIFO queues alternate, so that a large recovery does not delay new jobs, nor new jobs a recovery:

    try_acquire() -> True      the caller starts the job
                  -> False     the caller enqueues it; the release() of another job starts it later

Invariants: free slots + running jobs == limit; a job is in at most one queue; a job that was cancelled in the queue
is skipped, never run. A queued job keeps the contextvars of the call that asked for it.

Runs on one event loop; no method awaits, so no locking is needed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import TYPE_CHECKING

from attrs import define, field

from ..handle import ActiveJob

if TYPE_CHECKING:
    from .submission.submit import SubmitRequest


@define(eq=False)
class QueuedJob:
    """A job without a slot. It stands in `job.task` until the real task does, so that cancelling works alike.

    `request` is None for a job that is only watched; `deadline` is in seconds from the start of the job.
    """

    job: ActiveJob
    request: SubmitRequest | None
    time_limit: float
    on_cancel: Callable[[ActiveJob], object]
    context: Context = field(factory=copy_context)

    @property
    def is_current(self) -> bool:
        """Whether the job is still queued here."""
        return self.job.task is self

    def cancel(self) -> None:
        """Cancel the job: it will never start."""
        if self.is_current:
            self.job.task = self.request = None  # the entry stays in its queue, but holds no media any more
            self.on_cancel(self.job)


@define(eq=False)
class AdmissionQueue:
    """Slots for running jobs, and the jobs that wait for one."""

    free_slots: int
    _new: deque[QueuedJob] = field(factory=deque, init=False)
    _recovered: deque[QueuedJob] = field(factory=deque, init=False)
    _queues: list[deque[QueuedJob]] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._queues = [self._new, self._recovered]

    def try_acquire(self) -> bool:
        """Take a slot if one is free."""
        if self.free_slots <= 0:
            return False
        self.free_slots -= 1
        return True

    def enqueue(self, queued: QueuedJob) -> None:
        """Append a job to the queue of new jobs, or to that of recovered ones."""
        (self._recovered if queued.request is None else self._new).append(queued)
        queued.job.task = queued

    def release(self) -> QueuedJob | None:
        """Return a slot; gives the next queued job, which now owns the slot, or None."""
        while (queued := self._pop_next()) is not None:
            if queued.is_current:
                return queued
        self.free_slots += 1
        return None

    def close(self) -> None:
        """Drop all queued jobs; no slot is passed on any more."""
        for queue in self._queues:
            queue.clear()

    def _pop_next(self) -> QueuedJob | None:
        self._queues.reverse()
        return next((queue.popleft() for queue in self._queues if queue), None)
