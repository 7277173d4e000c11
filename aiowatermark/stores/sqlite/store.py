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
from ..blobs import Outputs
from ..records.dump import holds_content
from .database import Kind, Row, Table
from .worker import Clerk, written

log = logging.getLogger("aiowatermark")

_MONTH = 30 * 86400.0
_PAGE = 500


def _path(path: str | PathLike[str]) -> Path:
    return Path(path)


def _seconds(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        msg = f"keep is a number of seconds, not {value!r}"
        raise InvalidInput(msg)
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
    keep: float = field(default=_MONTH, kw_only=True, converter=_seconds)
    _users: int = field(default=0, init=False, repr=False)
    _clerk: Clerk | None = field(default=None, init=False, repr=False)

    @property
    def commons(self) -> None:
        """Nothing is shared besides records."""

    async def __aenter__(self) -> Self:
        """Open it on the running loop; opening it again shares it until the last has closed it."""
        clerk = self._begun()
        self._users += 1
        try:
            await asyncio.shield(clerk.ready)
        except BaseException:
            self._left(clerk)
            raise
        return self

    def _begun(self) -> Clerk:
        loop = asyncio.get_running_loop()
        if self._clerk is not None and self._clerk.loop is not loop:
            if not self._clerk.loop.is_closed():
                msg = "this store is open on another event loop: use one store a loop, on the same file"
                raise InvalidInput(msg)
            self._clerk.close()  # its loop ended without closing it
            self._clerk = None
        if self._clerk is None:
            self._users = 0
            self._clerk = Clerk(self.path, Outputs(Path(f"{self.path}-outputs")), self.keep, loop)
            self._clerk.start()
        return self._clerk

    async def __aexit__(self, *exc: object) -> None:
        """Close it once nobody uses it: what was asked for before is done first."""
        clerk = self._clerk
        if clerk is not None and self._left(clerk):
            await asyncio.shield(clerk.closed)

    def _left(self, clerk: Clerk) -> bool:
        """One user less; says whether it was the last."""
        if clerk is not self._clerk:
            return False
        self._users -= 1
        if self._users > 0:
            return False
        self._clerk = None
        clerk.close()
        return True

    async def open(self, record: Record) -> Record | None:
        """Remember a new record, safely, before money is spent; gives the one that has the key already."""
        what = await self._what(record)
        known: Record | None = await self._open.ask(Kind.OPEN, what)
        return known

    async def put(self, record: Record) -> Record:
        """Remember news, unless what is remembered is newer or terminal; gives what is remembered now."""
        what = await self._what(record)
        newer: Record | None = await self._open.ask(Kind.PUT, what)
        return record if newer is None else newer

    async def get(self, key: str) -> Record | None:
        """The record of that key."""
        clerk = self._open
        found: Record | None = await clerk.ask(None, read=lambda table: clerk.record(table.by_key(key)))
        return found

    async def by_callback(self, callback: str) -> Record | None:
        """The record whose callback key has that hash."""
        clerk = self._open
        found: Record | None = await clerk.ask(None, read=lambda table: clerk.record(table.by_callback(callback)))
        return found

    async def unfinished(self) -> AsyncIterator[Record]:
        """All records that are not terminal, oldest first, a few hundred in memory; a damaged one is logged."""
        until: int = await self._open.ask(None, read=Table.newest)
        after = 0
        while after < until:
            page: list[Record]
            page, after = await self._open.ask(None, read=self._page(after, until))
            for record in page:
                yield record

    async def forget(self, key: str) -> None:
        """Remove a record and its files."""
        await self._open.ask(Kind.FORGET, key)

    # the inside

    @property
    def _open(self) -> Clerk:
        if self._clerk is None:
            msg = f"the store {self.path} is closed: use it inside `async with`"
            raise StoreError(msg)
        return self._clerk

    async def _what(self, record: Record) -> Record | Row:
        """The record, or its row where its content had to be brought into files first: not in the store's thread."""
        if not holds_content(record):
            return record
        return await asyncio.to_thread(self._kept, record, self._open.outputs)

    @staticmethod
    def _kept(record: Record, outputs: Outputs) -> Row:
        row, parts = written(record)
        outputs.keep(parts)
        return row

    def _page(self, after: int, until: int) -> Any:
        clerk = self._open

        def page(table: Table) -> tuple[list[Record], int]:
            rows = table.unfinished(after, until, _PAGE)
            found = [record for _, key, data in rows if (record := _readable(clerk, key, data)) is not None]
            return found, rows[-1][0] if len(rows) == _PAGE else until

        return page


def _readable(clerk: Clerk, key: str, data: str) -> Record | None:
    try:
        return clerk.record(data)
    except StoreError as error:
        log.error("job %s cannot be recovered: %s", key, error)  # noqa: TRY400 - the others can
        return None
