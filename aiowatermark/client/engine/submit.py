"""A submission: written down before a byte leaves, sent once, and ended as accepted, rejected or in doubt."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from attrs import define, evolve, field, frozen

from ...errors import InvalidInput, SubmissionInDoubt, WatermarkError
from ...jobs import Job, Record, Snapshot, Status
from ...provider import Provider
from ...stores import JobStore
from ...transport.body import Progress
from ..handle import JobHandle
from .failures import Overtaken, in_doubt, refused, unsettled
from .flows import SUBMIT_ANSWER, Talker, Turn, now
from .in_doubt import Doubt
from .owners import gone
from .snapshots import Gate

if TYPE_CHECKING:
    from ...callbacks.receiver import CallbackReceiver

log = logging.getLogger("aiowatermark")

_GLANCE = 0.05


@frozen(eq=False)
class Order:
    """What a job needs until the provider has it: kept no longer, so that a waiting job holds no media."""

    job: Job
    progress: Progress | None = None
    callback_url: str | None = None


class Paying(Turn):
    """The conversation that costs: what it is about to do is written down, and its handle knows what has left."""

    def __init__(self, store: JobStore, gate: Gate, handle: JobHandle, order: Order, *, again: bool) -> None:
        super().__init__(handle.until, answer=SUBMIT_ANSWER, progress=_told(handle, order))
        self._store = store
        self._gate = gate
        self._handle = handle
        self._owner = handle.record.owner
        self._again = again

    async def before_paid(self) -> None:
        """The last step before money: what is about to be sent stands in the store, and nobody was quicker."""
        handle = self._handle
        if handle.record.owner != self._owner:
            raise Overtaken(handle.record)
        record = handle.record.advance(Snapshot(handle.task_id, Status.IN_DOUBT))
        if record is not handle.record and (stored := await self._store.put(record)) is not record:
            raise Overtaken(stored)
        handle.note(record)

    def paying(self, *, left: bool) -> None:
        """A first request that is in doubt stays so, whatever becomes of a second."""
        self._handle.sent = left or self._again

    async def noted(self, snapshot: Snapshot) -> None:
        """Remember it."""
        await self._gate.note(self._handle, snapshot)


@define(eq=False)
class Submission:
    """Sends jobs, each at most once."""

    provider: Provider
    talker: Talker
    store: JobStore
    doubt: Doubt
    gate: Gate
    receiver: CallbackReceiver | None = None
    resubmit: bool = False

    async def submit(self, handle: JobHandle, order: Order) -> None:
        """Write the job down, then send it; raises one of the three outcomes' errors, or returns accepted."""
        mine = handle.record
        if (known := await self._opened(mine)) is not None:
            same(known, mine.fingerprint)
            handle.note(await self._answered(known, mine))
            if unsettled(handle.record):
                raise in_doubt(handle, None)
            self.expect(handle)
            if handle.snapshot.status is not Status.UPLOADING:
                handle.sent = True
                return
            handle.note(evolve(handle.record, owner=mine.owner))  # from here on it is ours to send
        self.expect(handle)
        try:
            await self._send(handle, order)
        except Overtaken as error:
            handle.note(error.record)
        except SubmissionInDoubt as error:
            await self._doubted(handle, order, error)

    def expect(self, handle: JobHandle) -> None:
        """From now on a callback of this job rings its bell."""
        if self.receiver is not None and handle.record.callback is not None:
            self.receiver.expect(handle.record.callback, handle.delivered)

    async def _opened(self, mine: Record) -> Record | None:
        """Write it down before a byte leaves. Called off in the middle: nothing was sent, so nothing stays written."""
        try:
            return await self.store.open(mine)
        except asyncio.CancelledError:
            known = await self.store.get(mine.key)
            if known is not None and _opening(known) == _opening(mine):
                await self.store.forget(mine.key)
            raise

    async def _doubted(self, handle: JobHandle, order: Order, error: SubmissionInDoubt) -> None:
        """What is done about a doubt: a callback may have settled it; else it is remembered and raised."""
        if await self.doubt.settled(handle):
            return None
        await self.gate.note(handle, Snapshot(handle.task_id, Status.IN_DOUBT, reason=error.message))
        if not self.resubmit:
            return await self._given_up(handle, error)
        log.warning("job %s is in doubt and, as was asked for, submitted once more", handle.key)
        try:
            await self._send(handle, order, again=True)
        except SubmissionInDoubt as second:
            await self._given_up(handle, second)
        except WatermarkError as second:  # refused or not: the first request stays in doubt
            await self._given_up(handle, in_doubt(handle, second))

    async def _given_up(self, handle: JobHandle, error: SubmissionInDoubt) -> None:
        """Go on listening for a callback; one that came while the doubt was written down settles it at once."""
        self.doubt.keep(handle)
        if not await self.doubt.settled(handle):
            raise error

    async def _answered(self, known: Record, mine: Record) -> Record:
        """A record that another client opened, once that client's paid request had the time to be answered."""
        until = now() + SUBMIT_ANSWER - max(0.0, mine.created_at - known.created_at)
        pause = _GLANCE
        while _under_way(known, mine) and now() < until and not await self._abandoned(known):
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, 1.0)
            known = await self.store.get(known.key) or known
        return known

    async def _abandoned(self, known: Record) -> bool:
        """Whether whoever sent it is certainly gone, so that no answer will be written down any more."""
        commons = self.store.commons
        return gone(known.owner) or (commons is not None and await commons.claim(known))

    async def _send(self, handle: JobHandle, order: Order, *, again: bool = False) -> None:
        owner = handle.record.owner
        turn = Paying(self.store, self.gate, handle, order, again=again)
        try:
            snapshot = await self.talker.converse(self.provider.submit(order.job, order.callback_url), turn)
        except Overtaken:
            raise
        except (Exception, asyncio.CancelledError) as error:
            if handle.sent and not (isinstance(error, Exception) and refused(error)):
                raise (in_doubt(handle, error) if isinstance(error, Exception) else error) from None
            if not again:
                await self._forget(handle, owner)
            raise
        await self.gate.note(handle, snapshot)

    async def _forget(self, handle: JobHandle, owner: str) -> None:
        """Nothing was paid here: what is remembered goes, unless another client has made it its own meanwhile."""
        known = await self.store.get(handle.key)
        if known is None or known.owner == owner:
            await self.store.forget(handle.key)


