"""RedisStore: job records in Redis or Valkey, shared by any number of replicas.

This module decides what happens to records. The rest is beside it: connection (pipelines, outages), scripts (atomic
steps), membership (heartbeat, leases), backlog (what is still to be sent), coordinator (limits, callbacks, adoption).

    call        commands, in this order
    open        SADD account, LEASE with the index entry, CREATE, SET callback: one round trip
    put         UPDATE, SET NX GET task: one round trip; a second one reads the stored record if that must stay
    acknowledge ACKNOWLEDGE; with the next heartbeat END_LEASE with the index entry, PEXPIRE callback and task
    forget      DELETE; then END_LEASE with the index entry, DEL callback and task

Invariants: an index entry is written before its record and removed after its result was taken. A crash in between
leaves an entry without such a record, which `unfinished` skips and removes; one without any record only after an hour,
because the record may be about to be written. A record has one creation (its nonce), so of many `open` one wins.

A Redis that may have forgotten writes (a rewind) is a short outage, until this replica has written its records back;
then a quiet time of one lease follows, in which only `open`, and a `put` that begins another attempt of a key, wait.
Calls that notice a rewind are held until the records are written back. See rewind/.

What an outage means depends on whether money has been spent. Before, the store stops the job; afterwards it must not:

    call during an outage         result
    open                          StoreError; a record that may have been inserted is deleted with its nonce later
    put before the payment        StoreError (Record.before_payment)
    put afterwards                the record goes to the backlog and is returned as if it were written
    get                           the record of the backlog, else that of a job leased here, else StoreError
    forget                        a job known here is deleted later; for any other one StoreError

Cancellation: a cancelled `open` is undone like a failed one; a cancelled `put` of a submitted job goes to the backlog.
Concurrency: clients of one event loop share an open store; a lock orders opening and closing. When the last one closes
it, a new replica is prepared for the next opening, which takes over the unwritten records. Several tasks may write one
record: UPDATE compares versions, so an older one never replaces a newer one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import Self

from attrs import define, field

from ...errors import StoreError
from ...introspection import documented
from ...jobs import Record
from ...lifetimes import SharedLifetime, finish
from ...redaction import redact_url
from ..shared_tasks import note_shared_task
from ..summary import StoreSummary
from . import records as rows
from .connection import Connection, RedisUnavailable, add_consequence
from .coordinator import RedisCoordinator, RedisOwners
from .keys import DEFAULT_PREFIX, Command, RedisKeys, digest, validate_prefix, validate_seconds
from .listing import RecordIndex, read_summary
from .membership import Membership
from .scripts import CREATED, REFUSED, TAKEN_OVER, WRITTEN
from .server.settings import ServerSettings, read_settings

log = logging.getLogger("aiowatermark")


@documented
@define(eq=False)
class RedisStore:
    """Keeps records in Redis 7 or Valkey, for any number of replicas.

    Unfinished records are kept until they are finished or forgotten. Let Redis keep an append-only file. A Redis that
    was restarted, replaced by a replica or emptied may have forgotten its latest writes: then each open store writes
    the records of its running jobs and of those that ended in the last ten seconds again, and `open` of any key waits
    for one `lease`, also on a server that has just started; see docs/recovery.md. A single server and Redis Sentinel
    are supported; Redis Cluster and proxies are not: through them a forgotten write is not noticed.

    Args:
        url: the server, as redis://, rediss:// or unix://; or sentinel://host:26379,host2:26379/service_name/0, which
            follows a failover. A password belongs to the Redis servers; the options sentinel_username and
            sentinel_password to the Sentinels.
        prefix: the beginning of every key, so that several services can use one Redis.
        keep: seconds for which finished records are kept; the default is 30 days.
        lease: seconds without a heartbeat after which a replica counts as dead and others adopt its jobs. With less
            than two, a replica may be too late to write back what a Redis has forgotten.

    While Redis is unavailable, `open` and every `put` before a paid request raise StoreError; later snapshots are kept
    in memory and written when it answers again. Raises InvalidInput for an invalid URL or setting. Entering raises
    StoreError if no Redis answers or redis-py is missing (`pip install 'aiowatermark[redis]'`), and logs a warning if
    the server deletes keys when its memory is full (`maxmemory-policy`).
    """

    url: str = field(repr=lambda url: redact_url(url).partition("?")[0])
    prefix: str = field(default=DEFAULT_PREFIX, kw_only=True, validator=validate_prefix)
    keep: float = field(default=30 * 86400.0, kw_only=True, validator=validate_seconds)
    lease: float = field(default=5.0, kw_only=True, validator=validate_seconds)
    _connection: Connection = field(init=False, repr=False)
    _keys: RedisKeys = field(init=False, repr=False)
    _membership: Membership = field(init=False, repr=False)
    _coordinator: RedisCoordinator = field(init=False, repr=False)
    _lifetime: SharedLifetime = field(factory=partial(SharedLifetime, "this store"), init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        """Check the URL; nothing is connected yet."""
        self._keys = RedisKeys(self.prefix)
        self._connect_later(())

    def _connect_later(self, unwritten: Iterable[Record]) -> None:
        # a replica that waits for a reply of a server that is gone must still be in time to write back within one lease
        self._connection = Connection(self.url, timeout=min(5.0, max(1.0, self.lease / 2)))
        self._build(unwritten)

    def _build(self, unwritten: Iterable[Record]) -> None:
        """Prepare a new replica, with the records that the last one could not write."""
        self._membership = Membership(self._connection, self._keys, self.keep, self.lease)
        for record in unwritten:
            self._membership.backlog.add_unwritten(record)
        self._coordinator = RedisCoordinator(self._membership)

    async def __aenter__(self) -> Self:
        """Connect; several clients of one event loop may open the same store."""
        left = self._membership.backlog.unwritten_records  # of an event loop that ended
        await self._lifetime.enter(self._open, lambda: self._connect_later(left()))
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Close when the last user leaves: write the backlog, make unfinished jobs orphans, disconnect.

        Raises nothing if Redis is unavailable. Then leased jobs are orphans when the lease expires; unwritten records
        are logged with their tokens, and written if the store is opened again; some may stay that should be deleted.
        """
        await self._lifetime.leave(self._close)

    async def _open(self) -> None:
        await self._connection.open()
        try:
            await self._membership.start()
        except BaseException:
            await finish(self._connection.close())
            raise

    async def _close(self) -> None:
        try:
            await self._membership.close()
        finally:
            await self._connection.close()
            self._build(self._membership.backlog.unwritten_records())

    @property
    def coordinator(self) -> RedisCoordinator:
        """What replicas share besides records; a new object each time the store is opened again."""
        return self._coordinator

    @property
    def callback_secret(self) -> bytes:
        """What all replicas sign the keys of callbacks with."""
        return self._membership.callback_secret

    @property
    def cli_location(self) -> str | None:
        """What `--store` of the command line takes to open this store, with its password; None with a prefix."""
        return self.url if self.prefix == DEFAULT_PREFIX else None

    @property
    def owners(self) -> RedisOwners:
        """Which owners of records are alive."""
        return RedisOwners(self._coordinator)

    @property
    def round_trips(self) -> int:
        """The number of round trips so far."""
        return self._connection.round_trips

    async def server_settings(self) -> ServerSettings:
        """Return the settings of the server that decide what it may forget; raises StoreError."""
        return await read_settings(self._connection)

    async def open(self, record: Record) -> Record | None:
        """Insert a new record and lease its job to this replica, in one round trip.

        Return None, or the record that has the key already. Raises StoreError if Redis is unavailable. Redis may have
        run the commands of a failed or cancelled call all the same; then a heartbeat deletes the record, its lease, its
        index entry and its callback, before the key is opened here again. If Redis has run only a part, a lease and an
        index entry without a record may stay, which `unfinished` removes after an hour, and the callback's key. If the
        key exists already and its record cannot be read, that record is unchanged, and this replica may hold its lease.
        """
        membership, nonce = self._membership, rows.new_nonce()
        await membership.wait_until_open_allowed()
        await membership.backlog.delete_queued(record.key)
        create = rows.create_command(self._keys, record, nonce)
        try:
            (_registered, lease_reply), (created,), _mapped = await self._connection.execute_groups(
                membership.lease_commands(record), (create,), membership.leases.map_callback(record), hold=False
            )
        except BaseException as error:
            membership.backlog.queue_deletion(record, nonce)
            if isinstance(error, RedisUnavailable) and self._connection.holding:
                return await self.open(record)  # a rewind was noticed: wait for the end of its quiet time
            if isinstance(error, StoreError):
                raise add_consequence(error, "if the record was inserted all the same, it is deleted later") from None
            raise
        if created:
            membership.on_leased(record, lease_reply)
            return None
        # a record that was not inserted must not be written after a rewind: its later epoch would win
        return await self._load_existing(record, leased=membership.is_granted(record, lease_reply))

    async def _load_existing(self, mine: Record, *, leased: bool) -> Record | None:
        """Return the record that has the key of `mine` already, and undo what `open` prepared for `mine`."""
        membership, known = self._membership, await self.get(mine.key)
        if mine.callback is not None and (known is None or known.callback != mine.callback):
            membership.backlog.defer(Command("DEL", (self._keys.callback(mine.callback),)))
        if known is None:  # deleted since CREATE found it
            return await self.open(mine)
        if known.snapshot.status.terminal:
            membership.drop_leased(mine.key)
            if known.acknowledged or leased:
                membership.backlog.defer(membership.leases.end_lease(mine, "ended" if known.acknowledged else "left"))
        elif leased:
            membership.add_leased(known)
        return known

    async def put(self, record: Record) -> Record | None:
        """Write a newer version, in one round trip, and return what is stored now; see `JobStore.put`.

        Raises StoreError if Redis is unavailable and the record is one from before the payment; the stored record is
        then this version or the one before. A record from after the payment is returned and written later, also if the
        call is cancelled; only a closed store, or media that cannot be stored, raises StoreError for it.
        """
        update = rows.update_command(self._keys, record, self.keep, insert=not record.before_payment)
        try:
            begins = await self._membership.wait_to_begin(record)
            commands = (update, *rows.claim_task_command(self._keys, record))
            reply, *holder = await self._connection.execute(*commands, hold=not begins)
            known = record if reply >= WRITTEN else await self.get(record.key)
            if not record.snapshot.status.terminal:
                await self._lease_written(record, reply)
        except StoreError as error:
            if not self._lifetime.in_use:
                raise
            if record.before_payment:
                raise add_consequence(error, "the stored record is this version or the one before") from None
            # an outage has been logged already
            if not self._connection.disconnected:
                log.warning("job %s could not be written yet and will be tried again: %s", record.key, error)
            return self._membership.defer_write(record)
        except asyncio.CancelledError:
            if not record.before_payment:
                self._membership.defer_write(record)
            raise
        if known is not None:
            self._membership.on_written(known)
        return await self._note(record, holder[0]) if known is record and rows.is_other_job(record, holder) else known

    async def _note(self, record: Record, holder: bytes) -> Record:
        """Note in a record that is written that another job has its task, as far as the store can be reached."""
        noted = record
        with suppress(StoreError):  # its next version has the note
            noted = note_shared_task(record, await self._load(holder.decode()))
            if noted is not record:
                await self._connection.execute(rows.note_command(self._keys, noted))
                self._membership.on_written(noted)
        return noted

    async def _lease_written(self, record: Record, reply: int) -> None:
        """Lease and index a record that UPDATE has inserted, or written for a new owner, so that it can be found."""
        leases, commands = self._membership.leases, self._membership.lease_commands(record)
        if reply == TAKEN_OVER:
            # the lease and the index entry may be those of a job that had ended, or of the owner that is gone
            end = leases.end_lease_by_digest(digest(record.account), digest(record.key), "ended")
            commands = (end, *commands, *leases.map_callback(record))
        elif reply != CREATED:
            return
        try:
            replies = await self._connection.execute(*commands)
        except BaseException:
            # without the index entry it would not be found after a crash
            self._membership.backlog.defer(*commands)
            raise
        lease_reply = next(reply for reply in replies if isinstance(reply, list))
        self._membership.on_leased(record, lease_reply)

    async def get(self, key: str) -> Record | None:
        """Return the record with that key, or None; during an outage also one that this replica knows."""
        if (unwritten := self._membership.backlog.unwritten_record(key)) is not None:
            return unwritten
        if self._connection.disconnected and (leased := self._membership.leased_record(key)) is not None:
            return leased
        return await self._load(digest(key))

    async def by_callback(self, callback: str) -> Record | None:
        """Return the record whose callback key has the hash `callback`, or None."""
        record = await self._load_by(self._keys.callback(callback))
        return record if record is not None and record.callback == callback else None

    async def by_task(self, account: str, task_id: str) -> Record | None:
        """Return the record of an account's task, the oldest if there are several, or None."""
        record = await self._load_by(self._keys.task(account, task_id))
        return record if record is not None and record.snapshot.task_id == task_id else None

    async def _load_by(self, name: str) -> Record | None:
        """Return the record of the job that this key of Redis names."""
        (job,) = await self._connection.execute(Command("GET", (name,)))
        return None if job is None else await self._load(job.decode())

    async def _load(self, job: str) -> Record | None:
        keys = self._keys.job(job)
        fields, content = await self._connection.execute(rows.read_command(keys), Command("HGETALL", (keys.parts,)))
        return rows.decode(fields, content)

    async def unfinished(self) -> AsyncIterator[Record]:
        """Iterate over the records of all accounts that are not terminal, oldest first; log and skip damaged ones."""
        async for record in RecordIndex(self._connection, self._keys, self._membership).records():
            if not record.snapshot.status.terminal:
                yield record

    async def unacknowledged(self) -> AsyncIterator[Record]:
        """Iterate over the records that are terminal and were not acknowledged, like `unfinished`.

        Those not acknowledged in `keep` seconds are logged once and left out; their keys stay known.
        """
        async for record in RecordIndex(self._connection, self._keys, self._membership).records():
            if not record.snapshot.status.terminal:
                continue
            (remaining,) = await self._connection.execute(Command("PTTL", (self._keys.job(digest(record.key)).record,)))
            if 0 <= remaining < self.keep * 1000:
                log.warning("job %s: result not acknowledged in %.0f s; its key stays used", record.key, self.keep)
                await self.acknowledge([record])
            else:
                yield record

    async def summary(self) -> StoreSummary:
        """Count all jobs by provider and state, with their ages and charges; for `aiowatermark jobs --stats`."""
        return await read_summary(self._connection, self._keys)

    async def acknowledge(self, records: Sequence[Record]) -> None:
        """Mark the results of these ended jobs as acknowledged, and end their leases; raises StoreError."""
        leases = self._membership.leases
        for record in records:
            self._membership.end_leased(record, "ended")
        commands = [rows.acknowledge_command(self._keys, record, self.keep) for record in records]
        await self._connection.execute(*commands)
        self._membership.backlog.defer(*(each for record in records for each in leases.finish(record, self.keep)))

    async def forget(self, record: Record) -> bool:
        """Delete this version of a record with its lease, index entry and lookup keys; whether the key is free now.

        Raises StoreError, and deletes nothing, if Redis is unavailable and this replica does not know the record. If it
        does, a deletion that fails or is cancelled half-way is repeated by the next heartbeat; until then `get`,
        `by_callback` and `unfinished` may find what is left.
        """
        membership, key = self._membership, record.key
        known = membership.backlog.unwritten_record(key) or membership.leased_record(key)
        if known is None:
            self._require_connected_for_deletion()
        elif known.version > record.version:
            return False
        membership.backlog.forget_unwritten(key)
        membership.drop_leased(key)  # first: a heartbeat must not write it again
        deletion = membership.backlog.queue_deletion(record)
        try:
            (reply,) = await self._connection.execute(rows.delete_command(self._keys, record))
            if reply != REFUSED:
                await self._connection.execute(*membership.leases.remove(record))
        except StoreError:
            return True  # the next heartbeat deletes it
        membership.backlog.confirm_deletion(deletion)
        return bool(reply != REFUSED)

    def _require_connected_for_deletion(self) -> None:
        try:
            self._connection.require_connected()
        except StoreError as error:
            raise add_consequence(error, "the record was not deleted") from None
