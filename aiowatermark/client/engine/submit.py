"""A submission: written down before a byte leaves, sent once, and ended as accepted, rejected or in doubt."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from attrs import define, evolve, field, frozen

from ...errors import InvalidInput, SubmissionInDoubt, WatermarkError
from ...jobs import Job, Record, Snapshot, Status
from ...media.base import ProgressCallback
from ...provider import Provider
from ...stores import JobStore
from ..handle import JobHandle
from .failures import SubmittedElsewhere, nothing_was_paid, submission_in_doubt, unsettled
from .flows import SUBMIT_TIMEOUT, FlowContext, FlowRunner, loop_time
from .in_doubt import InDoubtResolver
from .owners import owner_is_dead
from .snapshots import SnapshotRecorder

if TYPE_CHECKING:
    from ...callbacks.receiver import CallbackReceiver

log = logging.getLogger("aiowatermark")

_RECHECK = 0.05


@frozen(eq=False)
class SubmitRequest:
    """What a job needs until the provider has it: kept no longer, so that a waiting job holds no media."""

    job: Job
    progress: ProgressCallback | None = None
    callback_url: str | None = None


class SubmitContext(FlowContext):
    """The conversation that costs: what it is about to do is written down, and its handle knows what has left."""

    def __init__(
        self, store: JobStore, gate: SnapshotRecorder, handle: JobHandle, order: SubmitRequest, *, again: bool
    ) -> None:
        super().__init__(handle.deadline, answer_timeout=SUBMIT_TIMEOUT, progress=_upload_progress(handle, order))
        self._store = store
        self._snapshots = gate
        self._handle = handle
        self._owner = handle.record.owner
        self._again = again

    async def before_paid_request(self) -> None:
        """The last step before money: what is about to be sent stands in the store, and nobody was quicker."""
        handle = self._handle
        if handle.record.owner != self._owner:
            raise SubmittedElsewhere(handle.record)
        record = handle.record.advance(Snapshot(handle.task_id, Status.IN_DOUBT))
        if record is not handle.record and (stored := await self._store.put(record)) is not record:
            raise SubmittedElsewhere(stored)
        handle.update(record)

    def set_paid_request_in_flight(self, *, left: bool) -> None:
        """A first request that is in doubt stays so, whatever becomes of a second."""
        self._handle.may_be_paid = left or self._again

    async def on_snapshot(self, snapshot: Snapshot) -> None:
        """Remember it."""
        await self._snapshots.record(self._handle, snapshot)


@define(eq=False)
class Submitter:
    """Sends jobs, each at most once."""

    provider: Provider
    flows: FlowRunner
    store: JobStore
    in_doubt: InDoubtResolver
    snapshots: SnapshotRecorder
    receiver: CallbackReceiver | None = None
    resubmit: bool = False

    async def submit(self, handle: JobHandle, order: SubmitRequest) -> None:
        """Write the job down, then send it; raises one of the three outcomes' errors, or returns accepted."""
        mine = handle.record
        if (known := await self._create_record(mine)) is not None:
            check_same_job(known, mine.fingerprint)
            handle.update(await self._await_other_owner(known, mine))
            if unsettled(handle.record):
                raise submission_in_doubt(handle, None)
            self.listen_for_callbacks(handle)
            if handle.snapshot.status is not Status.UPLOADING:
                handle.may_be_paid = True
                return
            handle.update(evolve(handle.record, owner=mine.owner))  # from here on it is ours to send
        self.listen_for_callbacks(handle)
        try:
            await self._send(handle, order)
        except SubmittedElsewhere as error:
            handle.update(error.record)
        except SubmissionInDoubt as error:
            await self._resolve_doubt(handle, order, error)

    def listen_for_callbacks(self, handle: JobHandle) -> None:
        """From now on a callback of this job rings its bell."""
        if self.receiver is not None and handle.record.callback is not None:
            self.receiver.expect(handle.record.callback, handle.on_delivery)

    async def _create_record(self, mine: Record) -> Record | None:
        """Write it down before a byte leaves. Called off in the middle: nothing was sent, so nothing stays written."""
        try:
            return await self.store.open(mine)
        except asyncio.CancelledError:
            known = await self.store.get(mine.key)
            if known is not None and _insertion_id(known) == _insertion_id(mine):
                await self.store.forget(mine.key)
            raise

    async def _resolve_doubt(self, handle: JobHandle, order: SubmitRequest, error: SubmissionInDoubt) -> None:
        """What is done about a doubt: a callback may have settled it; else it is remembered and raised."""
        if await self.in_doubt.try_resolve(handle):
            return None
        await self.snapshots.record(handle, Snapshot(handle.task_id, Status.IN_DOUBT, reason=error.message))
        if not self.resubmit:
            return await self._leave_in_doubt(handle, error)
        log.warning("job %s is in doubt and, as was asked for, submitted once more", handle.key)
        try:
            await self._send(handle, order, again=True)
        except SubmissionInDoubt as second:
            await self._leave_in_doubt(handle, second)
        except WatermarkError as second:  # refused or not: the first request stays in doubt
            await self._leave_in_doubt(handle, submission_in_doubt(handle, second))

    async def _leave_in_doubt(self, handle: JobHandle, error: SubmissionInDoubt) -> None:
        """Go on listening for a callback; one that came while the doubt was written down settles it at once."""
        self.in_doubt.keep_listening(handle)
        if not await self.in_doubt.try_resolve(handle):
            raise error

    async def _await_other_owner(self, known: Record, mine: Record) -> Record:
        """A record that another client opened, once that client's paid request had the time to be answered."""
        until = loop_time() + SUBMIT_TIMEOUT - max(0.0, mine.created_at - known.created_at)
        pause = _RECHECK
        while _is_in_flight_elsewhere(known, mine) and loop_time() < until and not await self._owner_is_gone(known):
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, 1.0)
            known = await self.store.get(known.key) or known
        return known

    async def _owner_is_gone(self, known: Record) -> bool:
        """Whether whoever sent it is certainly gone, so that no answer will be written down any more."""
        coordinator = self.store.coordinator
        return owner_is_dead(known.owner) or (coordinator is not None and await coordinator.claim(known))

    async def _send(self, handle: JobHandle, order: SubmitRequest, *, again: bool = False) -> None:
        owner = handle.record.owner
        turn = SubmitContext(self.store, self.snapshots, handle, order, again=again)
        try:
            snapshot = await self.flows.run(self.provider.submit(order.job, order.callback_url), turn)
        except SubmittedElsewhere:
            raise
        except (Exception, asyncio.CancelledError) as error:
            if handle.may_be_paid and not (isinstance(error, Exception) and nothing_was_paid(error)):
                raise (submission_in_doubt(handle, error) if isinstance(error, Exception) else error) from None
            if not again:
                await self._forget(handle, owner)
            raise
        await self.snapshots.record(handle, snapshot)

    async def _forget(self, handle: JobHandle, owner: str) -> None:
        """Nothing was paid here: what is remembered goes, unless another client has made it its own meanwhile."""
        known = await self.store.get(handle.key)
        if known is None or known.owner == owner:
            await self.store.forget(handle.key)


