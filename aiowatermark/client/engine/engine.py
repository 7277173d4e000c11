"""A job's life: its turn, its submission, its looks, its end. One task a job, one loop for all its awaiters."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING

from attrs import define, evolve, field

from ...errors import WatermarkError
from ...jobs import Record, Status
from ...provider import Provider
from ...stores import JobStore
from ..handle import JobHandle
from .admission import Turns, Waiting
from .failures import left, unsettled
from .flows import Talker, now
from .in_doubt import Doubt
from .sharing import Permits
from .snapshots import Gate
from .submit import Order, Submission, same
from .watch import Watch

if TYPE_CHECKING:
    from ...callbacks.receiver import CallbackReceiver

log = logging.getLogger("aiowatermark")

_TIDYING = 5.0
"""Seconds that lives have to put away what they began, once they are called off."""


@define(eq=False)
class Conductor:
    """Everything a job's life needs, shared by all jobs of a client."""

    provider: Provider
    talker: Talker
    store: JobStore
    gate: Gate
    turns: Turns
    permits: Permits
    submission: Submission
    watch: Watch
    doubt: Doubt
    deadline: float
    receiver: CallbackReceiver | None = None
    alive: dict[str, JobHandle] = field(factory=dict)

    def begin(self, record: Record, order: Order | None, deadline: float) -> JobHandle:
        """Start a job's life, or join the one its key has already; without an order it is only watched."""
        if (alive := self.alive.get(record.key)) is not None:
            return self.joined(alive, record.fingerprint)
        handle = self.alive[record.key] = JobHandle(record, sent=order is None)
        if self.turns.taken():
            handle.task = asyncio.create_task(self.live(handle, order, deadline))
        else:
            self.turns.wait(Waiting(handle, order, deadline, self._called_off))
        return handle

    async def adopt(self, record: Record) -> None:
        """Watch a job whose replica is gone; what nobody can ask for is only listened for."""
        if unsettled(record):
            self.doubt.listen(record)
        elif record.snapshot.status is not Status.UPLOADING and record.key not in self.alive:
            self.watched([record], self.deadline)

    def watched(self, records: list[Record], deadline: float) -> list[JobHandle]:
        """Handles of jobs that are at the provider: watched as there is room."""
        handles = [self.begin(record, None, deadline) for record in records if record.key not in self.alive]
        for handle in handles:
            self.submission.expect(handle)
        return handles

    def joined(self, handle: JobHandle, fingerprint: str) -> JobHandle:
        """The handle a key has already; raises InvalidInput where the key is to name another job."""
        same(handle.record, fingerprint)
        return handle

    async def close(self, drain: float) -> None:
        """Let paid requests on their way be answered, say the tokens of jobs that go on, end all lives."""
        handles = list(self.alive.values())
        self.turns.close()
        unsent = {handle for handle in handles if not handle.sent}
        _cancel(unsent)  # nothing new is paid while closing
        await asyncio.gather(*(handle.answered(drain) for handle in handles if handle.sent))
        for handle in handles:
            if handle.sent and not handle.done():
                log.warning("job %s goes on without this client; resume it with %s", handle.key, handle.token)
            await self._left_to_others(handle)
        lives = _cancel([handle for handle in handles if handle not in unsent]) | _tasks(unsent)
        if lives:
            _, late = await asyncio.wait(lives, timeout=max(drain, _TIDYING))  # what was unsent is being forgotten
            for life in late:
                life.cancel()
            await asyncio.gather(*lives, return_exceptions=True)
        await self.doubt.close()
        for handle in handles:
            handle.fail(left(handle))  # a task that never ran told nobody

    async def _left_to_others(self, handle: JobHandle) -> None:
        if self.store.commons is not None and not handle.snapshot.status.terminal:
            await self.store.commons.leave(handle.record)

    async def live(self, handle: JobHandle, order: Order | None, deadline: float) -> None:
        """A job from its turn to its end; whatever happens, the handle learns it."""
        try:
            if order is not None:
                async with self.permits.permit():
                    handle.until = now() + deadline
                    await self.submission.submit(handle, order)
                    order = None
            else:
                handle.until = now() + deadline
                await self._remembered(handle)
            handle.accept()
            await self.watch.over(handle)
        except WatermarkError as error:
            handle.fail(error.about(provider=self.provider.name, key=handle.key, token=None))
            await self._released(handle)
        except asyncio.CancelledError:
            handle.fail(left(handle))
            raise
        except Exception as error:
            log.exception("job %s broke", handle.key)
            handle.fail(error)
        finally:
            self._end(handle)
            self._next()

    def _next(self) -> None:
        if (place := self.turns.given_up()) is not None:
            life = self.live(place.handle, place.order, place.deadline)
            task = place.handle.task = asyncio.create_task(life, context=place.context)
            task.add_done_callback(partial(self._over, place.handle))

    def _over(self, handle: JobHandle, _: asyncio.Task[None]) -> None:
        """Called off after its turn had come and before it ran, a life tells nobody: its turn goes on."""
        if not handle.done():
            self._called_off(handle)
            self._next()

    def _called_off(self, handle: JobHandle) -> None:
        handle.fail(left(handle))
        self._end(handle)

    async def _remembered(self, handle: JobHandle) -> None:
        """What the store knows of a job that is resumed; it is remembered from here on if it was not."""
        known = await self.store.get(handle.key)
        if known is None:
            known = await self.store.open(evolve(handle.record, account=self.provider.account))
        if known is not None and known.provider == self.provider.name:
            told = handle.snapshot
            handle.note(known)
            if known.snapshot.task_id is None and told.task_id is not None:
                await self.gate.note(handle, told)  # the token knows more than a store that failed
        self.submission.expect(handle)

    async def _released(self, handle: JobHandle) -> None:
        """Nobody watches an unfinished job any more; a finished one gave its lease up with its last word."""
        if self.store.commons is not None and not handle.snapshot.status.terminal:
            await self.store.commons.release(handle.record)

    def _end(self, handle: JobHandle) -> None:
        if self.alive.get(handle.key) is handle:
            del self.alive[handle.key]
        callback, doubted = handle.record.callback, unsettled(handle.record) and handle.snapshot.reason is not None
        if self.receiver is not None and callback is not None and not doubted:  # doubts are still listened for
            self.receiver.release(callback)


def _tasks(handles: Iterable[JobHandle]) -> set[asyncio.Task[None]]:
    return {handle.task for handle in handles if isinstance(handle.task, asyncio.Task)}


def _cancel(handles: Iterable[JobHandle]) -> set[asyncio.Task[None]]:
    """Call lives off, once: a second time would call off what they tidy up; gives their tasks."""
    tasks = _tasks(handles)
    for handle in handles:
        if handle.task is not None:
            handle.task.cancel()
    return tasks
