"""Whose turn it is: so many lives at once. The others wait in order, and cost no task while they do."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import TYPE_CHECKING

from attrs import define, field

from ..handle import JobHandle

if TYPE_CHECKING:
    from .submit import Order


@define(eq=False)
class Waiting:
    """A job whose turn has not come, as it was asked for; it stands where the job's task will."""

    handle: JobHandle
    order: Order | None
    deadline: float
    called_off: Callable[[JobHandle], object]
    context: Context = field(factory=copy_context)

    @property
    def valid(self) -> bool:
        """Whether it still waits."""
        return self.handle.task is self

    def cancel(self) -> None:
        """Call it off: its turn will not come."""
        if self.valid:
            self.handle.task = self.order = None  # what is left of it in the queue holds no media
            self.called_off(self.handle)


@define(eq=False)
class Turns:
    """At most `room` lives. New jobs and remembered ones, of which there may be very many, come alternately."""

    room: int
    _new: deque[Waiting] = field(factory=deque, init=False)
    _remembered: deque[Waiting] = field(factory=deque, init=False)
    _queues: list[deque[Waiting]] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._queues = [self._new, self._remembered]

    def taken(self) -> bool:
        """Take a turn if there is room for one now."""
        if self.room <= 0:
            return False
        self.room -= 1
        return True

    def wait(self, place: Waiting) -> None:
        """Queue up."""
        (self._remembered if place.order is None else self._new).append(place)
        place.handle.task = place

    def given_up(self) -> Waiting | None:
        """A life has ended: who takes its turn, if anybody waits for one."""
        while (place := self._next()) is not None:
            if place.valid:
                return place
        self.room += 1
        return None

    def close(self) -> None:
        """No turn is given to anybody any more."""
        for queue in self._queues:
            queue.clear()

    def _next(self) -> Waiting | None:
        self._queues.reverse()
        return next((queue.popleft() for queue in self._queues if queue), None)
