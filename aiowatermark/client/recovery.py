"""Finds the jobs that an earlier process left unfinished."""

from __future__ import annotations

from attrs import evolve, field, frozen

from ..introspection import documented
from ..jobs import Record
from .engine.engine import JobEngine
from .handle import JobHandle


@documented
@frozen
class Recovery:
    """What `client.recover()` found.

    Args:
        resumed: handles of jobs at the provider, which are watched again.
        in_doubt: records whose paid request was sent and whose answer is not known; check your account before you
            submit them again.
        unsent: records of jobs for which nothing was paid; submit them again.
        elsewhere: how many unfinished records belong to other providers or accounts and were passed over.
    """

    resumed: list[JobHandle] = field(factory=list)
    in_doubt: list[Record] = field(factory=list)
    unsent: list[Record] = field(factory=list)
    elsewhere: int = 0


async def recover(engine: JobEngine, deadline: float) -> Recovery:
    """Watch all unfinished jobs of this account that do not run in this client; nothing is submitted."""
    provider, recovery, to_watch = engine.context.provider, Recovery(), []
    elsewhere = 0
    async for record in engine.context.store.unfinished():
        if record.provider != provider.name or record.account not in {"", provider.account}:
            elsewhere += 1
            continue
        if record.key in engine.jobs:
            continue
        if record.in_doubt:
            recovery.in_doubt.append(record)
            engine.in_doubt.listen(record)
        elif record.unsent:
            recovery.unsent.append(record)
        else:
            to_watch.append(record)
    recovery.resumed.extend(job.handle for job in engine.watch_records(to_watch, deadline))
    return evolve(recovery, elsewhere=elsewhere)
