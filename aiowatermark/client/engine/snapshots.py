"""Applies each new snapshot to its job, and persists those that crash recovery needs.

The answers to submissions and queries pass here, and callbacks that are trusted. Exceptions: upload progress stays in
memory, and in_doubt.py settles records of jobs that no longer run. `Record.advance` decides what a snapshot changes; a
snapshot that changes nothing costs nothing. What must survive a crash (a task id, a terminal status, a reason) is
written to the store, other changes (QUEUED -> RUNNING, progress) stay in memory.

A store that fails here never ends the job: at this point the money is spent, so the job goes on and its token is
logged. Its record is kept in memory and written as soon as the store works again: per key only the newest, keys in
order. Another process may have written the same record meanwhile; then this snapshot is applied on top of what is
stored.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress

from attrs import Factory, define, field

from ...jobs import Record, Snapshot, Status
from ...lifetimes import start_task
from ...stores import JobStore, is_immediate
from ..handle import ActiveJob

log = logging.getLogger("aiowatermark")

_WRITE_SECONDS = 30.0
"""A store that takes longer is not waited for: the job goes on, and its record is written later."""
_FINAL_WRITE_SECONDS = 5.0
_FIRST_RETRY_SECONDS, _MAX_RETRY_SECONDS = 0.5, 30.0


@define(eq=False)
class SnapshotRecorder:
    """Records snapshots of jobs; shared by all parts of the engine. `immediate`: calls of the store need no timer."""

    store: JobStore
    immediate: bool = field(default=Factory(lambda self: is_immediate(self.store), takes_self=True), init=False)
    _unwritten: dict[str, Record] = field(factory=dict, init=False)
    _retry_task: asyncio.Task[None] | None = field(default=None, init=False)

    async def record(self, job: ActiveJob, snapshot: Snapshot) -> None:
        """Advance the job's record; returns once what must survive a crash is in the store, or the store failed."""
        before = job.record
        record = _apply(before, snapshot)
        if record is before:
            return
        if record.history is not before.history or _must_persist(record.snapshot, before.snapshot):
            job.update(record, announce=False)  # first here: whatever happens to the write, the task id is in the token
            record = await self._persist(record, snapshot)
        job.update(record)
        if not job.answered and record.snapshot.task_id is not None and record.snapshot.status is not Status.IN_DOUBT:
            job.mark_accepted()

    async def _persist(self, record: Record, snapshot: Snapshot) -> Record:
        """The record as it is stored now: with the snapshot on top of what another process wrote first."""
        try:
            if self.immediate:
                record = await self._merge(record, snapshot)
            else:
                async with asyncio.timeout(_WRITE_SECONDS):
                    record = await self._merge(record, snapshot)
        except asyncio.CancelledError:
            # cancelled between the answer and its write: without the write, a paid task id would be lost
            with suppress(Exception):
                async with asyncio.timeout(_FINAL_WRITE_SECONDS):
                    await self.store.put(record)
            raise
        except Exception as error:  # noqa: BLE001 - a custom store may raise anything, and the money is spent
            log.error("job %s: not written to the store; keep its token %s: %s", record.key, record.token, error)  # noqa: TRY400
            self.write_later(record)
        else:
            self._unwritten.pop(record.key, None)
        return record

    async def _merge(self, record: Record, snapshot: Snapshot) -> Record:
        """Put the record until it is stored, or what is stored has nothing to learn from the snapshot."""
        while (stored := await self.store.put(record)) is not None and stored is not record:
            record = _apply(stored, snapshot)
            if record is stored:
                break
        return record

    def drop_unwritten(self, key: str) -> None:
        """Forget an update that is not written yet: its record is about to be deleted."""
        self._unwritten.pop(key, None)

    def write_later(self, record: Record) -> None:
        """Write a record of a paid job as soon as the store works again."""
        self._unwritten[record.key] = record
        if self._retry_task is None:
            self._retry_task = start_task(self._retry())

    async def _retry(self) -> None:
        pause = _FIRST_RETRY_SECONDS
        while self._unwritten:
            await asyncio.sleep(pause)
            pause = min(pause * 2, _MAX_RETRY_SECONDS)
            with suppress(Exception):
                await self._write_unwritten()
        self._retry_task = None

    async def _write_unwritten(self) -> None:
        for key, record in list(self._unwritten.items()):
            await self._merge(record, record.snapshot)
            if self._unwritten.get(key) is record:
                del self._unwritten[key]
                log.info("job %s: written to the store after all", key)

    async def close(self) -> None:
        """Try once more to write what the store has not taken; logs the tokens of what is left."""
        task, self._retry_task = self._retry_task, None
        if task is None:
            return
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        with suppress(Exception):
            async with asyncio.timeout(_FINAL_WRITE_SECONDS):
                await self._write_unwritten()
        for record in self._unwritten.values():
            log.error("job %s: never written to the store; its token is %s", record.key, record.token)


def _apply(before: Record, snapshot: Snapshot) -> Record:
    """The record after a snapshot, with the time of its acceptance; logs a snapshot that contradicts it."""
    after = before.advance(snapshot, time.time())
    if after is before:
        return after
    if after.snapshot is before.snapshot:  # only a note in its history
        log.error("job %s, task %s: %s", after.key, after.snapshot.task_id, after.history[-1])
    if not before.owner and before.settled_unpaid and not after.unsent:
        log.error("job %s was settled as unpaid, but the provider accepted it as task %s", after.key, snapshot.task_id)
    return after


def _must_persist(now: Snapshot, before: Snapshot) -> bool:
    """Whether crash recovery needs this change; whether a job has started to run is not needed."""
    if now.task_id != before.task_id or now.reason != before.reason:
        return True
    return now.status is not before.status and (before.status, now.status) != (Status.QUEUED, Status.RUNNING)
