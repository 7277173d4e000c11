"""Memory in a file: jobs survive crashes, and processes on one machine share them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from os import PathLike
from pathlib import Path
from typing import Any, Self

from attrs import define, field

from ...errors import InvalidInput, StoreError
from ...jobs import Record
from ..blobs import BlobFolder
from ..records.dump import has_inline_media
from .database import ChangeKind, Database, RecordRow
from .worker import StoreThread, to_row

log = logging.getLogger("aiowatermark")

_MONTH = 30 * 86400.0
_PAGE = 500


def _path(path: str | PathLike[str]) -> Path:
    return Path(path)


def _validate_keep(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        raise InvalidInput(f"keep is a number of seconds, not {value!r}")
    return float(value)


@define(eq=False)
class SQLiteStore:
    """Remembers jobs in the file `path`, made when it is not there; finished jobs for `keep` seconds.

    What is written is on the disk when the call returns; where much is written at once it is gathered for up to 20 ms.
    Several clients of one loop may share one store, and several processes of one machine one file; not over a network
    file system. Results that came as bytes instead of a link are files in the folder `<path>-outputs`, removed with
    their job.

    Every call, and opening it, raises StoreError where the file cannot be used: it is no store, newer than this
    version, damaged, read-only, or on a full disk.
    """

    path: Path = field(converter=_path)
    keep: float = field(default=_MONTH, kw_only=True, converter=_validate_keep)
    _users: int = field(default=0, init=False, repr=False)
    _thread: StoreThread | None = field(default=None, init=False, repr=False)

    @property
    def coordinator(self) -> None:
        """Nothing is shared besides records."""

    async def __aenter__(self) -> Self:
        """Open it on the running loop; opening it again shares it until the last has closed it."""
        clerk = self._start()
        self._users += 1
        try:
            await asyncio.shield(clerk.ready)
        except BaseException:
            self._release(clerk)
            raise
        return self

    def _start(self) -> StoreThread:
        loop = asyncio.get_running_loop()
        if self._thread is not None and self._thread.loop is not loop:
            if not self._thread.loop.is_closed():
                raise InvalidInput("this store is open on another event loop: use one store a loop, on the same file")
            self._thread.close()  # its loop ended without closing it
            self._thread = None
        if self._thread is None:
            self._users = 0
            self._thread = StoreThread(self.path, BlobFolder(Path(f"{self.path}-outputs")), self.keep, loop)
            self._thread.start()
        return self._thread

    async def __aexit__(self, *exc: object) -> None:
        """Close it once nobody uses it: what was asked for before is done first."""
        clerk = self._thread
        if clerk is not None and self._release(clerk):
            await asyncio.shield(clerk.closed)

    def _release(self, clerk: StoreThread) -> bool:
        """One user less; says whether it was the last."""
        if clerk is not self._thread:
            return False
        self._users -= 1
        if self._users > 0:
            return False
        self._thread = None
        clerk.close()
        return True

    async def open(self, record: Record) -> Record | None:
        """Remember a new record, safely, before money is spent; gives the one that has the key already."""
        what = await self._to_write(record)
        known: Record | None = await self._open_thread.call(ChangeKind.OPEN, what)
        return known

    async def put(self, record: Record) -> Record:
        """Remember news, unless what is remembered is newer or terminal; gives what is remembered now."""
        what = await self._to_write(record)
        newer: Record | None = await self._open_thread.call(ChangeKind.PUT, what)
        return record if newer is None else newer

    async def get(self, key: str) -> Record | None:
        """The record of that key."""
        clerk = self._open_thread
        found: Record | None = await clerk.call(None, read=lambda table: clerk.decode(table.by_key(key)))
        return found

    async def by_callback(self, callback: str) -> Record | None:
        """The record whose callback key has that hash."""
        clerk = self._open_thread
        found: Record | None = await clerk.call(None, read=lambda table: clerk.decode(table.by_callback(callback)))
        return found

    async def unfinished(self) -> AsyncIterator[Record]:
        """All records that are not terminal, oldest first, a few hundred in memory; a damaged one is logged."""
        until: int = await self._open_thread.call(None, read=Database.newest)
        after = 0
        while after < until:
            page: list[Record]
            page, after = await self._open_thread.call(None, read=self._page_reader(after, until))
            for record in page:
                yield record

    async def forget(self, key: str) -> None:
        """Remove a record and its files."""
        await self._open_thread.call(ChangeKind.FORGET, key)

    # the inside

    @property
    def _open_thread(self) -> StoreThread:
        if self._thread is None:
            raise StoreError(f"the store {self.path} is closed: use it inside `async with`")
        return self._thread

    async def _to_write(self, record: Record) -> Record | RecordRow:
        """The record, or its row where its content had to be brought into files first: not in the store's thread."""
        if not has_inline_media(record):
            return record
        return await asyncio.to_thread(self._write_blobs, record, self._open_thread.blobs)

    @staticmethod
    def _write_blobs(record: Record, outputs: BlobFolder) -> RecordRow:
        row, parts = to_row(record)
        outputs.write(parts)
        return row

    def _page_reader(self, after: int, until: int) -> Any:
        clerk = self._open_thread

        def page(table: Database) -> tuple[list[Record], int]:
            rows = table.unfinished(after, until, _PAGE)
            found = [record for _, key, data in rows if (record := _decode_or_log(clerk, key, data)) is not None]
            return found, rows[-1][0] if len(rows) == _PAGE else until

        return page


def _decode_or_log(clerk: StoreThread, key: str, data: str) -> Record | None:
    try:
        return clerk.decode(data)
    except StoreError as error:
        log.error("job %s cannot be recovered: %s", key, error)  # noqa: TRY400 - the others can
        return None
