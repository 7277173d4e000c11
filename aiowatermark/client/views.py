"""Slots: how much of a client a view of it may use; see `Client.with_options`.

A view has the client's connections, store, rate and lifetime. Its own limits come on top of the client's:

    in_flight      a slot from the start of a job until its end
    submissions    a slot from the start of a job until the provider's answer

A job takes a slot of each before it is given to the client, whose own limits then apply to it like to any other, so a
view never gets more than the client has. Both are first come, first served. A job that waits for a slot of its view is
not a job of the client yet: it is not counted by `stats()`, and closing the client ends its wait with InvalidInput.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from attrs import define, field, fields

from ..errors import InvalidInput
from .handle import ActiveJob
from .limits import Limits

_OWN = frozenset({"in_flight", "submissions"})


def check_view_limits(limits: Limits, client: Limits) -> None:
    """Raise InvalidInput for a limit that a view cannot have for itself, unless it is the default or the client's."""
    if not isinstance(limits, Limits):
        raise InvalidInput(f"limits must be a Limits, not {type(limits).__name__}")
    usual = Limits()
    for name in (each.name for each in fields(Limits)):
        if name not in _OWN and getattr(limits, name) not in (getattr(usual, name), getattr(client, name)):
            raise InvalidInput(f"a view has in_flight and submissions of its own; {name} is the client's: set it there")


@define(eq=False)
class ViewSlots:
    """The slots of a view."""

    limits: Limits
    _in_flight: asyncio.Semaphore = field(init=False, repr=False)
    _submissions: asyncio.Semaphore = field(init=False, repr=False)
    _loop: asyncio.AbstractEventLoop | None = field(default=None, init=False, repr=False)

    async def acquire(self) -> None:
        """Wait for a slot of each kind."""
        if self._loop is not (loop := asyncio.get_running_loop()):
            self._loop = loop
            self._in_flight = asyncio.Semaphore(self.limits.in_flight)
            self._submissions = asyncio.Semaphore(self.limits.submissions)
        await self._in_flight.acquire()
        try:
            await self._submissions.acquire()
        except BaseException:
            self._in_flight.release()
            raise

    def hold(self, job: ActiveJob) -> None:
        """Give the slots back when the job was answered, and when it has ended."""
        in_flight, submissions = self._in_flight, self._submissions
        job.call_when_answered(submissions.release)
        job.call_when_done(lambda _: in_flight.release())

    def release(self) -> None:
        """Give the slots back: no job was started."""
        self._submissions.release()
        self._in_flight.release()


async def start_in(slots: ViewSlots | None, start: Callable[[], ActiveJob]) -> ActiveJob:
    """Start a job when it has slots of its view, if there is one; they are given back if it is not started."""
    if slots is None:
        return start()
    await slots.acquire()
    try:
        job = start()
    except BaseException:
        slots.release()
        raise
    slots.hold(job)
    return job