def _opening(record: Record) -> tuple[object, ...]:
    """What tells an opening from all others, and from what came of it: an earlier one of this client may be paid."""
    return record.owner, record.created_at, record.version


def _under_way(known: Record, mine: Record) -> bool:
    """Whether another client may be waiting for the answer right now."""
    return unsettled(known) and known.snapshot.reason is None and known.owner != mine.owner


def _told(handle: JobHandle, order: Order) -> Progress | None:
    """Who wants to know how far the upload is: a picture's is over before anybody holds its handle."""
    return Told(handle, order.progress) if order.job.video or order.progress is not None else None


def same(known: Record, fingerprint: str) -> None:
    """Raise InvalidInput where a used key is to name another job."""
    if known.fingerprint and fingerprint and known.fingerprint != fingerprint:
        msg = f"the key {known.key!r} belongs to another job: use a key of its own for this one"
        raise InvalidInput(msg)


@define(eq=False)
class Told:
    """Called as bytes leave; a callback that raises is logged once and called no more."""

    handle: JobHandle
    caller: Progress | None
    _told: float = field(default=0.0, init=False)

    def __call__(self, sent: int, total: int | None) -> None:
        """So many bytes of so many have left."""
        record = self.handle.record
        if record.snapshot.status is Status.UPLOADING and total and self._worth_it(sent / total):
            moved = record.advance(Snapshot(record.snapshot.task_id, Status.UPLOADING, sent / total))
            # only in memory: the store's versions are for what matters after a crash
            self.handle.note(evolve(moved, version=record.version))
        if self.caller is not None:
            self._call(self.caller, sent, total)

    def _worth_it(self, share: float) -> bool:
        """Whether watchers would see a difference: a hundred snapshots a film, however long it is."""
        worth = share >= self._told + 0.01 or share == 1.0 or share < self._told
        if worth:
            self._told = share
        return worth

    def _call(self, caller: Progress, sent: int, total: int | None) -> None:
        try:
            caller(sent, total)
        except Exception:
            self.caller = None
            log.exception("progress of job %s raised and is told no more; the job goes on", self.handle.key)
