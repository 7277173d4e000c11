"""Write backlog: writes and deletions to send when Redis answers again, and commands that can wait for a heartbeat.

    list         holds                                         filled by                     emptied by
    unwritten    per job, the latest record not yet written    `put` during an outage        flush
    to_delete    per job, the record and the nonce of its      `open` without a reply,       flush, or the next `open`
                 creation ("" means: delete it in any case)    `forget`                      of the key
    deferred     commands without a deadline: end a lease,     a finished job, and wherever  run_with_deferred
                 expire or delete a callback's key             a lease ends

Invariants: an entry is removed after Redis has confirmed it, or `forget` has made it pointless. `unwritten` keeps only
the newest version of a record. A deletion with a nonce deletes only the record that this creation inserted, never
another one with the same key.

Concurrency: heartbeats call `run_with_deferred` and `flush`, one at a time; `delete` may also be called by `open`, so a
lock keeps two deletions of one key apart. Other tasks add entries between the awaits; each entry is therefore compared
(by identity, or by version) before it is removed.

Failure and cancellation: every method raises StoreError and keeps its entries; the next heartbeat tries again. If
Redis refuses a batch for another reason, its records are written one by one, so that one bad record blocks no other.
"""

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
from .scripts import CREATED, DELETE

T = TypeVar("T")
log = logging.getLogger("aiowatermark")

_DEFERRED_BATCH = 1000
_WRITE_BATCH = 50


@define(eq=False)
class WriteBacklog:
    """What this replica still has to send; `keep` is the lifetime of finished records in seconds."""

    connection: Connection
    leases: LeaseCommands
    keep: float
    unwritten: dict[str, Record] = field(factory=dict, init=False)
    to_delete: dict[str, tuple[Record, str]] = field(factory=dict, init=False)
    deferred: list[Command] = field(factory=list, init=False)
    # keys whose failed write has been logged
    _refused: set[str] = field(factory=set, init=False)
    _deleting: asyncio.Lock = field(factory=asyncio.Lock, init=False)

    def on_written(self, record: Record) -> None:
        """Note that Redis stores this version of a record, or a later one; clean up after a finished job."""
        unwritten = self.unwritten.get(record.key)
        if unwritten is not None and unwritten.version <= record.version:
            del self.unwritten[record.key]
        if record.snapshot.status.terminal:
            self.deferred += self.leases.finish(record, self.keep)

    async def run_with_deferred(self, commands: list[Command]) -> list[Any]:
        """Run a heartbeat's commands and return their replies; the deferred commands share its round trip."""
        replies: list[Any] | None = None
        while replies is None or self.deferred:
            deferred, self.deferred = self.deferred[:_DEFERRED_BATCH], self.deferred[_DEFERRED_BATCH:]
            try:
                batch = await self.connection.execute(*(commands if replies is None else ()), *deferred, probe=True)
            except BaseException:
                self.deferred = deferred + self.deferred
                raise
            # the first batch begins with the heartbeat's replies
            replies = batch if replies is None else replies
        return replies

    async def flush(self) -> None:
        """Send all deletions, then all unwritten records; raises RedisUnavailable and keeps what is left."""
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
        replies = await self.connection.execute(
            *(update_command(self.leases.keys, record, self.keep) for record in records), probe=True
        )
        for record, reply in zip(records, replies, strict=True):
            self.on_written(record)
            if reply == CREATED and not record.snapshot.status.terminal:
                # Redis had lost this record, and with it its lease, index entry and callback
                self.deferred += [*self.leases.lease(record), *self.leases.map_callback(record)]

    async def _write_singly(self, records: list[Record]) -> None:
        """Write records one by one; log those that Redis refuses, once each, and keep them."""
        for record in records:
            try:
                await self._write([record])
            except RedisUnavailable:
                raise
            except StoreError as error:
                if record.key not in self._refused:
                    self._refused.add(record.key)
                    log.warning("job %s could not be written yet and will be tried again: %s", record.key, error)

    async def delete(self, key: str) -> None:
        """Delete the record in `to_delete[key]` and everything else about its job."""
        async with self._deleting:
            if (entry := self.to_delete.get(key)) is None:
                return
            record, nonce = entry
            (deleted,) = await self.connection.execute(DELETE(self.leases.keys.job(digest(key)), nonce), probe=True)
            # with a nonce and nothing deleted, the lease may be that of another record with the same key
            if deleted or not nonce:
                await self.connection.execute(*self.leases.remove(record), probe=True)
            if self.to_delete.get(key) is entry:
                del self.to_delete[key]


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield lists of at most `size` consecutive items."""
    rest = iter(items)
    while chunk := list(islice(rest, size)):
        yield chunk
