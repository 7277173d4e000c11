"""Write-back: repeats what this replica has told a server that may have forgotten it.

It never goes back: UPDATE keeps a stored record that is terminal, not older, or of a later epoch, and LEASE the lease
of a living replica. A record that Redis refuses for another reason is logged and passed over; it blocks no other.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from ....errors import StoreError
from ....jobs import Record
from ..backlog import chunks
from ..connection import Connection, RedisUnavailable
from ..keys import Command, digest
from ..leases import LeaseCommands, LeaseReply, format_created
from ..records import acknowledge_command, write_back_commands
from .recent_records import RecentRecord

T = TypeVar("T")
log = logging.getLogger("aiowatermark")

_BATCH = 50


async def write_back_leased(
    connection: Connection, leases: LeaseCommands, keep: float, records: Sequence[Record]
) -> list[Record]:
    """Write records with their leases, index entries and callbacks; return those that another replica holds.

    Raises RedisUnavailable. `keep` is the lifetime of finished records in seconds.
    """
    held_elsewhere: list[Record] = []

    async def write(batch: Sequence[Record]) -> None:
        groups = [(_index(leases, record), *leases.lease(record), *leases.map_callback(record)) for record in batch]
        updates = [command for record in batch for command in write_back_commands(leases.keys, record, keep)]
        *replies, _written = await connection.execute_groups(*groups, updates, probe=True)
        for record, (_indexed, _registered, lease_reply, *_mapped) in zip(batch, replies, strict=True):
            if not LeaseReply(*lease_reply).granted:
                held_elsewhere.append(record)

    await _in_batches(records, write, lambda record: record.key)
    return held_elsewhere


def _index(leases: LeaseCommands, record: Record) -> Command:
    """Return the command that writes an index entry over that of an earlier job with this key.

    The end of the earlier job may be deferred still; it must not remove the entry of this one.
    """
    (unfinished,) = leases.keys.account(digest(record.account), "unfinished")
    return Command("ZADD", (unfinished,), (format_created(record.created_at), digest(record.key)))


async def write_back_recent(
    connection: Connection, leases: LeaseCommands, keep: float, entries: Sequence[RecentRecord]
) -> None:
    """Write records that are not leased here any more; with index entries, except those whose results were taken.

    Raises RedisUnavailable.
    """

    def commands(entry: RecentRecord) -> tuple[Command, ...]:
        record = entry.record
        written = (*leases.map_callback(record), *write_back_commands(leases.keys, record, keep))
        if entry.mode == "ended":  # its result was taken
            return (*written, acknowledge_command(leases.keys, record, keep), *leases.finish(record, keep))
        # the index entry is written by a lease, which then ends as it did before
        return (*leases.lease(record), leases.end_lease(record, entry.mode), *written)

    async def write(batch: Sequence[RecentRecord]) -> None:
        await connection.execute(*(command for entry in batch for command in commands(entry)), probe=True)

    await _in_batches(entries, write, lambda entry: entry.record.key)


async def _in_batches(
    items: Sequence[T], write: Callable[[Sequence[T]], Awaitable[None]], key: Callable[[T], str]
) -> None:
    """Write items in batches; those of a batch that Redis refuses one by one."""
    for batch in chunks(items, _BATCH):
        try:
            await write(batch)
        except RedisUnavailable:
            raise
        except StoreError:
            for item in batch:
                await _write_or_log(write, item, key(item))


async def _write_or_log(write: Callable[[Sequence[T]], Awaitable[None]], item: T, key: str) -> None:
    try:
        await write([item])
    except RedisUnavailable:
        raise
    except StoreError as error:
        log.warning("job %s could not be written to the store again after Redis was restarted: %s", key, error)
