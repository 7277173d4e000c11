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
from ...jobs import INITIAL_SNAPSHOT, Job, Record, Snapshot, Status
from ...media.base import ProgressCallback
from ...media.memory import Link
from ...provider import CALLBACK_POLLING, Polling, Provider
from ...stores import JobStore
from ...transport import Transport
from ...transport.rate_limiter import LocalRateLimiter
from ..downloads import ResultDownloader
from ..handle import JobHandle
from ..limits import Limits
from .admission import AdmissionQueue, QueuedJob
from .failures import client_closed, unsettled
from .flows import FlowRunner, loop_time
from .in_doubt import InDoubtResolver
from .owners import register_owner, unregister_owner
from .sharing import CoordinatedRateLimiter, SubmitSlots
from .snapshots import SnapshotRecorder
from .submit import SubmitRequest, Submitter, check_same_job
from .watch import JobWatcher

if TYPE_CHECKING:
    from ...callbacks.receiver import CallbackReceiver

log = logging.getLogger("aiowatermark")

_CLEANUP_SECONDS = 5.0
"""Seconds that lives have to put away what they began, once they are called off."""


@define(eq=False)
class JobEngine:
    """Everything a job's life needs, shared by all jobs of a client."""

    provider: Provider
    flows: FlowRunner
    store: JobStore
    snapshots: SnapshotRecorder
    admission: AdmissionQueue
    slots: SubmitSlots
    submitter: Submitter
    watcher: JobWatcher
    in_doubt: InDoubtResolver
    deadline: float
    receiver: CallbackReceiver | None = None
    jobs: dict[str, JobHandle] = field(factory=dict)

    def start(self, record: Record, order: SubmitRequest | None, deadline: float) -> JobHandle:
        """Start a job's life, or join the one its key has already; without an order it is only watched."""
        if (alive := self.jobs.get(record.key)) is not None:
            return self.join(alive, record.fingerprint)
        handle = self.jobs[record.key] = JobHandle(record, sent=order is None)
        if self.admission.try_acquire():
            handle.task = asyncio.create_task(self._run(handle, order, deadline))
        else:
            self.admission.enqueue(QueuedJob(handle, order, deadline, self._abandon))
        return handle

    async def adopt(self, record: Record) -> None:
        """Watch a job whose replica is gone; what nobody can ask for is only listened for."""
        if unsettled(record):
            self.in_doubt.listen(record)
        elif record.snapshot.status is not Status.UPLOADING and record.key not in self.jobs:
            self.watch_records([record], self.deadline)

    def watch_records(self, records: list[Record], deadline: float) -> list[JobHandle]:
        """Handles of jobs that are at the provider: watched as there is room."""
        handles = [self.start(record, None, deadline) for record in records if record.key not in self.jobs]
        for handle in handles:
            self.submitter.listen_for_callbacks(handle)
        return handles

    def join(self, handle: JobHandle, fingerprint: str) -> JobHandle:
        """The handle a key has already; raises InvalidInput where the key is to name another job."""
        check_same_job(handle.record, fingerprint)
        return handle

    async def close(self, drain: float) -> None:
        """Let paid requests on their way be answered, say the tokens of jobs that go on, end all lives."""
        handles = list(self.jobs.values())
        self.admission.close()
        unsent = {handle for handle in handles if not handle.may_be_paid}
        _cancel(unsent)  # nothing new is paid while closing
        await asyncio.gather(*(handle.wait_answered(drain) for handle in handles if handle.may_be_paid))
        for handle in handles:
            if handle.may_be_paid and not handle.done():
                log.warning("job %s goes on without this client; resume it with %s", handle.key, handle.token)
            await self._hand_over(handle)
        lives = _cancel([handle for handle in handles if handle not in unsent]) | _tasks(unsent)
        if lives:
            _, late = await asyncio.wait(
                lives, timeout=max(drain, _CLEANUP_SECONDS)
            )  # what was unsent is being forgotten
            for life in late:
                life.cancel()
            await asyncio.gather(*lives, return_exceptions=True)
        await self.in_doubt.close()
        for handle in handles:
            handle.set_exception(client_closed(handle))  # a task that never ran told nobody

    async def _hand_over(self, handle: JobHandle) -> None:
        if self.store.coordinator is not None and not handle.snapshot.status.terminal:
            await self.store.coordinator.hand_over(handle.record)

    async def _run(self, handle: JobHandle, order: SubmitRequest | None, deadline: float) -> None:
        """A job from its turn to its end; whatever happens, the handle learns it."""
        try:
            if order is not None:
                async with self.slots.slot():
                    handle.deadline = loop_time() + deadline
                    await self.submitter.submit(handle, order)
                    order = None
            else:
                handle.deadline = loop_time() + deadline
                await self._load_record(handle)
            handle.mark_accepted()
            await self.watcher.wait_until_done(handle)
        except WatermarkError as error:
            handle.set_exception(error.about(provider=self.provider.name, key=handle.key, token=None))
            await self._release_lease(handle)
        except asyncio.CancelledError:
            handle.set_exception(client_closed(handle))
            raise
        except Exception as error:
            log.exception("job %s broke", handle.key)
            handle.set_exception(error)
        finally:
            self._cleanup(handle)
            self._start_next()

    def _start_next(self) -> None:
        if (place := self.admission.release()) is not None:
            life = self._run(place.handle, place.order, place.deadline)
            task = place.handle.task = asyncio.create_task(life, context=place.context)
            task.add_done_callback(partial(self._on_task_done, place.handle))

    def _on_task_done(self, handle: JobHandle, _: asyncio.Task[None]) -> None:
        """Called off after its turn had come and before it ran, a life tells nobody: its turn goes on."""
        if not handle.done():
            self._abandon(handle)
            self._start_next()

    def _abandon(self, handle: JobHandle) -> None:
        handle.set_exception(client_closed(handle))
        self._cleanup(handle)

    async def _load_record(self, handle: JobHandle) -> None:
        """What the store knows of a job that is resumed; it is remembered from here on if it was not."""
        known = await self.store.get(handle.key)
        if known is None:
            known = await self.store.open(evolve(handle.record, account=self.provider.account))
        if known is not None and known.provider == self.provider.name:
            told = handle.snapshot
            handle.update(known)
            if known.snapshot.task_id is None and told.task_id is not None:
                await self.snapshots.record(handle, told)  # the token knows more than a store that failed
        self.submitter.listen_for_callbacks(handle)

    async def _release_lease(self, handle: JobHandle) -> None:
        """Nobody watches an unfinished job any more; a finished one gave its lease up with its last word."""
        if self.store.coordinator is not None and not handle.snapshot.status.terminal:
            await self.store.coordinator.release(handle.record)

    def _cleanup(self, handle: JobHandle) -> None:
        if self.jobs.get(handle.key) is handle:
            del self.jobs[handle.key]
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


