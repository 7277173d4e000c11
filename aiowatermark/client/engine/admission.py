"""Whose turn it is: so many lives at once. The others wait in order, and cost no task while they do."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import TYPE_CHECKING

from attrs import define, field

from ..handle import JobHandle

if TYPE_CHECKING:
    from .submit import SubmitRequest


@define(eq=False)
class QueuedJob:
    """A job whose turn has not come, as it was asked for; it stands where the job's task will."""

    handle: JobHandle
    order: SubmitRequest | None
    deadline: float
    on_cancel: Callable[[JobHandle], object]
    context: Context = field(factory=copy_context)

    @property
    def is_current(self) -> bool:
        """Whether it still waits."""
        return self.handle.task is self

    def cancel(self) -> None:
        """Call it off: its turn will not come."""
        if self.is_current:
            self.handle.task = self.order = None  # what is left of it in the queue holds no media
            self.on_cancel(self.handle)


@define(eq=False)
class AdmissionQueue:
    """At most `room` lives. New jobs and remembered ones, of which there may be very many, come alternately."""

    free_slots: int
    _new: deque[QueuedJob] = field(factory=deque, init=False)
    _recovered: deque[QueuedJob] = field(factory=deque, init=False)
    _queues: list[deque[QueuedJob]] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._queues = [self._new, self._recovered]

    def try_acquire(self) -> bool:
        """Take a turn if there is room for one now."""
        if self.free_slots <= 0:
            return False
        self.free_slots -= 1
        return True

    def enqueue(self, place: QueuedJob) -> None:
        """Queue up."""
        (self._recovered if place.order is None else self._new).append(place)
        place.handle.task = place

    def release(self) -> QueuedJob | None:
        """A life has ended: who takes its turn, if anybody waits for one."""
        while (place := self._pop_next()) is not None:
            if place.is_current:
                return place
        self.free_slots += 1
        return None

    def close(self) -> None:
        """No turn is given to anybody any more."""
        for queue in self._queues:
            queue.clear()

    def _pop_next(self) -> QueuedJob | None:
        self._queues.reverse()
        return next((queue.popleft() for queue in self._queues if queue), None)
