"""Submits jobs, each at most once: write the record, send the paid request, and say which of three things happened.

    Accepted       the provider has the job (here, or in the client that owns the key)
    NotAccepted    nothing was paid here; the record this client created is deleted, so the key is free
    InDoubt        the paid request may have been accepted and no usable answer came; it is not sent again

The steps, and what the store holds after each:

    _create_record       record IN_DOUBT without a reason (UPLOADING for a video): "the answer is pending"
    provider's flow      uploads first where there are any, then before_paid_request(): the record is put again, and if
                         another client has written it meanwhile, this one stops (SubmittedElsewhere)
    paid request         may_be_paid is set when its headers are written (flows.py)
    answer               recorded by SnapshotRecorder (accepted), or the record is deleted (nothing paid), or it stays
                         IN_DOUBT with a reason (in doubt)

Invariants: no byte of a paid request is sent before the record is durable; a paid request is sent again only after
an answer that proves it had no effect (flows.py), or on the user's own wish (`resubmit=True`); a record that is
deleted still belongs to this client.

Two clients that ask for one key: the second finds the record and waits for the first one's answer, at most as long
as that answer may take, and stops waiting when the first one is certainly dead.

Cancellation before the paid request removes the record; afterwards the record stays, in doubt. The engine delays a
cancellation while the paid request is in flight (`ActiveJob.wait_accepted`).
"""

from __future__ import annotations

import asyncio
import logging
from typing import TypeAlias

from attrs import define, evolve, field, frozen

from ...errors import InvalidInput, SubmissionInDoubt, WatermarkError
from ...jobs import Job, Record, Snapshot, Status
from ...media.base import ProgressCallback
from ..handle import ActiveJob
from .context import EngineContext
from .failures import nothing_was_paid, submission_in_doubt
from .flows import SUBMIT_TIMEOUT, FlowContext, loop_time
from .in_doubt import InDoubtResolver
from .owners import owner_is_dead

log = logging.getLogger("aiowatermark")

_RECHECK = 0.05
"""Seconds until another client's record is read again, at first; then half as long again each time, up to 1 s."""


@frozen(eq=False)
class SubmitRequest:
    """What a submission needs. It is dropped once the job is accepted, so that a waiting job holds no media."""

    job: Job
    progress: ProgressCallback | None = None
    callback_url: str | None = None


@frozen
class Accepted:
    """The provider has the job."""


@frozen
class NotAccepted:
    """Nothing was paid by this submission."""

    error: Exception


@frozen
class InDoubt:
    """The job may be paid and its task id is not known."""

    error: SubmissionInDoubt


SubmitOutcome: TypeAlias = Accepted | NotAccepted | InDoubt


class SubmittedElsewhere(Exception):
    """Another client has submitted this very job; `record` is its record."""

    def __init__(self, record: Record) -> None:
        super().__init__(record.key)
        self.record = record


class SubmitContext(FlowContext):
    """The run of a submission: persists before paying, and keeps `job.may_be_paid` true while money may be spent."""

    def __init__(self, context: EngineContext, job: ActiveJob, request: SubmitRequest, *, resubmission: bool) -> None:
        super().__init__(job.deadline, answer_timeout=SUBMIT_TIMEOUT, progress=_upload_progress(job, request))
        self._context = context
        self._job = job
        self._owner = job.record.owner
        self._resubmission = resubmission

    async def before_paid_request(self) -> None:
        """Persist that the paid request follows; raises SubmittedElsewhere if another client was first."""
        job = self._job
        if job.record.owner != self._owner:
            raise SubmittedElsewhere(job.record)
        record = job.record.advance(Snapshot(job.snapshot.task_id, Status.IN_DOUBT))
        if record is not job.record and (stored := await self._context.store.put(record)) is not record:
            raise SubmittedElsewhere(stored)
        job.update(record)

    def on_paid_request_sent(self) -> None:
        """From the first byte on, the job may be paid."""
        self._job.set_may_be_paid(True)

    def on_attempt_without_effect(self) -> None:
        """The job is not paid; one that is submitted again may still be paid by its first request."""
        self._job.set_may_be_paid(self._resubmission)

    async def on_snapshot(self, snapshot: Snapshot) -> None:
        """Record what the flow learned before its last request, for example a task id."""
        await self._context.snapshots.record(self._job, snapshot)


