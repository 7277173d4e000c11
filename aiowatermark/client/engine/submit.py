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

Several clients that ask for one key: the first creates the record, the others find it and wait, without a submit slot,
until it is settled:

    its answer is recorded          they have the same job
    its record is deleted           the key is free (rejected, cancelled): the next one creates the record anew
    its owner is certainly dead     a submission that was sent is in doubt; one that was not sent (a video during its
                                    upload) is taken over by exactly one of them, by a conditional write
    no answer in SUBMIT_TIMEOUT     in doubt

Cancellation before the paid request removes the record; afterwards the record stays, in doubt. The engine delays a
cancellation while the paid request is in flight (`ActiveJob.wait_accepted`).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TypeAlias

from attrs import define, evolve, field, frozen

from ...errors import InvalidInput, StoreError, SubmissionInDoubt, WatermarkError
from ...jobs import Job, Record, Snapshot, Status
from ...media.base import ProgressCallback
from ...provider import Provider
from ..handle import ActiveJob
from .context import EngineContext
from .failures import deadline_exceeded, nothing_was_paid, submission_in_doubt
from .flows import SUBMIT_TIMEOUT, FlowContext, loop_time
from .in_doubt import InDoubtResolver
from .owners import owner_is_dead
from .sharing import SubmitSlots
from .upload_progress import follow_upload

log = logging.getLogger("aiowatermark")

_DELETION_RETRY, _MAX_DELETION_RETRY = 0.5, 30.0
"""Seconds until the deletion of an unpaid job's record is tried again, at first and at most."""
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
        super().__init__(job.deadline, answer_timeout=SUBMIT_TIMEOUT, progress=follow_upload(job, request.progress))
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
        if record is not job.record:
            await self._put_own(record)

    def on_paid_request_sent(self) -> None:
        """From the first byte on, the job may be paid."""
        self._job.set_may_be_paid(True)

    def on_attempt_without_effect(self) -> None:
        """The job is not paid; one that is submitted again may still be paid by its first request."""
        job = self._job
        job.set_may_be_paid(self._resubmission)
        if job.stop_if_unpaid and not job.may_be_paid and job.task is not None:
            job.task.cancel()

    async def on_snapshot(self, snapshot: Snapshot) -> None:
        """Record what the flow learned before its last request, for example a task id.

        Raises SubmittedElsewhere if another client has taken the job over: its record must not get our task id.
        """
        job = self._job
        if job.may_be_paid:
            await self._context.snapshots.record(job, snapshot)
        elif (record := job.record.advance(snapshot)) is not job.record:
            await self._put_own(record)

    async def _put_own(self, record: Record) -> None:
        async with self._until_deadline():
            stored = await self._context.store.put(record)
        if stored != record:  # compared by value: a store may return a copy
            raise SubmittedElsewhere(stored)
        self._job.update(record)
        if record.snapshot.task_id is not None and record.unsent:
            self._job.mark_accepted()

    @asynccontextmanager
    async def _until_deadline(self) -> AsyncIterator[None]:
        """Bound a wait for the store before anything is paid; raises DeadlineExceeded: then nothing is sent."""
        try:
            async with asyncio.timeout_at(self.deadline):
                yield
        except TimeoutError:
            raise deadline_exceeded(self._job.record, None) from None


