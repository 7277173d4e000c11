"""What Redis is still to be told: news from while it was lost, openings that were called off, things to put away."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, TypeVar

from attrs import define, field

from ...errors import StoreError
from ...jobs import Record
from .connection import OutOfReach, Wire
from .keys import Call, digest
from .leases import Leases
from .records import news
from .scripts import CREATED, FORGET

T = TypeVar("T")
log = logging.getLogger("aiowatermark")

_TIDIED = 1000
_PAID = 50


@define(eq=False)
class Debts:
    """Paid with the heartbeat. Of a job's `news` only the latest are kept; `undone` are records to be removed."""

    wire: Wire
    leases: Leases
    keep: float
    news: dict[str, Record] = field(factory=dict, init=False)
    undone: dict[str, tuple[Record, str]] = field(factory=dict, init=False)
    later: list[Call] = field(factory=list, init=False)
    _refused: set[str] = field(factory=set, init=False)
    _undoing: asyncio.Lock = field(factory=asyncio.Lock, init=False)

    def wrote(self, record: Record) -> None:
        """This stands in Redis now; a finished job is put away with the next heartbeat."""
        kept = self.news.get(record.key)
        if kept is not None and kept.version <= record.version:
            del self.news[record.key]
        if record.snapshot.status.terminal:
            self.later += self.leases.ended(record, self.keep)

    async def tidied(self, calls: list[Call]) -> list[Any]:
        """The answers to a heartbeat; what is to be put away travels with it."""
        answers: list[Any] | None = None
        while answers is None or self.later:
            later, self.later = self.later[:_TIDIED], self.later[_TIDIED:]
            try:
                got = await self.wire.ask(*(calls if answers is None else ()), *later, probe=True)
            except BaseException:
                self.later = later + self.later
                raise
            answers = got if answers is None else answers
        return answers

    async def paid(self) -> None:
        """Tell everything; raises OutOfReach where that is not to be done now."""
        for key in list(self.undone):
            await self.undo(key)
        for records in chunks(list(self.news.values()), _PAID):
            try:
                await self._write(records)
            except OutOfReach:
                raise
            except StoreError:
                await self._write_singly(records)

    async def _write(self, records: list[Record]) -> None:
        written = await self.wire.ask(*(news(self.leases.names, record, self.keep) for record in records), probe=True)
        for record, how in zip(records, written, strict=True):
            self.wrote(record)
            if how == CREATED and not record.snapshot.status.terminal:
                self.later += [*self.leases.track(record), *self.leases.mapped(record)]

    async def _write_singly(self, records: list[Record]) -> None:
        """One that Redis refuses keeps no other from being written."""
        for record in records:
            try:
                await self._write([record])
            except OutOfReach:
                raise
            except StoreError as error:
                if record.key not in self._refused:
                    self._refused.add(record.key)
                    log.warning("news of job %s are kept until they can be written: %s", record.key, error)

    async def undo(self, key: str) -> None:
        """Take back what was called off: an opening whose answer nobody waited for, or a whole record."""
        async with self._undoing:
            if (undone := self.undone.get(key)) is None:
                return
            record, once = undone
            (removed,) = await self.wire.ask(FORGET(self.leases.names.job(digest(key)), once), probe=True)
            if removed or not once:
                await self.wire.ask(*self.leases.gone(record), probe=True)
            if self.undone.get(key) is undone:
                del self.undone[key]


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """The items, so many at a time."""
    rest = iter(items)
    while chunk := list(islice(rest, size)):
        yield chunk
