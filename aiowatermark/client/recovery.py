"""Finds the jobs that an earlier process left behind: unfinished, or finished with a result that was not taken."""

from __future__ import annotations

from collections.abc import AsyncIterator

from attrs import evolve, field, frozen

from ..introspection import documented
from ..jobs import Record
from ..results import Result
from ..stores import JobStore
from .engine.engine import JobEngine
from .handle import JobHandle

_BATCH = 500


@documented
@frozen
class Recovery:
    """What `client.recover()` found.

    Args:
        resumed: handles of jobs at the provider, which are watched again.
        in_doubt: records whose paid request was sent and whose answer is not known; see `Client.settle`.
        unsent: records of jobs for which nothing was paid; submit them again.
        finished: results not acknowledged (see `Result.acknowledge`); with an `on_result` handler it is called instead,
            and the list gets, when that is known, what the handler could not handle.
        held: records of jobs that a living client works on; leave them to it.
        elsewhere: how many unfinished records belong to other providers or accounts and were passed over.
    """

    resumed: list[JobHandle] = field(factory=list)
    in_doubt: list[Record] = field(factory=list)
    unsent: list[Record] = field(factory=list)
    finished: list[Result] = field(factory=list)
    held: list[Record] = field(factory=list)
    elsewhere: int = 0


async def recover(engine: JobEngine, deadline: float) -> Recovery:
    """Watch all unfinished jobs of this account that no living client works on; nothing is submitted."""
    recovery, elsewhere = Recovery(), 0
    async for records in _batches(engine.context.store.unfinished()):
        own = [record for record in records if engine.is_own(record)]
        elsewhere += len(records) - len(own)
        await _recover_unfinished(
            engine, recovery, [record for record in own if record.key not in engine.jobs], deadline
        )
    async for records in _batches(_unacknowledged(engine.context.store)):
        own = [record for record in records if engine.is_own(record) and record.key not in engine.jobs]
        recovery.finished.extend(await engine.deliver_again(own, recovery.finished))
    return evolve(recovery, elsewhere=elsewhere)


async def _recover_unfinished(engine: JobEngine, recovery: Recovery, records: list[Record], deadline: float) -> None:
    existing, to_watch = engine.submitter.existing, []
    for record, is_gone in zip(records, await existing.are_gone(records), strict=True):
        if not is_gone:
            recovery.held.append(record)
        elif record.at_provider:
            to_watch.append(record)
        else:
            left = await engine.leave(record)
            if left.at_provider:  # its owner wrote once more before it ended
                to_watch.append(left)
            elif not left.snapshot.status.terminal:
                (recovery.in_doubt if left.in_doubt else recovery.unsent).append(left)
    watched = engine.watch_records(await existing.adopt(to_watch), deadline)
    recovery.resumed.extend(job.handle for job in watched)


async def _unacknowledged(store: JobStore) -> AsyncIterator[Record]:
    """Iterate over the records of jobs that ended and whose results are not acknowledged."""
    # a store of one's own may have no such method
    if (unacknowledged := getattr(store, "unacknowledged", None)) is not None:
        async for record in unacknowledged():
            yield record


async def _batches(records: AsyncIterator[Record]) -> AsyncIterator[list[Record]]:
    batch: list[Record] = []
    async for record in records:
        batch.append(record)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
