"""A job's life: its turn, its submission, its looks, its end. One task a job, one loop for all its awaiters."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING

from attrs import define, evolve, field

from ...errors import InvalidInput, WatermarkError
from ...jobs import SENT, Job, Record, Snapshot, Status
from ...media.memory import Link
from ...provider import STRETCHED, Polling, Provider
from ...stores import JobStore
from ...transport import Transport
from ...transport.body import Progress
from ...transport.rate_limiter import Limiter
from ..downloads import ClientPorter
from ..handle import JobHandle
from ..limits import Limits
from .admission import Turns, Waiting
from .failures import left, unsettled
from .flows import Talker, now
from .in_doubt import Doubt
from .owners import has_left, new_owner
from .sharing import Permits, SharedPace
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


def assembled(
    provider: Provider,
    transport: Transport,
    store: JobStore,
    receiver: CallbackReceiver | None,
    *,
    limits: Limits,
    deadline: float,
    polling: Polling | None,
    resubmit: bool,
    check: Callable[[], object],
) -> Conductor:
    """A conductor on the running loop; what replicas share is shared where the store offers it."""
    account, commons = provider.account, store.commons
    rate = limits.requests_per_second or provider.requests_per_second
    talker = Talker(provider, transport, SharedPace(commons, account, rate) if commons else Limiter(rate))
    gate = Gate(store)
    doubt = Doubt(provider, talker, store, receiver)
    porter = ClientPorter(transport, asyncio.Semaphore(limits.transfers), check, provider, talker)
    # an explicit schedule is obeyed as it stands; only the default stretches
    schedules = (polling or provider.polling, polling or STRETCHED)
    return Conductor(
        provider,
        talker,
        store,
        gate,
        Turns(limits.in_flight),
        Permits(asyncio.Semaphore(limits.submissions), limits.submissions, account, commons),
        Submission(provider, talker, store, doubt, gate, receiver, resubmit),
        Watch(provider, talker, gate, *schedules, porter, receiver),
        doubt,
        deadline,
        receiver,
    )


@define(eq=False)
class Orders:
    """Begins jobs; with a receiver, provides them with callback URLs and with links for files."""

    provider: Provider
    receiver: CallbackReceiver | None
    owner: str = field(default="", init=False)

    def opened(self) -> Callable[[], None]:
        """The client is open; gives what is to be called when it is closed."""
        self.owner = new_owner()
        return partial(has_left, self.owner)

    def begun(self, conductor: Conductor, job: Job, key: str, deadline: float, progress: Progress | None) -> JobHandle:
        """A job's handle, its life started."""
        if (alive := conductor.alive.get(key)) is not None:
            return conductor.joined(alive, job.fingerprint)
        order, lent = self._lent(job)
        callback_url, callback = self._callback()
        record = Record(
            key,
            self.provider.name,
            Snapshot(None, Status.UPLOADING) if job.video else SENT,
            job.fingerprint,
            video=job.video,
            inputs=tuple(media.identity for media in order.inputs),
            callback=callback,
            account=self.provider.account,
            owner=self.owner,
            created_at=time.time(),
        )
        handle = conductor.begin(record, Order(order, progress, callback_url), deadline)
        if lent:
            handle.when_done(lambda _: self._take_back(lent))
        return handle

    def _callback(self) -> tuple[str | None, str | None]:
        """A callback URL and its key's hash, where there is a receiver and the provider calls back."""
        if self.receiver is None or not self.provider.capabilities.callbacks:
            return None, None
        return self.receiver.mint()

    def _lent(self, job: Job) -> tuple[Job, list[str]]:
        """Links for files, where the provider takes only links."""
        if self.receiver is None or self.provider.capabilities.files:
            return job, []
        links = [(media, "") if isinstance(media, Link) else self.receiver.lend(media) for media in job.inputs]
        return evolve(job, inputs=tuple(link for link, _ in links)), [lent for _, lent in links if lent]

    def _take_back(self, lent: list[str]) -> None:
        if self.receiver is not None:
            for key in lent:
                self.receiver.take_back(key)


def checked_key(key: str | None) -> str:
    """The caller's key, or a new one; raises InvalidInput for a text that is no name."""
    if key is None:
        # in order of time, to the millisecond: an index of keys grows at its end
        return f"{time.time_ns() >> 20:011x}{secrets.token_hex(11)[1:]}"
    if not isinstance(key, str) or not key.strip() or len(key) > 200 or not key.isprintable():
        msg = "key is a printable text of 1 to 200 characters: your own name for this job"
        raise InvalidInput(msg)
    return key
