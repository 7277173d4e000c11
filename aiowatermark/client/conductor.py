"""A job's life: its turn, its submission, its looks, its end. One task a job, one loop for all its awaiters."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING

from attrs import define, evolve, field

from ..errors import (
    AuthenticationError,
    InsufficientCredits,
    Rejected,
    Unsupported,
    WatermarkError,
)
from ..jobs import Record, Status
from ..provider import Polling, Provider
from ..results import Porter, Result
from ..stores import JobStore
from .doubt import Doubt
from .endings import failed, hint, in_doubt, late, left, unsettled
from .gate import Gate
from .handle import JobHandle
from .shares import Permits
from .submission import Order, Submission, same
from .talk import Talker, Turn, now

if TYPE_CHECKING:
    from ..callbacks.receiver import CallbackReceiver

log = logging.getLogger("aiowatermark")

# a look that says one of these twice in a row ends the wait: no patience mends them
_FINAL = (AuthenticationError, InsufficientCredits, Rejected, Unsupported)
_COALESCED = 1.0


@define(eq=False)
class Conductor:
    """Everything a job's life needs, shared by all jobs of a client."""

    provider: Provider
    talker: Talker
    store: JobStore
    polling: Polling
    stretched: Polling
    permits: Permits
    in_flight: asyncio.Semaphore
    room: int
    deadline: float
    porter: Porter
    doubt: Doubt
    receiver: CallbackReceiver | None = None
    resubmit: bool = False
    alive: dict[str, JobHandle] = field(factory=dict)
    gate: Gate = field(init=False)
    submission: Submission = field(init=False)
    feeders: set[asyncio.Task[None]] = field(factory=set)

    def __attrs_post_init__(self) -> None:
        self.gate = Gate(self.store)
        parts = (self.provider, self.talker, self.store, self.doubt, self.gate, self.receiver, self.resubmit)
        self.submission = Submission(*parts)

    def begin(self, record: Record, order: Order | None, deadline: float) -> JobHandle:
        """Start a job's life, or join the one its key has already; without an order it is only watched."""
        if (alive := self.alive.get(record.key)) is not None:
            return self.joined(alive, record.fingerprint)
        handle = self.alive[record.key] = JobHandle(record, sent=order is None)
        handle.task = asyncio.create_task(self.live(handle, order, deadline))
        return handle

    async def adopt(self, record: Record) -> None:
        """Watch a job whose replica is gone; what nobody can ask for is only listened for."""
        if unsettled(record):
            self.doubt.listen(record)
        elif record.snapshot.status is not Status.UPLOADING and record.key not in self.alive:
            self.watched([record], self.deadline)

    def watched(self, records: list[Record], deadline: float) -> list[JobHandle]:
        """Handles of jobs that are at the provider: watched as there is room, by no more tasks than that."""
        handles = [JobHandle(record, sent=True) for record in records if record.key not in self.alive]
        self.alive.update({handle.key: handle for handle in handles})
        queue = iter(handles)
        for _ in range(min(len(handles), self.room)):
            task = asyncio.create_task(self._feed(queue, deadline))
            self.feeders.add(task)
            task.add_done_callback(self.feeders.discard)
        for handle in handles:
            self._expect(handle)
        return handles

    async def _feed(self, queue: Iterator[JobHandle], deadline: float) -> None:
        for handle in queue:
            await self.live(handle, None, deadline)

    def _expect(self, handle: JobHandle) -> None:
        if self.receiver is not None and handle.record.callback is not None:
            self.receiver.expect(handle.record.callback, handle.delivered)

    def joined(self, handle: JobHandle, fingerprint: str) -> JobHandle:
        """The handle a key has already; raises InvalidInput where the key is to name another job."""
        same(handle.record, fingerprint)
        return handle

    async def close(self, drain: float) -> None:
        """Let paid requests on their way be answered, say the tokens of jobs that go on, end all lives."""
        handles = list(self.alive.values())
        for handle in handles:
            if not handle.sent and handle.task is not None:
                handle.task.cancel()  # nothing new is paid while closing
        await asyncio.gather(*(handle.answered(drain) for handle in handles if handle.sent))
        for handle in handles:
            if handle.sent and not handle.done():
                log.warning("job %s goes on without this client; resume it with %s", handle.key, handle.token)
            await self._left_to_others(handle)
        tasks = [handle.task for handle in handles if handle.task is not None] + list(self.feeders)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.doubt.close()
        for handle in handles:
            handle.fail(left(handle))  # a task that never ran told nobody

    async def _left_to_others(self, handle: JobHandle) -> None:
        if self.store.commons is not None and not handle.snapshot.status.terminal:
            await self.store.commons.leave(handle.record)

    async def live(self, handle: JobHandle, order: Order | None, deadline: float) -> None:
        """A job from its turn to its end; whatever happens, the handle learns it."""
        try:
            async with self.in_flight:
                if order is not None:
                    async with self.permits.permit():
                        handle.until = now() + deadline
                        await self.submission.submit(handle, order)
                        order = None
                else:
                    handle.until = now() + deadline
                    await self._remembered(handle)
                handle.accept()
                await self.watch(handle)
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
        self._expect(handle)

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

    async def watch(self, handle: JobHandle) -> None:
        """Look when the time has come or the bell rings, until the job ends or its deadline passes."""
        if unsettled(handle.record):
            raise in_doubt(handle, None)
        called = self.receiver is not None and handle.record.callback is not None
        polling = self.stretched if called else self.polling
        delay, problem, looked = polling.first, None, 0.0
        time = now()
        due = time + delay
        while not handle.snapshot.status.terminal:
            if time >= handle.until:
                raise late(handle, problem)
            if await handle.bell.wait(min(due, handle.until) - time):
                # however many deliveries come, one look a second answers them
                await asyncio.sleep(max(0.0, looked + _COALESCED - now()))
            looked = now()
            problem = await self.look(handle, looked, problem)
            time = now()
            if time >= due:
                delay = polling.after(delay)
                due = time + delay
            if (asked := hint(handle, problem)) is not None:
                due = time + asked
        self.settle(handle)

    async def look(self, handle: JobHandle, time: float, before: WatermarkError | None) -> WatermarkError | None:
        """Ask once where the job stands; gives the problem of a look that told nothing."""
        handle.bell.take()
        if self.believed(handle):
            return None
        turn = Turn(max(handle.until, time + 1.0), tries=1)
        try:
            snapshot = await self.talker.converse(self.provider.query(handle.record), turn)
        except _FINAL as error:
            if before is not None and type(before) is type(error):
                raise error.about(provider=None, key=None, token=handle.token) from None
            problem: WatermarkError = error
        except WatermarkError as error:
            problem = error
        else:
            await self.gate.note(handle, snapshot)
            return None
        log.info("a look at job %s told nothing: %s", handle.key, problem)
        return problem

    def believed(self, handle: JobHandle) -> bool:
        """Whether a callback that the user chose to believe has ended the job."""
        mail, handle.mail = handle.mail, None
        if mail is None or self.receiver is None or self.receiver.verify:
            return False
        try:
            told = self.provider.delivered(mail, handle.record)
        except WatermarkError as error:
            log.info("a callback of job %s told nothing: %s", handle.key, error)
            return False
        if told is not None and told.task_id == handle.task_id:
            handle.note(handle.record.advance(told))
        return handle.snapshot.status.terminal

    def settle(self, handle: JobHandle) -> None:
        """Give the handle what its terminal snapshot means."""
        snapshot = handle.snapshot
        result = Result(handle.record, self.porter)
        if self.receiver is not None:
            self.receiver.announce(result)
        if snapshot.status is Status.SUCCEEDED:
            handle.finish(result)
        else:
            handle.fail(failed(handle))
