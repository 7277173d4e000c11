"""What a store says after a crash."""

from __future__ import annotations

from attrs import field, frozen

from ..jobs import Record, Status
from ..provider import Provider
from ..stores import JobStore
from .engine.engine import JobEngine
from .engine.failures import unsettled
from .handle import JobHandle


@frozen
class Recovery:
    """`resumed`: jobs at the provider, watched again. `in_doubt`: records whose paid request left and whose answer
    is not known; look at the account before submitting them anew. `unsent`: records of jobs that were never paid,
    to be submitted again.
    """  # noqa: D205

    resumed: list[JobHandle] = field(factory=list)
    in_doubt: list[Record] = field(factory=list)
    unsent: list[Record] = field(factory=list)


async def recover(store: JobStore, provider: Provider, conductor: JobEngine, deadline: float) -> Recovery:
    """Everything unfinished of this account that is not alive here; nothing is submitted."""
    recovery, waiting = Recovery(), []
    async for record in store.unfinished():
        if record.provider != provider.name or record.account not in {"", provider.account}:
            continue
        if record.key in conductor.jobs:
            continue
        if unsettled(record):
            recovery.in_doubt.append(record)
            conductor.in_doubt.listen(record)
        elif record.snapshot.status is Status.UPLOADING:
            recovery.unsent.append(record)
        else:
            waiting.append(record)
    recovery.resumed.extend(conductor.watch_records(waiting, deadline))
    return recovery
