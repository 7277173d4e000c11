"""Settles jobs in doubt by callbacks: a callback that names a task the provider knows proves that it accepted the job.

A submission in doubt has no task id, so it cannot be queried. If the provider calls back, the callback's key
identifies the job (only the provider knows the key) and its body names the task. The task is then queried, because
no provider signs its callbacks; only the answer to that query changes the record:

    callback during the submission   try_resolve(job): the submission ends as accepted
    callback after it was given up   listen(record): the record in the store gets its task id, the log its token, and
                                     the job is watched from then on like any other

A callback that names no task, or one the provider does not know, changes nothing. However many callbacks arrive, each
job has at most one task here and one query per second; of the callbacks that arrive meanwhile the latest counts.
close() cancels queries under way; the record stays in doubt then, and the next recover() lists it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import TypeGuard

from attrs import define, field

from ...clock import pause
from ...errors import WatermarkError
from ...jobs import Record, Snapshot, Status
from ...ledger import settlement
from ...lifetimes import start_task
from ...observation.events import JOB_CONFIRMED
from ...wire import Delivery
from ..handle import ActiveJob
from .context import EngineContext
from .flows import FlowContext, loop_time

log = logging.getLogger("aiowatermark")

_QUERY_SECONDS = 30.0
_QUERY_INTERVAL = 1.0
"""Seconds between two queries that callbacks of one job cause."""
_MAX_TASK_ID = 200


@define(eq=False)
class InDoubtResolver:
    """Confirms and settles jobs in doubt; all three tables are keyed by the hash of a callback key.

    `listening`: records that wait for a callback. `latest`: callbacks that were not looked at. `tasks`: look at them.
    `on_settled` is called with the record of a job whose doubt was settled.
    """

    context: EngineContext
    listening: set[str] = field(factory=set, init=False)
    latest: dict[str, Delivery] = field(factory=dict, init=False)
    tasks: dict[str, asyncio.Task[None]] = field(factory=dict, init=False)
    on_settled: Callable[[Record], Awaitable[object]] | None = field(default=None, init=False)

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
        self.stop_listening()
        tasks = list(self.tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def stop_listening(self) -> None:
        """Let callbacks of jobs in doubt reach this client no more."""
        for callback in self.listening:
            if self.context.callbacks is not None:
                self.context.callbacks.release(callback)

    def resolve(self, record: Record, delivery: Delivery) -> None:
        """Query the task that a callback names, in the background, and settle the record in the store."""
        if (callback := record.callback) is None:
            return
        self.latest[callback] = delivery
        self.context.observer.callback(record)
        if callback not in self.tasks:
            self.tasks[callback] = start_task(self._resolve_latest(record, callback))

    async def _resolve_latest(self, record: Record, callback: str) -> None:
        """Look at the latest callback, once per interval, until one settles the record or no more come."""
        try:
            while (delivery := self.latest.pop(callback, None)) is not None:
                if await self._resolve(record, delivery):
                    return
                await pause(_QUERY_INTERVAL)
        finally:
            # together, so that a callback that arrives from now on starts a task of its own
            self.latest.pop(callback, None)
            self.tasks.pop(callback, None)

    async def _resolve(self, record: Record, delivery: Delivery) -> bool:
        confirmed, callbacks = await self._confirm_task(record, delivery), self.context.callbacks
        if confirmed is not None and callbacks is not None and record.callback is not None:
            callbacks.release(record.callback)
            self.context.observer.job(JOB_CONFIRMED, confirmed)
            if self.on_settled is not None:
                await self.on_settled(confirmed)
        return confirmed is not None

    async def _confirm_task(self, record: Record, delivery: Delivery) -> Record | None:
        """The stored record with its task id, if the callback names a task that the provider knows."""
        if not record.in_doubt:
            return None
        provider = self.context.provider
        try:
            claimed = provider.parse_callback(delivery, record)
            if claimed is None or not _is_plausible(claimed.task_id):
                return None
            holder = await self.context.store.by_task(record.account, claimed.task_id)
            if holder is not None and holder.key != record.key:
                log.error("job %s: a callback names the task %s of another job", record.key, claimed.task_id)
                return None
            named = record.advance(Snapshot(claimed.task_id, Status.QUEUED), time.time())
            self.context.observer.counters.polls += 1
            answer = await self.context.flows.run(provider.query(named), FlowContext(loop_time() + _QUERY_SECONDS))
        except Exception as error:  # noqa: BLE001 - whatever a callback says, the doubt is what remains
            log.info("job %s stays in doubt; a callback for it could not be confirmed: %s", record.key, error)
            return None
        at = time.time()
        confirmed = named.advance(answer, at).note(settlement(f"task {claimed.task_id}", at, by="callback"))
        try:
            return await self.context.store.put(confirmed)
        except WatermarkError as error:
            log.error("job %s: not written to the store; keep its token %s: %s", record.key, confirmed.token, error)  # noqa: TRY400
            self.context.snapshots.write_later(confirmed)
            return confirmed


def _is_plausible(task_id: str | None) -> TypeGuard[str]:
    """Whether a text from a callback can be a task id: it goes into a URL, the store and the log."""
    return task_id is not None and 0 < len(task_id) <= _MAX_TASK_ID and task_id.isprintable()
