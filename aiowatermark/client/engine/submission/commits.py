"""SubmitContext: what a submission does before, between and after the attempts of its paid request.

    before an attempt           commit: the store confirms, for this owner, epoch and version, that the request follows.
                                It then holds IN_DOUBT, and no other client sends for such a record.
    the first byte is written   the job may be paid. If the commit is older than a second by then (a slow connection, a
                                stopped process, a suspended machine), nothing is sent, and the attempt is repeated
                                after a new commit; each time the age that is allowed doubles.
    no effect, and a pause      withdraw: the store holds UPLOADING again, "nothing was paid"

What remains is the time between a commit and the first byte: in it, an operator who settles or forgets the job, or a
store that loses the commit, is not noticed. The bound is one second, and longer only where connecting takes that long
several times in a row.
"""

from __future__ import annotations

import time

from ....errors import ProviderUnavailable, WatermarkError
from ....jobs import Record, Snapshot
from ....media.base import ProgressCallback
from ...handle import ActiveJob
from ..context import EngineContext
from ..flows import SUBMIT_TIMEOUT, FlowContext
from .claims import time_since_boot
from .upload_progress import follow_upload

_MAX_COMMIT_AGE = 1.0


class SubmittedElsewhere(Exception):
    """Another client has submitted this very job; `record` is its record."""

    def __init__(self, record: Record) -> None:
        super().__init__(record.key)
        self.record = record


class SubmitContext(FlowContext):
    """The run of a submission: persists before paying, and keeps `job.may_be_paid` true while money may be spent.

    `committed_at` is when the store was last told that the request follows, on `time_since_boot`; None if it was not.
    """

    def __init__(
        self,
        context: EngineContext,
        job: ActiveJob,
        progress: ProgressCallback | None = None,
        *,
        committed_at: float | None,
        may_be_paid_already: bool = False,
    ) -> None:
        super().__init__(job.deadline, answer_timeout=SUBMIT_TIMEOUT, progress=follow_upload(job, progress))
        self._context = context
        self._job = job
        self._committed_at = committed_at
        self._max_age = _MAX_COMMIT_AGE
        self.may_be_paid_already = may_be_paid_already

    async def before_attempt(self) -> None:
        """Commit, unless that has just been done; raises SubmittedElsewhere if another client was first."""
        if self._committed_at is None or self._commit_age() > _MAX_COMMIT_AGE:
            await self._commit()

    async def _commit(self) -> None:
        started = time_since_boot()
        await self._put_own(self._job.record.commit(time.time()))
        self._committed_at = started

    def _commit_age(self) -> float:
        return time_since_boot() - (self._committed_at or 0.0)

    def on_paid_request_sent(self) -> None:
        """From the first byte on, the job may be paid; raises ProviderUnavailable if the commit is too old by then."""
        if self._commit_age() > self._max_age:
            self._max_age *= 2
            raise ProviderUnavailable("the connection took so long that nothing was sent", sent=False)
        self._job.set_may_be_paid(True)

    def on_attempt_without_effect(self) -> None:
        """The job is not paid; one that is submitted again may still be paid by its first request."""
        job = self._job
        job.set_may_be_paid(self.may_be_paid_already)
        if job.stop_if_unpaid and not job.may_be_paid and job.task is not None:
            job.task.cancel()

    async def before_pause(self, problem: WatermarkError) -> None:
        """Withdraw: the job is unsent while it waits for its next attempt, unless an earlier request may be paid."""
        self._committed_at = None
        if not self._job.may_be_paid and self._job.record.answer_pending:
            await self._put_own(self._job.record.withdraw(f"not accepted: {type(problem).__name__}"))

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
        stored = await self._context.until_deadline(self._job, self._context.store.put(record))
        if stored is None:
            raise WatermarkError("another process deleted the record of this job before anything was sent")
        if not record.is_written(stored):
            raise SubmittedElsewhere(stored)
        self._job.update(record)
        if record.snapshot.task_id is not None and record.unsent:
            self._job.mark_accepted()