def build_engine(
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
) -> JobEngine:
    """A conductor on the running loop; what replicas share is shared where the store offers it."""
    account, coordinator = provider.account, store.coordinator
    rate = limits.requests_per_second or provider.requests_per_second
    talker = FlowRunner(
        provider,
        transport,
        CoordinatedRateLimiter(coordinator, account, rate) if coordinator else LocalRateLimiter(rate),
    )
    gate = SnapshotRecorder(store)
    doubt = InDoubtResolver(provider, talker, store, receiver)
    porter = ResultDownloader(transport, asyncio.Semaphore(limits.transfers), check, provider, talker)
    # an explicit schedule is obeyed as it stands; only the default stretches
    schedules = (polling or provider.polling, polling or CALLBACK_POLLING)
    return JobEngine(
        provider,
        talker,
        store,
        gate,
        AdmissionQueue(limits.in_flight),
        SubmitSlots(asyncio.Semaphore(limits.submissions), limits.submissions, account, coordinator),
        Submitter(provider, talker, store, doubt, gate, receiver, resubmit),
        JobWatcher(provider, talker, gate, *schedules, porter, receiver),
        doubt,
        deadline,
        receiver,
    )


@define(eq=False)
class JobStarter:
    """Begins jobs; with a receiver, provides them with callback URLs and with links for files."""

    provider: Provider
    receiver: CallbackReceiver | None
    owner: str = field(default="", init=False)

    def open(self) -> Callable[[], None]:
        """The client is open; gives what is to be called when it is closed."""
        self.owner = register_owner()
        return partial(unregister_owner, self.owner)

    def start(
        self, conductor: JobEngine, job: Job, key: str, deadline: float, progress: ProgressCallback | None
    ) -> JobHandle:
        """A job's handle, its life started."""
        if (alive := conductor.jobs.get(key)) is not None:
            return conductor.join(alive, job.fingerprint)
        order, lent = self._lend(job)
        callback_url, callback = self._create_callback()
        record = Record(
            key,
            self.provider.name,
            Snapshot(None, Status.UPLOADING) if job.video else INITIAL_SNAPSHOT,
            job.fingerprint,
            video=job.video,
            inputs=tuple(media.identity for media in order.inputs),
            callback=callback,
            account=self.provider.account,
            owner=self.owner,
            created_at=time.time(),
        )
        handle = conductor.start(record, SubmitRequest(order, progress, callback_url), deadline)
        if lent:
            handle.when_done(lambda _: self._revoke(lent))
        return handle

    def _create_callback(self) -> tuple[str | None, str | None]:
        """A callback URL and its key's hash, where there is a receiver and the provider calls back."""
        if self.receiver is None or not self.provider.capabilities.callbacks:
            return None, None
        return self.receiver.create_url()

    def _lend(self, job: Job) -> tuple[Job, list[str]]:
        """Links for files, where the provider takes only links."""
        if self.receiver is None or self.provider.capabilities.files:
            return job, []
        links = [(media, "") if isinstance(media, Link) else self.receiver.lend(media) for media in job.inputs]
        return evolve(job, inputs=tuple(link for link, _ in links)), [lent for _, lent in links if lent]

    def _revoke(self, lent: list[str]) -> None:
        if self.receiver is not None:
            for key in lent:
                self.receiver.revoke(key)


def validate_key(key: str | None) -> str:
    """The caller's key, or a new one; raises InvalidInput for a text that is no name."""
    if key is None:
        # in order of time, to the millisecond: an index of keys grows at its end
        return f"{time.time_ns() >> 20:011x}{secrets.token_hex(11)[1:]}"
    if not isinstance(key, str) or not key.strip() or len(key) > 200 or not key.isprintable():
        raise InvalidInput("key is a printable text of 1 to 200 characters: your own name for this job")
    return key
