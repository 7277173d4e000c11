"""SQLiteStore: job records in one file, which survive crashes and can be shared by processes on one machine."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from os import PathLike
from pathlib import Path
from typing import Any, Self

from attrs import define, field

from ...errors import InvalidInput, StoreError
from ...introspection import documented
from ...jobs import Record
from ...lifetimes import finish, running_loop
from ..blobs import BlobFolder
from ..records.dump import has_inline_media
from ..shared_tasks import note_shared_task
from ..summary import StoreSummary
from .database import ChangeKind, Database, RecordRow
from .deliveries import DeliveryListener, SocketDeliveries
from .owners import LockedOwners
from .summary import read_summary
from .worker import StoreThread, format_task, to_row

log = logging.getLogger("aiowatermark")

_MONTH = 30 * 86400.0
_PAGE = 500


def _path(path: str | PathLike[str]) -> Path:
    return Path(path)


def _validate_keep(value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        raise InvalidInput(f"keep must be a number of seconds, not {value!r}")
    return float(value)


@documented
@define(eq=False)
class SQLiteStore:
    """Keeps records in a file.

    A write is on the disk when the call returns; a busy store gathers writes for up to 20 ms. Several clients of one
    event loop may share one store, and several processes of one machine one file, but not on a network file system.
    Results that came as bytes instead of a link are files in the folder `<path>-outputs`, removed with their record.
    Each open client locks a file in the folder `<path>-owners`, by which other processes know that it is alive, and
    one that receives callbacks listens on a socket in `<path>-callbacks`, through which others pass them on to it.

    Args:
        path: the file, which is created if it does not exist.
        keep: seconds for which finished records are kept; the default is 30 days.
        read_only: only read, also a file, folder or disk that cannot be written to: nothing is created, converted or
            removed. Calls that write, and so clients, raise StoreError. While no process has the store open to write,
            what is read is a copy of the time of opening, in a temporary file.

    Opening the store and every call raise StoreError when the file cannot be used: it is not an aiowatermark store,
    newer than this version, damaged, read-only, on a full disk, or on a network file system (as far as Linux tells).
    Raises InvalidInput for an invalid `keep`.
    """

    path: Path = field(converter=_path)
    keep: float = field(default=_MONTH, kw_only=True, converter=_validate_keep)
    read_only: bool = field(default=False, kw_only=True)
    _users: int = field(default=0, init=False, repr=False)
    _thread: StoreThread | None = field(default=None, init=False, repr=False)

    @property
    def callback_secret(self) -> bytes | None:
        """What the keys of callbacks are signed with, in all processes on this file."""
        return self._open_thread.callback_secret

    @property
    def cli_location(self) -> str:
        """What `--store` of the command line takes to open this store, in any folder."""
        return str(self.path.absolute())

    @property
    def coordinator(self) -> None:
        """Always None: processes on one file share only records."""

    @property
    def owners(self) -> LockedOwners:
        """The clients on this file that are alive, in all processes; raises StoreError if the store is closed."""
        return self._open_thread.owners

    def delivery_channel(self, listener: DeliveryListener) -> SocketDeliveries:
        """A channel through which the processes on this file pass callbacks to the one that waits for them."""
        self._check_writable()
        return SocketDeliveries(Path(f"{self.path.resolve()}-callbacks"), listener)

    async def __aenter__(self) -> Self:
        """Open the store on the running event loop; opened again, it stays open until the last user closes it."""
        thread = self._start()
        self._users += 1
        try:
            # shielded, because other users may be waiting for the same future
            await asyncio.shield(thread.ready)
        except BaseException:
            self._release(thread)
            raise
        return self

    def _start(self) -> StoreThread:
        """Return the running thread, or start one; raises InvalidInput if it belongs to another running loop."""
        loop = running_loop("this store")
        if self._thread is not None and self._thread.loop is not loop:
            if not self._thread.loop.is_closed():
                raise InvalidInput(
                    "this store is open on another event loop: use one store for each loop, on the same file"
                )
            self._thread.close()  # its loop ended without closing the store
            self._thread = None
        if self._thread is None:
            self._users = 0
            blobs = BlobFolder(Path(f"{self.path}-outputs"))
            self._thread = StoreThread(self.path, blobs, self.keep, loop, self.read_only)
            self._thread.start()
        return self._thread

    async def __aexit__(self, *exc: object) -> None:
        """Close the store when the last user leaves, after all calls that were made before."""
        thread = self._thread
        if thread is not None and self._release(thread) and thread.loop is running_loop("this store"):
            await finish(thread.closed)

    def _release(self, thread: StoreThread) -> bool:
        """Remove one user of `thread`; whether it was the last, so that the thread is closing."""
        if thread is not self._thread:
            return False
        self._users -= 1
        if self._users > 0:
            return False
        self._thread = None
        thread.close()
        return True

    async def open(self, record: Record) -> Record | None:
        """Insert a new record durably, before money is spent; return None, or the record that has the key already.

        After a StoreError nothing was inserted. A cancelled call is carried out if the thread has it already.
        """
        value = await self._to_write(record)
        known: Record | None
        _, known = await self._open_thread.call(ChangeKind.OPEN, value)
        return known

    async def put(self, record: Record) -> Record | None:
        """Write a newer version, unless the stored one must stay, and return what is stored now; see `JobStore.put`.

        After a StoreError the stored record is unchanged; result files that were written for it are removed when the
        store is opened more than an hour later. A cancelled call is carried out if the thread has it already.
        """
        value = await self._to_write(record)
        kind = ChangeKind.UPDATE if record.before_payment else ChangeKind.PUT
        stored: Record | None
        written, stored = await self._open_thread.call(kind, value)
        if not written:
            return stored
        if (noted := note_shared_task(record, stored)) is not record:
            with suppress(StoreError):  # its next version has the note
                await self._open_thread.call(ChangeKind.NOTE, noted)
        return noted

    async def get(self, key: str) -> Record | None:
        """Return the record with that key, or None."""
        thread = self._open_thread
        found: Record | None = await thread.call(None, read=lambda database: thread.decode(database.by_key(key)))
        return found

    async def by_callback(self, callback: str) -> Record | None:
        """Return the record whose callback key has the hash `callback`, or None."""
        thread = self._open_thread
        found: Record | None = await thread.call(
            None, read=lambda database: thread.decode(database.by_callback(callback))
        )
        return found

    async def by_task(self, account: str, task_id: str) -> Record | None:
        """Return the record of an account's task, the oldest if there are several, or None."""
        thread, task = self._open_thread, format_task(account, task_id)
        found: Record | None = await thread.call(None, read=lambda database: thread.decode(database.by_task(task)))
        return found

    def unfinished(self) -> AsyncIterator[Record]:
        """Iterate over all records that are not terminal, oldest first, in pages of 500; log and skip damaged ones."""
        return self._iterate(ended=False)

    def unacknowledged(self) -> AsyncIterator[Record]:
        """Iterate over all records that are terminal and were not acknowledged, like `unfinished`."""
        return self._iterate(ended=True)

    async def _iterate(self, *, ended: bool) -> AsyncIterator[Record]:
        # rows added during the iteration are left out, so that it ends
        until: int = await self._open_thread.call(None, read=Database.newest)
        after = 0
        while after < until:
            page: list[Record]
            page, after = await self._open_thread.call(None, read=self._page_reader(after, until, ended=ended))
            for record in page:
                yield record

    async def summary(self) -> StoreSummary:
        """Count all jobs by provider and state, with their ages and charges; for `aiowatermark jobs --stats`."""
        counted: StoreSummary = await self._open_thread.call(None, read=read_summary)
        return counted

    async def acknowledge(self, records: Sequence[Record]) -> None:
        """Mark the results of these ended jobs as acknowledged; raises StoreError."""
        self._check_writable()
        thread = self._open_thread
        await asyncio.gather(*(thread.call(ChangeKind.ACKNOWLEDGE, record) for record in records))

    async def forget(self, record: Record) -> bool:
        """Delete this version of a record with its files; whether the key is free now.

        After a StoreError nothing was deleted. Files that cannot be removed now are removed by a later opening. A
        cancelled call is carried out if the thread has it already.
        """
        self._check_writable()
        free: bool
        free, _ = await self._open_thread.call(ChangeKind.FORGET, record)
        return free

    @property
    def _open_thread(self) -> StoreThread:
        """The thread of the open store; raises StoreError if the store is closed, InvalidInput on another loop."""
        thread = self._thread
        if thread is None:
            raise StoreError(f"the store {self.path} is closed: use it inside `async with`")
        if thread.loop is not running_loop("this store"):
            raise InvalidInput("this store is open on another event loop: use one store for each loop")
        return thread

    def _check_writable(self) -> None:
        if self.read_only:
            raise StoreError(f"the store {self.path} is open with read_only=True, so nothing can be written to it")

    async def _to_write(self, record: Record) -> Record | RecordRow:
        """Return what to hand to the store thread: the record, or its row after its media were written to files."""
        self._check_writable()
        if not has_inline_media(record):
            return record
        # in another thread: the store thread must not be held up by large files
        return await asyncio.to_thread(self._write_blobs, record, self._open_thread)

    @staticmethod
    def _write_blobs(record: Record, thread: StoreThread) -> RecordRow:
        row, parts = to_row(record, thread.clock)
        thread.blobs.write(parts)
        return row

    def _page_reader(self, after: int, until: int, *, ended: bool) -> Any:
        """Return a function that reads a page of records, and the id after which the next page begins."""
        thread = self._open_thread

        def read_page(database: Database) -> tuple[list[Record], int]:
            rows = database.page(after, until, _PAGE, ended=ended)
            records = [record for _, key, data in rows if (record := _decode_or_log(thread, key, data)) is not None]
            return records, rows[-1][0] if len(rows) == _PAGE else until

        return read_page


def _decode_or_log(thread: StoreThread, key: str, data: str) -> Record | None:
    try:
        return thread.decode(data)
    except StoreError as error:
        log.error("job %s cannot be recovered: %s", key, error)  # noqa: TRY400 - the other records can be
        return None