@define(eq=False)
class Submitter:
    """Submits jobs; `resubmit`: a submission in doubt is sent once more, at the risk of a second charge."""

    context: EngineContext
    slots: SubmitSlots
    in_doubt: InDoubtResolver
    resubmit: bool = False
    _deletions: dict[str, asyncio.Task[None]] = field(factory=dict, init=False)

    async def submit(self, job: ActiveJob, request: SubmitRequest, time_limit: float) -> SubmitOutcome:
        """Send the job, unless its key was submitted before; `time_limit` (seconds) counts from its submit slot."""
        mine, taken_over = job.record, False
        try:
            await self._await_deletion(job.key, time_limit)
            while True:
                async with self.slots.slot():
                    job.start_clock(time_limit)
                    existing = None if taken_over else await self._create_record(mine)
                    if existing is None:
                        try:
                            return await self._send(job, request)
                        except SubmittedElsewhere as elsewhere:
                            existing = elsewhere.record
                joined = await self._join_existing(job, existing, mine)
                if joined is not None and not isinstance(joined, Record):
                    return joined
                taken_over = joined is not None
                job.update(joined or mine, announce=False)
        except WatermarkError as error:  # the store failed, or the key names another job
            return InDoubt(submission_in_doubt(job.record, error)) if job.may_be_paid else NotAccepted(error)
        except asyncio.CancelledError:
            if taken_over and not job.may_be_paid:
                await self._forget(job.key, self.context.owner)
            raise

    async def _await_deletion(self, key: str, seconds: float) -> None:
        """Wait until the record of an earlier submission under this key, which was not paid, is deleted."""
        deletion = self._deletions.get(key)
        if deletion is not None and not (await asyncio.wait([deletion], timeout=seconds))[0]:
            raise StoreError(f"the key {key!r} was not paid, but the store cannot delete its record: try again later")

    async def _send(self, job: ActiveJob, request: SubmitRequest) -> SubmitOutcome:
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

    async def _join_existing(self, job: ActiveJob, existing: Record, mine: Record) -> SubmitOutcome | Record | None:
        """Share the job of an existing record.

        Returns a record if this client has taken it over and has to send it, None if the key is free.
        """
        check_same_account(existing, self.context.provider)
        check_same_job(existing, mine.fingerprint)
        settled = await self.await_other_owner(existing, mine.owner, job.deadline)
        if settled is None:
            return None
        if settled.unsent:
            taken_over = evolve(settled, owner=mine.owner, callback=mine.callback, version=settled.version + 1)
            stored = await self.context.store.put(taken_over)
            # another client may have taken it over first: then wait for that one
            return taken_over if stored == taken_over else await self._join_existing(job, stored, mine)
        job.update(settled)
        if settled.in_doubt:
            return InDoubt(submission_in_doubt(settled, None))
        self.listen_for_callbacks(job)
        job.set_may_be_paid(True)
        return Accepted()

    async def await_other_owner(self, record: Record, owner: str, deadline: float) -> Record | None:
        """Wait until the record of another owner is settled; see the head of this module. None if it was deleted.

        Raises DeadlineExceeded if its upload has not ended by `deadline`, a time on the loop's clock.
        """
        existing: Record | None = record
        pause, answer_until = _RECHECK, None
        while existing is not None and existing.owner != owner and not await self._is_orphaned(existing):
            if existing.answer_pending:
                answer_until = answer_until or loop_time() + _answer_seconds_left(existing)
                if loop_time() >= answer_until:
                    break
            elif not existing.unsent:
                break
            elif loop_time() >= deadline:
                raise deadline_exceeded(existing, None)
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, 1.0)
            existing = await self.context.store.get(existing.key)
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
        except SubmittedElsewhere:
            raise
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
        """Delete the record of a job that was not paid, unless another client has taken it over.

        If the store fails, it is tried again in the background: what ended the submission matters more to its caller.
        """
        self.context.snapshots.drop_unwritten(key)
        try:
            await self._forget_now(key, owner)
        except Exception as error:  # noqa: BLE001 - a custom store may raise anything
            log.warning("job %s: nothing was paid, but its record could not be deleted yet: %s", key, error)
            task = self._deletions[key] = asyncio.create_task(self._forget_later(key, owner))
            task.add_done_callback(lambda _: self._deletions.pop(key, None))

    async def _forget_now(self, key: str, owner: str) -> None:
        existing = await self.context.store.get(key)
        if existing is not None and existing.owner == owner:
            await self.context.store.forget(key)

    async def _forget_later(self, key: str, owner: str) -> None:
        pause = _DELETION_RETRY
        while True:
            await asyncio.sleep(pause)
            pause = min(pause * 2, _MAX_DELETION_RETRY)
            with suppress(Exception):
                return await self._forget_now(key, owner)

    async def close(self) -> None:
        """Stop deleting records of unpaid jobs; one that is left keeps its key in doubt, and the log says so."""
        for key, task in list(self._deletions.items()):
            log.warning("job %s was not paid, but its record could not be deleted: `forget` its key", key)
            task.cancel()
        await asyncio.gather(*self._deletions.values(), return_exceptions=True)


def check_same_account(record: Record, provider: Provider) -> None:
    """Raise InvalidInput if the record's key belongs to a job at another provider or of another account."""
    if record.provider != provider.name:
        raise InvalidInput(
            f"the key {record.key!r} belongs to a job at {record.provider}: use another key for this one"
        )
    if record.account not in {"", provider.account}:
        raise InvalidInput(
            f"the key {record.key!r} belongs to a job of another {provider.display_name} account: use another key, or "
            "give both the same `account=` if only the API key has changed"
        )


def check_same_job(record: Record, fingerprint: str) -> None:
    """Raise InvalidInput if the record's key belongs to another job."""
    if record.fingerprint and fingerprint and record.fingerprint != fingerprint:
        raise InvalidInput(f"the key {record.key!r} belongs to another job: use another key for this one")


def _insertion_id(record: Record) -> tuple[object, ...]:
    """Identifies one insertion, so that cancelling it never deletes an older record with the same key."""
    return record.owner, record.created_at, record.version


def _answer_seconds_left(record: Record) -> float:
    """Seconds that the answer to a paid request may still take; an image's request was sent when it was created."""
    # a record of another machine may be dated in the future: clocks differ
    age = 0.0 if record.video else max(0.0, time.time() - record.created_at)
    return max(0.0, SUBMIT_TIMEOUT - age)
