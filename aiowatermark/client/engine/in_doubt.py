"""Settles jobs in doubt by callbacks: a callback that names a task the provider knows proves that it accepted the job.

A submission in doubt has no task id, so it cannot be queried. If the provider calls back, the callback's key
identifies the job (only the provider knows the key) and its body names the task. The task is then queried, because
no provider signs its callbacks; only the answer to that query changes the record:

    callback during the submission   try_resolve(job): the submission ends as accepted
    callback after it was given up   listen(record): the record in the store gets its task id, and the log its token

A callback that names no task, or one the provider does not know, changes nothing. close() cancels queries under way;
the record stays in doubt then, and the next recover() lists it.
"""

from __future__ import annotations

import asyncio
import logging
import time

from attrs import define, field

from ...errors import WatermarkError
from ...jobs import Record, Snapshot, Status
from ...wire import Delivery
from ..handle import ActiveJob
from .context import EngineContext
from .flows import FlowContext, loop_time

log = logging.getLogger("aiowatermark")

_QUERY_SECONDS = 30.0


@define(eq=False)
class InDoubtResolver:
    """Confirms and settles jobs in doubt; `listening` are hashes of callback keys."""

    context: EngineContext
    tasks: set[asyncio.Task[None]] = field(factory=set, init=False)
    listening: set[str] = field(factory=set, init=False)

    async def try_resolve(self, job: ActiveJob) -> bool:
        """Whether a callback that already arrived proves that this job was accepted; the job has its task id then."""
        delivery = job.take_delivery()
        record = None if delivery is None else await self._confirm_task(job.record, delivery)
        if record is not None:
            job.update(record)
        return record is not None

    def listen(self, record: Record) -> None:
        """Settle the record in the store when its callback arrives."""
        callbacks = self.context.callbacks
        if callbacks is not None and record.callback is not None:
            self.listening.add(record.callback)
            callbacks.expect(record.callback, lambda delivery: self.resolve(record, delivery))

    async def close(self) -> None:
        """Stop listening and cancel the queries under way."""
        for callback in self.listening:
            if self.context.callbacks is not None:
                self.context.callbacks.release(callback)
        for task in list(self.tasks):
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    def resolve(self, record: Record, delivery: Delivery) -> None:
        """Query the task that a callback names, in the background, and settle the record in the store."""
        task = asyncio.create_task(self._resolve(record, delivery))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _resolve(self, record: Record, delivery: Delivery) -> None:
        confirmed, callbacks = await self._confirm_task(record, delivery), self.context.callbacks
        if confirmed is not None and callbacks is not None and record.callback is not None:
            callbacks.release(record.callback)
            log.info(
                "job %s was in doubt; its callback proves that the provider accepted it: resume it with %s",
                confirmed.key,
                confirmed.token,
            )

    async def _confirm_task(self, record: Record, delivery: Delivery) -> Record | None:
        """The stored record with its task id, if the callback names a task that the provider knows."""
        if not record.in_doubt:
            return None
        provider = self.context.provider
        try:
            claimed = provider.parse_callback(delivery, record)
            if claimed is None or claimed.task_id is None:
                return None
            holder = await self.context.store.by_task(record.account, claimed.task_id)
            if holder is not None and holder.key != record.key:
                log.error("job %s: a callback names the task %s of another job", record.key, claimed.task_id)
                return None
            named = record.advance(Snapshot(claimed.task_id, Status.QUEUED))
            answer = await self.context.flows.run(provider.query(named), FlowContext(loop_time() + _QUERY_SECONDS))
        except WatermarkError as error:
            log.info("job %s stays in doubt; a callback for it could not be confirmed: %s", record.key, error)
            return None
        confirmed = named.advance(answer).accept(time.time())
        try:
            return await self.context.store.put(confirmed)
        except WatermarkError as error:
            log.error("job %s: not written to the store; keep its token %s: %s", record.key, confirmed.token, error)  # noqa: TRY400
            self.context.snapshots.write_later(confirmed)
            return confirmed