@define(eq=False)
class Submitter:
    """Submits jobs; `resubmit`: a submission in doubt is sent once more, at the risk of a second charge."""

    context: EngineContext
    in_doubt: InDoubtResolver
    resubmit: bool = False

    async def submit(self, job: ActiveJob, request: SubmitRequest) -> SubmitOutcome:
        """Create the job's record and send it, unless its key has been submitted before."""
        try:
            existing = await self._create_record(job.record)
            if existing is not None and (outcome := await self._join_existing(job, existing)) is not None:
                return outcome
        except WatermarkError as error:  # the store failed, or the key names another job: nothing was sent
            return NotAccepted(error)
        self.listen_for_callbacks(job)
        outcome = await self._run_submit_flow(job, request)
        return await self._resolve_doubt(job, request, outcome) if isinstance(outcome, InDoubt) else outcome

    def listen_for_callbacks(self, job: ActiveJob) -> None:
        """Pass callbacks for this job to it from now on."""
        if self.context.callbacks is not None and job.record.callback is not None:
            self.context.callbacks.expect(job.record.callback, job.on_delivery)

    async def _create_record(self, record: Record) -> Record | None:
        """Insert the record before anything is sent; returns the record that has the key already, if there is one."""
        store = self.context.store
        try:
            return await store.open(record)
        except asyncio.CancelledError:
            # the insertion may have happened; nothing was sent for it, so it is taken back
            existing = await store.get(record.key)
            if existing is not None and _insertion_id(existing) == _insertion_id(record):
                await store.forget(record.key)
            raise

    async def _join_existing(self, job: ActiveJob, existing: Record) -> SubmitOutcome | None:
        """Take over the record of the same job; None if it is left to this client to send it."""
        mine = job.record
        check_same_job(existing, mine.fingerprint)
        job.update(await self._await_other_owner(existing, mine))
        if job.record.in_doubt:
            return InDoubt(submission_in_doubt(job.record, None))
        if not job.record.unsent:
            self.listen_for_callbacks(job)
            job.set_may_be_paid(True)
            return Accepted()
        job.update(evolve(job.record, owner=mine.owner))
        return None

    async def _await_other_owner(self, existing: Record, mine: Record) -> Record:
        """The record after its owner got its answer, had the time for it, or died."""
        until = loop_time() + SUBMIT_TIMEOUT - max(0.0, mine.created_at - existing.created_at)
        pause = _RECHECK
        while _is_pending_elsewhere(existing, mine) and loop_time() < until and not await self._is_orphaned(existing):
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, 1.0)
            existing = await self.context.store.get(existing.key) or existing
        return existing

    async def _is_orphaned(self, record: Record) -> bool:
        """Whether the record's owner is certainly dead, so that its answer will never be recorded."""
        coordinator = self.context.store.coordinator
        return owner_is_dead(record.owner) or (coordinator is not None and await coordinator.claim(record))

    async def _run_submit_flow(
        self, job: ActiveJob, request: SubmitRequest, *, resubmission: bool = False
    ) -> SubmitOutcome:
        """Run the provider's submit flow once; deletes the record if nothing was paid."""
        context, owner = self.context, job.record.owner
        flow = context.provider.submit(request.job, request.callback_url)
        try:
            snapshot = await context.flows.run(flow, SubmitContext(context, job, request, resubmission=resubmission))
        except SubmittedElsewhere as elsewhere:
            job.update(elsewhere.record)
            return Accepted()
        except asyncio.CancelledError:
            if not job.may_be_paid:
                await self._forget(job.key, owner)
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, money may have been spent
            if job.may_be_paid and not nothing_was_paid(error):
                return InDoubt(submission_in_doubt(job.record, error))
            if not resubmission:
                await self._forget(job.key, owner)
            return NotAccepted(error)
        await context.snapshots.record(job, snapshot)
        return Accepted()

    async def _resolve_doubt(self, job: ActiveJob, request: SubmitRequest, outcome: InDoubt) -> SubmitOutcome:
        """Try to settle a doubt by a callback that arrived; else record it, and submit again if the user asked to."""
        if await self.in_doubt.try_resolve(job):
            return Accepted()
        reason = outcome.error.message
        await self.context.snapshots.record(job, Snapshot(job.snapshot.task_id, Status.IN_DOUBT, reason=reason))
        if not self.resubmit:
            return await self._leave_in_doubt(job, outcome)
        log.warning("job %s is in doubt and is submitted again, as resubmit=True asks for", job.key)
        second = await self._run_submit_flow(job, request, resubmission=True)
        if isinstance(second, NotAccepted):  # the second request was refused; the first one is still in doubt
            second = InDoubt(submission_in_doubt(job.record, second.error))
        return await self._leave_in_doubt(job, second) if isinstance(second, InDoubt) else second

    async def _leave_in_doubt(self, job: ActiveJob, outcome: InDoubt) -> SubmitOutcome:
        """Go on listening for a callback; one that arrived while the doubt was recorded settles it now."""
        self.in_doubt.listen(job.record)
        return Accepted() if await self.in_doubt.try_resolve(job) else outcome

    async def _forget(self, key: str, owner: str) -> None:
        """Delete the record of a job that was not paid, unless another client has taken it over."""
        existing = await self.context.store.get(key)
        if existing is None or existing.owner == owner:
            await self.context.store.forget(key)


