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
from .connection import Connection, RedisUnavailable
from .keys import Command, digest
from .leases import LeaseCommands
from .records import update_command
from .scripts import CREATED, FORGET

T = TypeVar("T")
log = logging.getLogger("aiowatermark")

_DEFERRED_BATCH = 1000
_WRITE_BATCH = 50


@define(eq=False)
class WriteBacklog:
    """Paid with the heartbeat. Of a job's `news` only the latest are kept; `undone` are records to be removed."""

    connection: Connection
    leases: LeaseCommands
    keep: float
    unwritten: dict[str, Record] = field(factory=dict, init=False)
    to_delete: dict[str, tuple[Record, str]] = field(factory=dict, init=False)
    deferred: list[Command] = field(factory=list, init=False)
    _refused: set[str] = field(factory=set, init=False)
    _deleting: asyncio.Lock = field(factory=asyncio.Lock, init=False)

    def on_written(self, record: Record) -> None:
        """This stands in Redis now; a finished job is put away with the next heartbeat."""
        kept = self.unwritten.get(record.key)
        if kept is not None and kept.version <= record.version:
            del self.unwritten[record.key]
        if record.snapshot.status.terminal:
            self.deferred += self.leases.finish(record, self.keep)

    async def run_with_deferred(self, calls: list[Command]) -> list[Any]:
        """The answers to a heartbeat; what is to be put away travels with it."""
        answers: list[Any] | None = None
        while answers is None or self.deferred:
            later, self.deferred = self.deferred[:_DEFERRED_BATCH], self.deferred[_DEFERRED_BATCH:]
            try:
                got = await self.connection.execute(*(calls if answers is None else ()), *later, probe=True)
            except BaseException:
                self.deferred = later + self.deferred
                raise
            answers = got if answers is None else answers
        return answers

    async def flush(self) -> None:
        """Tell everything; raises OutOfReach where that is not to be done now."""
        for key in list(self.to_delete):
            await self.delete(key)
        for records in chunks(list(self.unwritten.values()), _WRITE_BATCH):
            try:
                await self._write(records)
            except RedisUnavailable:
                raise
            except StoreError:
                await self._write_singly(records)

    async def _write(self, records: list[Record]) -> None:
        written = await self.connection.execute(
            *(update_command(self.leases.keys, record, self.keep) for record in records), probe=True
        )
        for record, how in zip(records, written, strict=True):
            self.on_written(record)
            if how == CREATED and not record.snapshot.status.terminal:
                self.deferred += [*self.leases.lease(record), *self.leases.map_callback(record)]

    async def _write_singly(self, records: list[Record]) -> None:
        """One that Redis refuses keeps no other from being written."""
        for record in records:
            try:
                await self._write([record])
            except RedisUnavailable:
                raise
            except StoreError as error:
                if record.key not in self._refused:
                    self._refused.add(record.key)
                    log.warning("news of job %s are kept until they can be written: %s", record.key, error)

    async def delete(self, key: str) -> None:
        """Take back what was called off: an opening whose answer nobody waited for, or a whole record."""
        async with self._deleting:
            if (undone := self.to_delete.get(key)) is None:
                return
            record, once = undone
            (removed,) = await self.connection.execute(FORGET(self.leases.keys.job(digest(key)), once), probe=True)
            if removed or not once:
                await self.connection.execute(*self.leases.remove(record), probe=True)
            if self.to_delete.get(key) is undone:
                del self.to_delete[key]


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """The items, so many at a time."""
    rest = iter(items)
    while chunk := list(islice(rest, size)):
        yield chunk
