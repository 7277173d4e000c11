"""Runs jobs: from admission over submission and waiting to the result, one asyncio task per running job.

    start_job (new)  ─┐                    ┌─ Submitter.submit ─ accepted ─┐
    resume / recover ─┴─ AdmissionQueue ───┤                               ├─ JobWatcher.wait_until_done ─ result
                                           └─ _load_record ────────────────┘

    error of the job      -> its awaiters get it; its lease is released
    engine closed         -> a job that was not sent is cancelled and its record deleted; one that may be paid gets
                             `drain` seconds for its answer, its token is logged, and another replica may take it over

Invariants: `jobs` holds each key at most once, from start() until its task ends; a caller that asks for a key that is
running gets the same job; every job that was started is completed, with a result or an error, also when its task was
cancelled before its first step (then no code of the task runs, and `_on_task_done` completes it).

All on one event loop. Between two awaits nothing else runs, so start() and _cleanup() need no lock.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from contextvars import Context
from functools import partial
from typing import assert_never

from attrs import define, evolve, field

from ...errors import InvalidInput, SubmissionInDoubt, WatermarkError
from ...jobs import INITIAL_SNAPSHOT, Job, Record, Snapshot, Status
from ...ledger import Attempt
from ...lifetimes import run_all, start_task
from ...media.base import ProgressCallback
from ...media.memory import Link
from ...observation.commands import labels_of_address
from ...observation.events import JOB_IN_DOUBT
from ...results import Result
from ...wire import Delivery
from ..handle import ActiveJob
from ..job_tasks import cancel_tasks, end_tasks, end_unfinished
from .admission import AdmissionQueue, QueuedJob
from .context import EngineContext
from .failures import OWNER_GONE, as_watermark_error, as_watermark_errors
from .flows import SUBMIT_TIMEOUT
from .in_doubt import InDoubtResolver
from .settle import Settlement
from .sharing import callback_secret
from .submission.claims import new_epoch
from .submission.existing import belongs_to, check_same_account, check_same_job
from .submission.submit import Accepted, InDoubt, NotAccepted, SubmitOutcome, SubmitRequest, Submitter
from .watch import JobWatcher

log = logging.getLogger("aiowatermark")


@define(eq=False)
class JobEngine:
    """All jobs of an open client. `adopted_deadline`: seconds for jobs that are taken over from other replicas."""

    context: EngineContext
    admission: AdmissionQueue
    submitter: Submitter
    watcher: JobWatcher
    in_doubt: InDoubtResolver
    settlement: Settlement
    adopted_deadline: float
    jobs: dict[str, ActiveJob] = field(factory=dict, init=False)
    loop: asyncio.AbstractEventLoop = field(factory=asyncio.get_running_loop, init=False, repr=False)

    # starting

    def start_job(
        self, job: Job, key: str, time_limit: float, progress: ProgressCallback | None, *, again: bool = False
    ) -> ActiveJob:
        """Start a new job, or return the one that runs under this key; raises InvalidInput if that is another job."""
        if (running := self.jobs.get(key)) is not None:
            check_same_job(running.record, job.fingerprint)
            return running
        to_send, served = self._serve_files(job)
        with as_watermark_errors:
            callback_url, callback = self._create_callback(job)
            record = self._new_record(to_send, key, callback)
        started = self.start(record, SubmitRequest(to_send, progress, callback_url, again), time_limit)
        if served:
            started.call_when_done(lambda _: self._stop_serving(served))
        return started

    def _new_record(self, job: Job, key: str, callback: str | None) -> Record:
        """The record of a new job: of an image, the paid request follows immediately; a video is uploaded first."""
        provider, now = self.context.provider, time.time()
        return Record(
            key,
            provider.name,
            Snapshot(None, Status.UPLOADING) if job.video else INITIAL_SNAPSHOT,
            job.fingerprint,
            video=job.video,
            inputs=tuple([media.identity for media in job.inputs]),
            callback=callback,
            account=provider.account,
            owner=self.context.owner,
            created_at=now,
            epoch=new_epoch(),
            masked=job.mask is not None or bool(job.extra_fields),
            route=provider.route(job),
            attempts=() if job.video else (Attempt(now, provider.account),),
            labels=labels_of_address(provider.base_url, getattr(provider, "default_base_url", None)),
        )

    def start(self, record: Record, request: SubmitRequest | None, time_limit: float) -> ActiveJob:
        """Start a job, or return the one that runs under its key; without a request it is only watched."""
        if (running := self.jobs.get(record.key)) is not None:
            check_same_job(running.record, record.fingerprint)
            return running
        trace = self.context.observer.trace(record, resumed=request is None)
        job = self.jobs[record.key] = ActiveJob(record, trace, resumed=request is None)
        if self.admission.try_acquire():
            self._create_task(job, request, time_limit, None)
        else:
            self.admission.enqueue(QueuedJob(job, request, time_limit, self._abandon))
        return job

    def watch_records(self, records: list[Record], time_limit: float) -> list[ActiveJob]:
        """Watch the jobs of these records, all of them at the provider; those that run already are left out."""
        jobs = [self.start(record, None, time_limit) for record in records if record.key not in self.jobs]
        for job in jobs:
            self.submitter.listen_for_callbacks(job)  # a queued job can already be called back
        return jobs

    async def adopt(self, record: Record) -> None:
        """Take over the job of a replica that died; one in doubt is left to its callback, wherever that arrives."""
        if record.key in self.jobs:
            return
        if record.at_provider:
            self.watch_records([record], self.adopted_deadline)
        elif record.snapshot.status.terminal:
            await self.deliver_again([record], [])
        else:
            await self.leave(record)

    async def watch_settled(self, record: Record) -> None:
        """Watch a job whose doubt a callback has settled: its result is announced like any other."""
        # an ended one needs no owner
        records = [record] if record.snapshot.status.terminal else await self.submitter.existing.adopt([record])
        self.watch_records(records, self.adopted_deadline)

    async def leave(self, record: Record) -> Record:
        """Leave a job that cannot be waited for to its callback, or to a caller of its key; returns its record."""
        if record.in_doubt:
            record = await self._note_doubt(record) if record.answer_pending else record
            self.in_doubt.listen(record)
        if (coordinator := self.context.store.coordinator) is not None:
            await coordinator.release(record)
        return record

    async def _note_doubt(self, record: Record) -> Record:
        """Record that the answer cannot come any more, so that this doubt is logged once."""
        doubted = record.advance(Snapshot(None, Status.IN_DOUBT, reason=OWNER_GONE))
        try:
            stored = await self.context.store.put(doubted)
        except WatermarkError as error:
            log.warning("job %s: %s", record.key, error)
            return record
        if not doubted.is_written(stored):
            return stored or record
        self.context.observer.job(JOB_IN_DOUBT, doubted)
        return doubted

    def is_own(self, record: Record) -> bool:
        """Whether a record belongs to this provider account."""
        return belongs_to(record, self.context.provider)

    async def deliver_again(self, records: list[Record], failed: list[Result]) -> list[Result]:
        """Give the results of jobs whose owner is gone to the result handlers; returns them if there are none.

        Those that the handlers could not handle are added to `failed` when that is known.
        """
        gone = await self.submitter.existing.are_gone(records)
        results = [self.watcher.result_of(record) for record, is_gone in zip(records, gone, strict=True) if is_gone]
        callbacks = self.context.callbacks
        if callbacks is None or not callbacks.observers.has_handlers:
            return results
        for result in results:
            self.watcher.notify_handlers(result, failed.append)
        return []

    async def forget(self, key: str) -> bool:
        """Delete the record of a job that ended or was not paid; False if there is none; see `Client.forget`."""
        if key in self.jobs:
            raise InvalidInput(f"the job {key!r} is running in this client: wait for its end")
        return await self.settlement.forget(key)

    async def settle(self, key: str, task_id: str | None, *, paid: bool | None, time_limit: float) -> ActiveJob | None:
        """Settle a job in doubt; see `Client.settle`."""
        if key in self.jobs:
            raise InvalidInput(f"the job {key!r} is running in this client: wait for its end")
        record = await self.settlement.settle(key, task_id, paid=paid)
        if task_id is None:
            await self.leave(record)
            return None
        (record,) = await self.submitter.existing.adopt([record]) or [record]
        return self.start(record, None, time_limit)

    async def find_callback(self, key_hash: str, delivery: Delivery) -> bool:
        """Whether a callback that no job in this process expects belongs to a job in the store; settles it if in doubt.

        A forwarder for stores without a coordinator: several processes on one SQLite file receive each other's
        callbacks; sharing.py passes them on to the job's own process.
        """
        record = await self.context.store.by_callback(key_hash)
        if record is None or record.provider != self.context.provider.name:
            return False
        if record.in_doubt:
            self.in_doubt.resolve(record, delivery)
        return True

    def _create_callback(self, job: Job) -> tuple[str | None, str | None]:
        """A callback URL and the hash of its key, if the provider calls back and there is a receiver."""
        if self.context.callbacks is None or not self.context.provider.capabilities_for(job).callbacks:
            return None, None
        return self.context.callbacks.create_url(callback_secret(self.context.store))

    def _serve_files(self, job: Job) -> tuple[Job, list[str]]:
        """The job with links in place of files, where the provider takes only links, and the hashes of their keys."""
        callbacks = self.context.callbacks
        if callbacks is None or self.context.provider.capabilities.files:
            return job, []
        links = [(media, "") if isinstance(media, Link) else callbacks.serve_media(media) for media in job.inputs]
        return evolve(job, inputs=tuple(link for link, _ in links)), [key_hash for _, key_hash in links if key_hash]

    def _stop_serving(self, key_hashes: list[str]) -> None:
        if self.context.callbacks is not None:
            for key_hash in key_hashes:
                self.context.callbacks.stop_serving(key_hash)

    # running

    async def _run(self, job: ActiveJob, request: SubmitRequest | None, time_limit: float) -> None:
        """The task of one job, from its slot to its end."""
        try:
            if request is not None:
                _raise_unless_accepted(await self.submitter.submit(job, request, time_limit))
                request = None  # frees the media while the job waits
            else:
                job.start_clock(time_limit)
                await self.context.until_deadline(job, self._load_record(job))
            job.mark_accepted()
            await self.watcher.wait_until_done(job)
        except WatermarkError as error:
            if isinstance(error, SubmissionInDoubt):
                error.advice = self.context.observer.settle_advice.about(job.record)
            job.fail(error.about(provider=self.context.provider.name, key=job.key, token=None))
            await self._release_lease(job)
        except asyncio.CancelledError:
            end_unfinished(job)
            raise
        except Exception as error:
            log.exception("job %s: unexpected error", job.key)
            token = job.record.token if job.may_be_paid else None
            job.fail(as_watermark_error(error).about(provider=self.context.provider.name, key=job.key, token=token))
        finally:
            self._cleanup(job)
            self._start_next()

    def _start_next(self) -> None:
        if (queued := self.admission.release()) is not None:
            self._create_task(queued.job, queued.request, queued.time_limit, queued.context)

    def _create_task(
        self, job: ActiveJob, request: SubmitRequest | None, limit: float, context: Context | None
    ) -> None:
        task = job.task = start_task(self._run(job, request, limit), context=context)
        task.add_done_callback(partial(self._on_task_done, job))

    def _on_task_done(self, job: ActiveJob, _: asyncio.Task[None]) -> None:
        # a task cancelled before its first step runs no code at all: complete the job and pass its slot on here
        if not job.done():
            self._abandon(job)
            self._start_next()

    def _abandon(self, job: ActiveJob) -> None:
        end_unfinished(job)
        self._cleanup(job)

    async def _load_record(self, job: ActiveJob) -> None:
        """Continue with what the store knows of a resumed job; a store that does not know it learns it."""
        store, from_token = self.context.store, job.snapshot
        stored = await store.get(job.key)
        if stored is None:
            account, owner = self.context.provider.account, self.context.owner
            stored = await store.open(evolve(job.record, account=account, owner=owner, epoch=new_epoch()))
        if stored is not None:
            check_same_account(stored, self.context.provider)
            if stored.unsent or (stored.in_doubt and stored.answer_pending):
                # also because the token may be of an earlier attempt, which failed
                stored = await self._await_submission(job, stored)
            job.load(stored)
            if stored.snapshot.task_id is None and from_token.task_id is not None:
                # the store failed after the job was accepted; the token has the task id
                await self.context.snapshots.record(job, from_token)
        self.submitter.listen_for_callbacks(job)

    def _cleanup(self, job: ActiveJob) -> None:
        if self.jobs.get(job.key) is job:
            del self.jobs[job.key]
        record, callbacks = job.record, self.context.callbacks
        still_listening = record.in_doubt and not record.answer_pending
        if callbacks is not None and record.callback is not None and not still_listening:
            callbacks.release(record.callback)

    # ending

    async def close(self, drain: float) -> None:
        """End all jobs: nothing new is sent; paid requests get `drain` seconds for their answers; tokens are logged.

        If it is cancelled, because the event loop is shutting down, it stops waiting and does the rest.
        """
        if asyncio.get_running_loop() is not self.loop:
            self._discard_jobs()
            return
        jobs = list(self.jobs.values())
        self.admission.close()
        unpaid = {job for job in jobs if not job.may_be_paid}
        for job in jobs:
            job.stop_if_unpaid = True  # an attempt that had no effect is not repeated
        cancel_tasks(unpaid)
        await run_all(
            lambda: self._wait_for_answers(jobs, drain),
            lambda: self._hand_over_all(jobs),
            lambda: end_tasks(jobs, unpaid, drain),
            self.submitter.close,
            self.in_doubt.close,
            lambda: self._fail_all(jobs),
            self.watcher.end_handlers,
            self.watcher.fetcher.scopes.close,
            self.context.snapshots.close,
            self.watcher.acknowledgements.close,
        )

    async def _wait_for_answers(self, jobs: list[ActiveJob], drain: float) -> None:
        waits = [job.wait_answered(self._drain_seconds(job, drain)) for job in jobs if job.may_be_paid]
        await asyncio.gather(*waits)

    async def _hand_over_all(self, jobs: list[ActiveJob]) -> None:
        for job in jobs:
            await self._hand_over(job)

    async def _fail_all(self, jobs: list[ActiveJob]) -> None:
        for job in jobs:
            end_unfinished(job)  # those whose task never ran

    def _discard_jobs(self) -> None:
        """Give up the jobs of an event loop that ended: nothing listens for their callbacks any more."""
        for job in list(self.jobs.values()):
            with suppress(RuntimeError):  # those who waited for it on the closed loop are gone
                end_unfinished(job)
            self._cleanup(job)
        self.in_doubt.stop_listening()

    def _drain_seconds(self, job: ActiveJob, drain: float) -> float:
        """How long closing waits for the answer to a paid request: as it takes, where the answer is the paid result."""
        return SUBMIT_TIMEOUT if self.context.provider.answer_is_result(job.record) else drain

    async def _hand_over(self, job: ActiveJob) -> None:
        """Let another replica take over the job now."""
        coordinator = self.context.store.coordinator
        if coordinator is not None and not job.snapshot.status.terminal:
            await coordinator.hand_over(job.record)

    async def _await_submission(self, job: ActiveJob, record: Record) -> Record:
        """Wait until another client has submitted this job, if it is alive; only that client can do it."""
        settled = await self.submitter.existing.wait_until_settled(record, job)
        if settled is None or settled.unsent:
            raise WatermarkError("the submission of this job ended before anything was paid: submit it again")
        return settled

    async def _release_lease(self, job: ActiveJob) -> None:
        """Give up the lease of a job that is not watched any more; a terminal record has given it up itself."""
        coordinator = self.context.store.coordinator
        if coordinator is not None and not job.snapshot.status.terminal:
            await coordinator.release(job.record)


def _raise_unless_accepted(outcome: SubmitOutcome) -> None:
    """Turn the outcome of a submission into what the caller sees."""
    match outcome:
        case Accepted():
            return
        case NotAccepted(error) | InDoubt(error):
            raise error
        case _:
            assert_never(outcome)
