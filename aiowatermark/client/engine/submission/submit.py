"""Submits jobs, each at most once: write the record, send the paid request, and say which of three things happened.

    Accepted       the provider has the job (here, or in the client that owns the key)
    NotAccepted    nothing was paid here; the record this client created is deleted, so the key is free
    InDoubt        the paid request may have been accepted and no usable answer came; it is not sent again

The steps, and what the store holds after each:

    _create_record       record IN_DOUBT without a reason: "the answer is pending"; UPLOADING for a video, and where the
                         paid request waits for the account's rate
    provider's flow      uploads first where there are any; then each attempt of the paid request is committed
                         (commits.py), and if another client has the job by now, this one stops
    paid request         may_be_paid is set when its headers are written (flows.py)
    answer               recorded by SnapshotRecorder (accepted), or the record is deleted (deletions.py, nothing paid),
                         or it stays IN_DOUBT with a reason (in doubt)

Invariants: no byte of a paid request is sent before the store has confirmed, for this owner and epoch, that it follows;
a paid request is sent again only after an answer that proves it had no effect (flows.py), or on the user's own wish
(`resubmit=True`); a record that is deleted still belongs to this client.

Several clients that ask for one key: the first creates the record, the others find it and wait, without a submit slot,
until it is settled (existing.py):

    its answer is recorded          they have the same job; if it failed, `again=True` replaces it by a new charge
    its record is deleted           the key is free (rejected, cancelled): the next one creates the record anew
    its owner is gone               a submission that was sent is in doubt; one that was not sent (a video during its
                                    upload) is taken over by exactly one of them, by a conditional write
    no answer in SUBMIT_TIMEOUT     in doubt

Cancellation before the paid request removes the record; afterwards the record stays, in doubt. The engine delays a
cancellation while the paid request is in flight (`ActiveJob.wait_accepted`).
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TypeAlias

from attrs import define, evolve, frozen

from ....errors import DeadlineExceeded, StoreError, SubmissionInDoubt, Unsupported, WatermarkError
from ....jobs import Job, Record, Snapshot, Status
from ....media.base import ProgressCallback
from ....media.fingerprints import complete_fingerprint, has_unknown_content
from ...extra_fields import send_extra_fields
from ...handle import ActiveJob
from ..context import EngineContext
from ..failures import check_snapshot, nothing_was_paid, submission_in_doubt, within_deadline
from ..in_doubt import InDoubtResolver
from ..sharing import SubmitSlots
from .claims import new_epoch, time_since_boot
from .commits import SubmitContext, SubmittedElsewhere
from .deletions import RecordDeletions
from .existing import ExistingRecords, check_same_account, check_same_job

log = logging.getLogger("aiowatermark")


@frozen(eq=False)
class SubmitRequest:
    """What a submission needs. It is dropped once the job is accepted, so that a waiting job holds no media."""

    job: Job
    progress: ProgressCallback | None = None
    callback_url: str | None = None
    again: bool = False


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


@define(eq=False)
class Submitter:
    """Submits jobs; `resubmit`: a submission in doubt is sent once more, at the risk of a second charge."""

    context: EngineContext
    slots: SubmitSlots
    in_doubt: InDoubtResolver
    existing: ExistingRecords
    deletions: RecordDeletions
    resubmit: bool = False

    async def submit(self, job: ActiveJob, request: SubmitRequest, time_limit: float) -> SubmitOutcome:
        """Send the job, unless its key was submitted before; `time_limit` (seconds) counts from its submit slot."""
        mine, taken_over = job.record, False
        try:
            if job.key in self.deletions.under_way:
                await self.deletions.wait(job.key, time_limit)
            while True:
                async with self.slots.slot():
                    job.start_clock(time_limit)
                    committed_at = time_since_boot()
                    existing = None if taken_over else await self._create_record(job, mine)
                    if existing is None:
                        try:
                            return await self._send(job, request, None if job.record.unsent else committed_at)
                        except SubmittedElsewhere as elsewhere:
                            existing = elsewhere.record
                async with within_deadline(job):
                    joined = await self._join_existing(job, existing, mine, again=request.again)
                if joined is not None and not isinstance(joined, Record):
                    return joined
                taken_over = joined is not None
                job.update(joined or mine, announce=False)
        except WatermarkError as error:  # the store failed, or the key names another job
            return InDoubt(submission_in_doubt(job.record, error)) if job.may_be_paid else NotAccepted(error)
        except asyncio.CancelledError:
            if taken_over and not job.may_be_paid:
                await self._delete_unpaid(job.record)
            raise
        finally:
            self.deletions.failed.pop(job.key, None)

    async def _send(self, job: ActiveJob, request: SubmitRequest, committed_at: float | None) -> SubmitOutcome:
        self.listen_for_callbacks(job)
        run = SubmitContext(self.context, job, request.progress, committed_at=committed_at)
        outcome = await self._run_submit_flow(job, request, run)
        return await self._resolve_doubt(job, request, outcome) if isinstance(outcome, InDoubt) else outcome

    def listen_for_callbacks(self, job: ActiveJob) -> None:
        """Pass callbacks for this job to it from now on."""
        if self.context.callbacks is not None and job.record.callback is not None:
            self.context.callbacks.expect(job.record.callback, job.on_delivery)

    async def _create_record(self, job: ActiveJob, record: Record) -> Record | None:
        """Insert the record before anything is sent; returns the record that has the key already, if there is one.

        If the request must wait for the account's rate, the record is unsent until its turn: a process that is killed
        while it waits leaves nothing in doubt.
        """
        if record.answer_pending and self.context.flows.rate_limiter.may_wait:
            record = evolve(record, snapshot=Snapshot(None, Status.UPLOADING), attempts=())
            job.update(record, announce=False)
        try:
            return await self.context.until_deadline(job, self.context.store.open(record))
        except (asyncio.CancelledError, DeadlineExceeded):
            # the insertion may have happened; nothing was sent for it, so it is taken back
            await self._delete_unpaid(record)
            raise

    async def _join_existing(
        self, job: ActiveJob, existing: Record, mine: Record, *, again: bool
    ) -> SubmitOutcome | Record | None:
        """Share the job of an existing record.

        Returns a record if this client has taken it over and must send it, None if the key is free.
        """
        check_same_account(existing, self.context.provider)
        check_same_job(existing, mine.fingerprint)
        settled = await self.existing.wait_until_settled(existing, job)
        if settled is None:
            return None
        failed = again and settled.snapshot.status is Status.FAILED
        if settled.unsent or failed:
            taken_over = await self.existing.take_over(settled, mine)
            if taken_over is None:  # another client was first: wait for that one
                current = await self.context.store.get(job.key)
                return None if current is None else await self._join_existing(job, current, mine, again=again)
            if failed:
                self.deletions.failed[job.key] = settled
            return taken_over
        job.join(settled)
        if settled.in_doubt:
            return InDoubt(submission_in_doubt(settled, None))
        self.listen_for_callbacks(job)
        job.set_may_be_paid(True)
        return Accepted()

    async def _run_submit_flow(self, job: ActiveJob, request: SubmitRequest, run: SubmitContext) -> SubmitOutcome:
        """Run the provider's submit flow once; deletes the record if nothing was paid."""
        context = self.context
        flow = send_extra_fields(context.provider.submit(request.job, request.callback_url), request.job)
        try:
            snapshot = await context.flows.run(flow, run)
            check_snapshot(snapshot, "submit()")
        except SubmittedElsewhere:
            raise
        except asyncio.CancelledError:
            if not job.may_be_paid:
                await self._delete_unpaid(job.record)
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, money may have been spent
            if job.may_be_paid and not nothing_was_paid(error):
                return InDoubt(submission_in_doubt(job.record, error))
            if run.may_be_paid_already:
                return NotAccepted(error)
            if (elsewhere := await self._delete_unpaid(job.record)) is not None:
                raise SubmittedElsewhere(elsewhere) from None  # refused, because another client was faster
            return NotAccepted(error)
        if has_unknown_content(job.record.fingerprint):
            complete = complete_fingerprint(job.record.fingerprint, request.job.fingerprint)
            job.update(evolve(job.record, fingerprint=complete), announce=False)
        job.keep_answer(snapshot, run.answer)
        await context.snapshots.record(job, snapshot)
        return Accepted()

    async def _resolve_doubt(self, job: ActiveJob, request: SubmitRequest, outcome: InDoubt) -> SubmitOutcome:
        """Try to settle a doubt by a callback that arrived; else record it, and submit again if the user asked to."""
        if await self.in_doubt.try_resolve(job):
            return Accepted()
        await self._record_doubt(job, outcome)
        if not self.resubmit:
            return await self._leave_in_doubt(job, outcome)
        log.warning("job %s is in doubt and is submitted again, because of resubmit=True", job.key)
        run = SubmitContext(self.context, job, request.progress, committed_at=None, may_be_paid_already=True)
        second = await self._run_submit_flow(job, request, run)
        if isinstance(second, NotAccepted):  # the second request was refused; the first one is still in doubt
            second = InDoubt(submission_in_doubt(job.record, second.error))
        if isinstance(second, Accepted):
            return second
        await self._record_doubt(job, second)
        return await self._leave_in_doubt(job, second)

    async def _record_doubt(self, job: ActiveJob, outcome: InDoubt) -> None:
        """Record why the answer is not known."""
        snapshot = Snapshot(job.snapshot.task_id, Status.IN_DOUBT, reason=outcome.error.message)
        await self.context.snapshots.record(job, snapshot)

    async def _leave_in_doubt(self, job: ActiveJob, outcome: InDoubt) -> SubmitOutcome:
        """Go on listening for a callback; one that arrived while the doubt was recorded settles it now."""
        self.in_doubt.listen(job.record)
        if await self.in_doubt.try_resolve(job):
            return Accepted()
        return outcome

    async def start_uploaded(self, job: ActiveJob) -> None:
        """Start a video that the provider has and that is not started, because the request to start it was lost.

        Does nothing while another client may be about to start it. Raises a WatermarkError if it cannot be started;
        nothing was paid then, and its key can be submitted again.
        """
        context, record = self.context, job.record
        if record.owner != context.owner and not await self.context.is_gone(record):
            return
        committed_at = time_since_boot()
        committed = record.commit(time.time(), context.owner, new_epoch())
        try:
            stored = await context.until_deadline(job, context.store.put(committed))
        except StoreError as error:
            log.warning("job %s is not started yet: %s", job.key, error)
            return
        if not committed.is_written(stored):
            return
        job.update(committed)
        run = SubmitContext(context, job, committed_at=committed_at, may_be_paid_already=True)
        try:
            await context.snapshots.record(job, await context.flows.run(context.provider.start(committed), run))
        except SubmittedElsewhere:
            log.info("job %s is started by another client", job.key)
        except WatermarkError as error:
            if not self._is_final_refusal(job, error):
                log.info("job %s: the request to start it failed: %s", job.key, error)
                return
            await context.store.put(job.record.withdraw(f"not started: {type(error).__name__}"))
            raise

    @staticmethod
    def _is_final_refusal(job: ActiveJob, error: WatermarkError) -> bool:
        """Whether a failed start proves that nothing was paid.

        A refusal may mean that another request has started the job: it counts when the provider says once more that
        it was not, and refuses again.
        """
        refused_before, job.start_refused = job.start_refused, nothing_was_paid(error)
        return isinstance(error, Unsupported) or (refused_before and job.start_refused)

    async def _delete_unpaid(self, record: Record) -> Record | None:
        """Delete the record of a job that was not paid; returns the one that stays, as `RecordDeletions.delete`."""
        self.context.snapshots.drop_unwritten(record.key)
        return await self.deletions.delete(record)

    async def close(self) -> None:
        """Stop deleting records of unpaid jobs."""
        await self.deletions.close()