def check_same_job(record: Record, fingerprint: str) -> None:
    """Raise InvalidInput if the record's key belongs to another job."""
    if record.fingerprint and fingerprint and record.fingerprint != fingerprint:
        raise InvalidInput(f"the key {record.key!r} belongs to another job: use another key for this one")


def _insertion_id(record: Record) -> tuple[object, ...]:
    """Identifies one insertion, so that cancelling it never deletes an older record with the same key."""
    return record.owner, record.created_at, record.version


def _is_pending_elsewhere(existing: Record, mine: Record) -> bool:
    """Whether another owner may still record the answer to its paid request."""
    return existing.answer_pending and existing.owner != mine.owner


def _upload_progress(job: ActiveJob, request: SubmitRequest) -> UploadProgress | None:
    """Progress is followed where someone sees it: the caller's function, or the handle of a video."""
    if request.progress is None and not job.record.video:
        return None
    return UploadProgress(job, request.progress)


@define(eq=False)
class UploadProgress:
    """Passes upload progress to the job's handle and to the caller's function, which is dropped if it raises."""

    job: ActiveJob
    function: ProgressCallback | None
    _published: float = field(default=0.0, init=False)

    def __call__(self, sent: int, total: int | None) -> None:
        """Called by the transport as bytes are sent."""
        record = self.job.record
        if record.unsent and total and self._should_publish(sent / total):
            snapshot = Snapshot(record.snapshot.task_id, Status.UPLOADING, sent / total)
            # in memory only, so the version stays: the store's versions count what crash recovery needs
            self.job.update(evolve(record.advance(snapshot), version=record.version))
        if self.function is not None:
            self._call(self.function, sent, total)

    def _should_publish(self, share: float) -> bool:
        """Publish at most one snapshot per percent; a restarted upload goes back and is published, too."""
        publish = share >= self._published + 0.01 or share == 1.0 or share < self._published
        if publish:
            self._published = share
        return publish

    def _call(self, function: ProgressCallback, sent: int, total: int | None) -> None:
        try:
            function(sent, total)
        except Exception:
            self.function = None
            log.exception("job %s: its progress function raised and is not called again; the job goes on", self.job.key)