def _insertion_id(record: Record) -> tuple[object, ...]:
    """What tells an opening from all others, and from what came of it: an earlier one of this client may be paid."""
    return record.owner, record.created_at, record.version


def _is_in_flight_elsewhere(known: Record, mine: Record) -> bool:
    """Whether another client may be waiting for the answer right now."""
    return unsettled(known) and known.snapshot.reason is None and known.owner != mine.owner


def _upload_progress(handle: JobHandle, order: SubmitRequest) -> ProgressCallback | None:
    """Who wants to know how far the upload is: a picture's is over before anybody holds its handle."""
    return UploadProgress(handle, order.progress) if order.job.video or order.progress is not None else None


def check_same_job(known: Record, fingerprint: str) -> None:
    """Raise InvalidInput where a used key is to name another job."""
    if known.fingerprint and fingerprint and known.fingerprint != fingerprint:
        raise InvalidInput(f"the key {known.key!r} belongs to another job: use a key of its own for this one")


@define(eq=False)
class UploadProgress:
    """Called as bytes leave; a callback that raises is logged once and called no more."""

    handle: JobHandle
    caller: ProgressCallback | None
    _last_share: float = field(default=0.0, init=False)

    def __call__(self, sent: int, total: int | None) -> None:
        """So many bytes of so many have left."""
        record = self.handle.record
        if record.snapshot.status is Status.UPLOADING and total and self._should_publish(sent / total):
            moved = record.advance(Snapshot(record.snapshot.task_id, Status.UPLOADING, sent / total))
            # only in memory: the store's versions are for what matters after a crash
            self.handle.update(evolve(moved, version=record.version))
        if self.caller is not None:
            self._call(self.caller, sent, total)

    def _should_publish(self, share: float) -> bool:
        """Whether watchers would see a difference: a hundred snapshots a film, however long it is."""
        worth = share >= self._last_share + 0.01 or share == 1.0 or share < self._last_share
        if worth:
            self._last_share = share
        return worth

    def _call(self, caller: ProgressCallback, sent: int, total: int | None) -> None:
        try:
            caller(sent, total)
        except Exception:
            self.caller = None
            log.exception("progress of job %s raised and is told no more; the job goes on", self.handle.key)
