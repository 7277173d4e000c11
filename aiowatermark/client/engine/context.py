"""What all parts of the engine share."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, nullcontext

from attrs import frozen

from ...callbacks.registry import CallbackRegistry
from ...jobs import Record
from ...observation.observer import Observer
from ...provider import Provider
from ...stores import JobStore, is_immediate
from ...stores.owners import Owners
from ..handle import ActiveJob
from .failures import within_deadline
from .flows import FlowRunner
from .snapshots import SnapshotRecorder


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

    def store_limit(self, job: ActiveJob) -> AbstractAsyncContextManager[None]:
        """Bound a wait for the store by the job's deadline; raises DeadlineExceeded."""
        # three timers less for each job in memory: about 5 % of the CPU of a job (benchmarks/overhead.py)
        return nullcontext() if is_immediate(self.store) else within_deadline(job)
