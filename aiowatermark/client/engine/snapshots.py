"""The one gate for snapshots: what is news becomes the handle's and, where it matters after a crash, the store's."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

from attrs import define

from ...jobs import Record, Snapshot, Status
from ...stores import JobStore
from ..handle import JobHandle

log = logging.getLogger("aiowatermark")

_FINAL_WRITE_SECONDS = 5.0


@define(eq=False)
class SnapshotRecorder:
    """Where the submit's answer, a look and a callback's follow-up pass."""

    store: JobStore

    async def record(self, handle: JobHandle, snapshot: Snapshot) -> None:
        """Advance the handle's record; a store that fails now costs no job: the money was spent."""
        before = handle.record
        record = before.advance(snapshot)
        if record is before:
            return
        if _must_persist(record.snapshot, before.snapshot):
            handle.record = record  # known here, whatever becomes of the write
            record = await self._persist(record, snapshot)
        handle.update(record)
        if record.snapshot.task_id is not None and record.snapshot.status is not Status.IN_DOUBT:
            handle.mark_accepted()

    async def _persist(self, record: Record, snapshot: Snapshot) -> Record:
        """What is remembered now; where another watcher was quicker, the news on top of its."""
        try:
            while (stored := await self.store.put(record)) is not record:
                record = stored.advance(snapshot)
                if record is stored:
                    break
        except asyncio.CancelledError:  # written all the same: what was learnt has cost money
            with suppress(Exception):
                async with asyncio.timeout(_FINAL_WRITE_SECONDS):
                    await self.store.put(record)
            raise
        except Exception as error:  # noqa: BLE001 - whatever a store raises: the money was spent
            log.error("job %s goes on without its store; keep its token %s: %s", record.key, record.token, error)  # noqa: TRY400
        return record


def _must_persist(now: Snapshot, before: Snapshot) -> bool:
    """Whether what is new matters after a crash: whether a job runs already does not."""
    if now.task_id != before.task_id or now.reason != before.reason:
        return True
    return now.status is not before.status and (before.status, now.status) != (Status.QUEUED, Status.RUNNING)
