"""Deletes the records of jobs for which nothing was paid, so that their keys can be used again.

A record is deleted only as the version that was read, while it is still of the epoch that was given up and from before
the payment: another client may have taken the job over, and a callback may have proved it accepted. If the store fails,
the deletion is tried again in the background: what ended the submission matters more to its caller. A record that
replaced the one of a failed job (`again=True`) is not deleted but set back to the failure.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

from attrs import define, evolve, field

from ....errors import StoreError
from ....jobs import Record
from ....lifetimes import start_task
from ....stores import JobStore

log = logging.getLogger("aiowatermark")

_FIRST_TRY_SECONDS = 5.0
_FIRST_RETRY_SECONDS, _MAX_RETRY_SECONDS = 0.5, 30.0


@define(eq=False)
class RecordDeletions:
    """Deletions of one client, those `under_way` in the background by key.

    `failed` are the records of failed jobs that are being submitted again, by key.
    """

    store: JobStore
    failed: dict[str, Record] = field(factory=dict, init=False)
    under_way: dict[str, asyncio.Task[None]] = field(factory=dict, init=False)

    async def delete(self, record: Record) -> Record | None:
        """Delete the record of a job that was not paid, now or as soon as the store works.

        Returns the record that stays, if another client has taken the job over, or it was proved accepted.

        A cancellation is raised only after it: the task may be cancelled again meanwhile, for example by the closing
        of the client.
        """
        deleting = start_task(self._delete(record, self.failed.get(record.key)))
        cancelled: asyncio.CancelledError | None = None
        while not deleting.done():
            try:
                await asyncio.shield(deleting)
            except asyncio.CancelledError as error:
                cancelled = error
        if cancelled is not None:
            raise cancelled
        return deleting.result()

    async def _delete(self, record: Record, failed: Record | None) -> Record | None:
        try:
            async with asyncio.timeout(_FIRST_TRY_SECONDS):
                return await self._delete_now(record, failed)
        except Exception as error:  # noqa: BLE001 - a custom store may raise anything
            log.warning("job %s: nothing was paid, but its record could not be deleted yet: %s", record.key, error)
            task = self.under_way[record.key] = start_task(self._delete_later(record, failed))
            task.add_done_callback(lambda _: self.under_way.pop(record.key, None))
            return None

    async def _delete_now(self, record: Record, failed: Record | None) -> Record | None:
        while (stored := await self.store.get(record.key)) is not None:
            if stored.epoch != record.epoch or stored.owner != record.owner or not stored.before_payment:
                return stored
            if await self._remove(stored, failed):
                break
        return None

    async def _remove(self, stored: Record, failed: Record | None) -> bool:
        """Delete this version of a record, or set it back to the failure it replaced; False if it was changed."""
        if failed is None:
            # a store of one's own may return nothing
            return await self.store.forget(stored) is not False
        restored = evolve(failed, version=stored.version + 1, epoch=stored.epoch, history=stored.history)
        written = await self.store.put(restored)
        return written is None or restored.is_written(written)

    async def _delete_later(self, record: Record, failed: Record | None) -> None:
        pause = _FIRST_RETRY_SECONDS
        while True:
            await asyncio.sleep(pause)
            pause = min(pause * 2, _MAX_RETRY_SECONDS)
            with suppress(Exception):
                await self._delete_now(record, failed)
                return

    async def wait(self, key: str, seconds: float) -> None:
        """Wait until an earlier record under this key, of a job that was not paid, is deleted; raises StoreError."""
        task = self.under_way.get(key)
        if task is not None and not (await asyncio.wait([task], timeout=seconds))[0]:
            raise StoreError(f"the key {key!r} was not paid, but the store cannot delete its record: try again later")

    async def close(self) -> None:
        """Stop deleting; a record that is left keeps its key in doubt, and the log says so."""
        for key, task in list(self.under_way.items()):
            log.warning("job %s was not paid, but its record could not be deleted: `forget` its key", key)
            task.cancel()
        await asyncio.gather(*self.under_way.values(), return_exceptions=True)
