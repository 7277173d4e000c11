"""What all parts of the engine share."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TypeVar

from attrs import frozen

from ...callbacks.registry import CallbackRegistry
from ...jobs import Record
from ...observation.observer import Observer
from ...provider import Provider
from ...stores import JobStore
from ...stores.owners import Owners
from ..handle import ActiveJob
from .failures import within_deadline
from .flows import FlowRunner
from .snapshots import SnapshotRecorder

T = TypeVar("T")


@frozen(eq=False)
class EngineContext:
    """Built once when a client opens. `owner` names this client in the records it creates."""

    provider: Provider
    store: JobStore
    flows: FlowRunner
    snapshots: SnapshotRecorder
    callbacks: CallbackRegistry | None
    owner: str
    owners: Owners
    observer: Observer

    async def is_gone(self, record: Record) -> bool:
        """Whether the owner of a record has certainly ended, so that no other client acts for the job."""
        return record.owner == self.owner or await self.owners.is_gone(record)

    async def until_deadline(self, job: ActiveJob, store_call: Awaitable[T]) -> T:
        """Await a call of the store, at most until the job's deadline; raises DeadlineExceeded."""
        if self.snapshots.immediate:
            # three timers less for each job in memory: about 5 % of the CPU of a job (benchmarks/overhead.py)
            return await store_call
        async with within_deadline(job):
            return await store_call
