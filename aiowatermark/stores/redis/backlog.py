"""Write backlog: writes and deletions to send when Redis answers again, and commands that can wait for a heartbeat.

    entries      what they are                          added by                     removed by
    unwritten    per job, the latest record that is     add_unwritten: `put` during  flush; forget_unwritten: `forget`
                 not written yet                        an outage                    of the store
    deletions    per job, a record to be deleted        queue_deletion: `open`       flush; delete_queued: the next
                                                        without a reply, `forget`    `open` of the key; confirm_deletion
    deferred     commands without a deadline: end a     defer: a finished job, and   run_with_deferred
                 lease, expire or delete the key of a   wherever a lease ends
                 callback

Invariants: an entry is removed after Redis has confirmed it, or when the job is forgotten. Of a record only the newest
version is kept. A deletion with a nonce deletes only the record that this creation inserted, never another one with
the same key. Other objects reach the entries through methods only.

Concurrency: heartbeats call `run_with_deferred` and `flush`, one at a time; `open` also calls `delete_queued`, so a
lock keeps two deletions of one key apart. Other tasks add entries between the awaits; each entry is therefore compared
(by identity, or by version) before it is removed.

Failure and cancellation: every method that sends raises StoreError and keeps its entries; the next heartbeat tries
again. Running an entry twice is harmless, so entries are also kept when only the reply was lost. If Redis refuses a
batch for another reason, its records are written one by one, so that one bad record blocks no other.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, TypeVar

from attrs import define, field, frozen

from ...errors import StoreError
from ...jobs import Record
from .connection import Connection, RedisUnavailable
from .keys import Command
from .leases import LeaseCommands
from .records import delete_command, update_command
from .scripts import CREATED, DELETED, MISSING

T = TypeVar("T")
log = logging.getLogger("aiowatermark")

_DEFERRED_BATCH = 1000
_WRITE_BATCH = 50


@frozen
class Deletion:
    """A version of a record that is to be deleted; if there is a `nonce`, what the creation with it inserted."""

    record: Record
    nonce: str = ""


@define(eq=False)
class WriteBacklog:
    """What this replica still has to send; `keep` is the lifetime of finished records in seconds."""

    connection: Connection
    leases: LeaseCommands
    keep: float
    _unwritten: dict[str, Record] = field(factory=dict, init=False)
    _deletions: dict[str, Deletion] = field(factory=dict, init=False)
    _deferred: list[Command] = field(factory=list, init=False)
    # keys whose failed write has been logged
    _refused: set[str] = field(factory=set, init=False)
    _deleting: asyncio.Lock = field(factory=asyncio.Lock, init=False)

    @property
    def empty(self) -> bool:
        """Whether nothing is left to be sent."""
        return not (self._unwritten or self._deletions or self._deferred)

    # adding and removing entries

    def add_unwritten(self, record: Record) -> None:
        """Write this record with the next heartbeat; it replaces an earlier version."""
        self._unwritten[record.key] = record

    def unwritten_record(self, key: str) -> Record | None:
        """Return the version of a record that is still to be written, or None."""
        return self._unwritten.get(key)

    def unwritten_records(self) -> list[Record]:
        """Return all records that are still to be written."""
        return list(self._unwritten.values())

    def forget_unwritten(self, key: str) -> None:
        """Do not write a record any more: it is being deleted."""
        self._unwritten.pop(key, None)

    def on_written(self, record: Record) -> None:
        """Note that Redis stores this version of a record, or a later one; clean up after a finished job."""
        unwritten = self._unwritten.get(record.key)
        if unwritten is not None and unwritten.version <= record.version:
            del self._unwritten[record.key]
        if record.snapshot.status.terminal and record.acknowledged:
            self.defer(*self.leases.finish(record, self.keep))

    def queue_deletion(self, record: Record, nonce: str = "") -> Deletion:
        """Delete a record with the next heartbeat; if `nonce` is given, only what the creation with it inserted."""
        deletion = self._deletions[record.key] = Deletion(record, nonce)
        return deletion

    def confirm_deletion(self, deletion: Deletion) -> None:
        """Note that Redis has carried out this deletion; one that was queued later for the same key stays."""
        if self._deletions.get(deletion.record.key) is deletion:
            del self._deletions[deletion.record.key]

    def queued_deletions(self) -> list[Deletion]:
        """Return all deletions that are still to be carried out."""
        return list(self._deletions.values())

    def defer(self, *commands: Command) -> None:
        """Send commands with the next heartbeat; their replies are ignored."""
        self._deferred += commands

    # sending

    async def run_with_deferred(self, commands: list[Command]) -> list[Any]:
        """Run a heartbeat's commands and return their replies; the deferred commands share its round trip."""
        replies = await self._run_with_batch(commands)
        while self._deferred:
            await self._run_with_batch([])
        return replies

    async def _run_with_batch(self, commands: list[Command]) -> list[Any]:
        """Run commands together with the first deferred ones, and return the replies of the former."""
        deferred, self._deferred = self._deferred[:_DEFERRED_BATCH], self._deferred[_DEFERRED_BATCH:]
        try:
            replies, _ignored = await self.connection.execute_groups(commands, deferred, probe=True)
        except BaseException:
            self._deferred = deferred + self._deferred
            raise
        return replies

    async def flush(self) -> None:
        """Send all deletions, then all unwritten records; raises RedisUnavailable and keeps what is left."""
        for deletion in self.queued_deletions():
            await self.delete_queued(deletion.record.key)
        for records in chunks(self.unwritten_records(), _WRITE_BATCH):
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
                self.defer(*self.leases.lease(record), *self.leases.map_callback(record))

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

    async def delete_queued(self, key: str) -> None:
        """Carry out the queued deletion of a key, if there is one: of the record and everything else about its job.

        Raises StoreError and keeps the deletion. If only the record was deleted by then, its lease and index entry stay
        until this replica leaves and `unfinished` finds the entry without a record.
        """
        if key not in self._deletions:  # does not wait for the deletion of another key
            return
        async with self._deleting:
            if (deletion := self._deletions.get(key)) is None:  # carried out meanwhile
                return
            command = delete_command(self.leases.keys, deletion.record, deletion.nonce)
            (deleted,) = await self.connection.execute(command, probe=True)
            # if nothing was deleted, the lease may be that of another record with the same key
            if deleted == DELETED or (deleted == MISSING and not deletion.nonce):
                await self.connection.execute(*self.leases.remove(deletion.record), probe=True)
            self.confirm_deletion(deletion)


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield lists of at most `size` consecutive items."""
    rest = iter(items)
    while chunk := list(islice(rest, size)):
        yield chunk
