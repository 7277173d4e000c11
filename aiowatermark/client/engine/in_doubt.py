"""Jobs in doubt, and the one thing that settles them: a callback proves that the provider took the job."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from attrs import define, field

from ...errors import WatermarkError
from ...jobs import Record, Snapshot, Status
from ...provider import Provider
from ...stores import JobStore
from ...wire import Delivery
from ..handle import JobHandle
from .failures import unsettled
from .flows import FlowContext, FlowRunner, loop_time

if TYPE_CHECKING:
    from ...callbacks.receiver import CallbackReceiver

log = logging.getLogger("aiowatermark")

_QUERY_SECONDS = 30.0


@define(eq=False)
class InDoubtResolver:
    """Settles jobs in doubt. Only the provider can know a key; what a callback says is asked for all the same."""

    provider: Provider
    flows: FlowRunner
    store: JobStore
    receiver: CallbackReceiver | None = None
    tasks: set[asyncio.Task[None]] = field(factory=set)
    listening: set[str] = field(factory=set)

    async def try_resolve(self, handle: JobHandle) -> bool:
        """Whether a callback that came already proves that this job was taken; the handle has its id then."""
        mail, handle.pending_delivery = handle.pending_delivery, None
        record = None if mail is None else await self._confirm_task(handle.record, mail)
        if record is not None:
            handle.update(record)
        return record is not None

    def keep_listening(self, handle: JobHandle) -> None:
        """Go on listening for a job that was given up in doubt."""
        self.listen(handle.record)

    def listen(self, record: Record) -> None:
        """Settle the record in the store when its callback comes."""
        if self.receiver is not None and record.callback is not None:
            self.listening.add(record.callback)
            self.receiver.expect(record.callback, lambda delivery: self._on_delivery(record, delivery))

    def _on_delivery(self, record: Record, delivery: Delivery) -> None:
        task = asyncio.create_task(self._resolve(record, delivery))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _resolve(self, record: Record, delivery: Delivery) -> None:
        proved = await self._confirm_task(record, delivery)
        if proved is not None and self.receiver is not None and record.callback is not None:
            self.receiver.release(record.callback)
            log.info(
                "job %s was in doubt; its callback proves that it was taken: resume it with %s",
                proved.key,
                proved.token,
            )

    async def _confirm_task(self, record: Record, delivery: Delivery) -> Record | None:
        """The record with its task's id, if the callback names one that the provider knows."""
        if not unsettled(record):
            return None
        try:
            told = self.provider.parse_callback(delivery, record)
            if told is None or told.task_id is None:
                return None
            named = record.advance(Snapshot(told.task_id, Status.QUEUED))
            asked = await self.flows.run(self.provider.query(named), FlowContext(loop_time() + _QUERY_SECONDS))
        except WatermarkError as error:
            log.info("a callback of job %s, which is in doubt, proves nothing: %s", record.key, error)
            return None
        return await self.store.put(named.advance(asked))

    async def close(self) -> None:
        """Ask and listen no more."""
        for callback in self.listening:
            if self.receiver is not None:
                self.receiver.release(callback)
        for task in list(self.tasks):
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
