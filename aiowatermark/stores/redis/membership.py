"""Membership: one replica among those on a Redis; its heartbeat, the jobs leased to it, and recovery after an outage.

In Redis a replica is one entry per account in `replicas`, with the time at which its lease ends. That entry keeps all
its leases and slots alive, so a heartbeat costs one script per account, however many jobs are leased.

    event                        action
    every third of a lease       HEARTBEAT for each account, together with the deferred commands; write the backlog
    the connection is lost       `wakeup` starts a heartbeat; retry after 0.05 to 1 s, and in less than a third of a
                                 lease, until one gets through
    a heartbeat ends the outage  write the backlog, mark the connection connected, report the slots again, and adopt no
                                 orphans for one lease, while the other replicas renew theirs
    Redis does not know this     it lost its data, or this lease expired and ADOPT removed the replica: lease all jobs
    replica any more             again, write their records again, report the slots again; a job that another replica
                                 holds by now is no longer leased here
    Redis may have forgotten     a rewind (rewind/identity.py; also if a heartbeat finds another run id in the data):
    its latest writes            begin a quiet time of one lease, lease all jobs again, write their records again and
                                 those of jobs that ended here recently; all that before anything else is sent
    close                        last heartbeat, then LEAVE: slots are free, jobs are orphans immediately

Invariants: `leased_record` returns the latest known record of every unfinished job that is leased to this replica.
Whether a lease is held is decided by Redis alone, on its own clock. A replica that stood still for longer than a lease
continues to watch jobs that others have adopted; records are versioned, so that costs polls and never a charge.

Concurrency: everything runs on one event loop. Only the heartbeat task and `close`, which has cancelled it, call
`heartbeat`, so no two heartbeats overlap. Other tasks add and drop leased jobs between its awaits; `_resync` therefore
drops a job only if its record is still the one it sent.

Failure and cancellation: a heartbeat that fails with StoreError is repeated; `_needs_resync` is set again if `_resync`
fails or is cancelled. Records that cannot be written until the end are logged with their tokens, and records that
cannot be deleted with their keys.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import secrets
import uuid
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol

from attrs import define, field

from ...errors import StoreError
from ...jobs import Record
from ...lifetimes import start_task
from ..records.dump import without_inline_media
from .backlog import WriteBacklog
from .connection import Connection
from .keys import SLOT_KEYS, Command, RedisKeys, digest
from .leases import LeaseCommands, LeaseReply
from .pubsub import PubSub
from .rewind.ended_media import EndedMedia
from .rewind.quiet_time import QuietTime
from .rewind.recent_records import RecentRecords, media_bytes, newer
from .rewind.write_back import write_back_leased, write_back_recent
from .scripts import HEARTBEAT, LEAVE, NOTE_SERVER
from .server.settings import warn_if_evicting

log = logging.getLogger("aiowatermark")


class HeartbeatObserver(Protocol):
    """What reacts to heartbeats and to the end of the membership; accounts are given by their digests."""

    def on_demand_elsewhere(self, account: str, demand: bool) -> None:  # noqa: FBT001
        """Note whether another replica waits for a slot of the account."""

    def resync(self) -> None:
        """Report the state of this replica again: Redis has lost it, or counted this replica as dead."""

    def stop(self) -> None:
        """Fail all waiters: the store is closing."""


@define(eq=False)
class Membership:
    """One replica, from the opening of its store to the closing; `keep` and `lease` are in seconds."""

    connection: Connection
    keys: RedisKeys
    keep: float
    lease: float
    replica_id: str = field(factory=lambda: uuid.uuid4().hex, init=False)
    leases: LeaseCommands = field(init=False)
    backlog: WriteBacklog = field(init=False)
    pubsub: PubSub = field(init=False)
    quiet: QuietTime = field(factory=QuietTime, init=False)
    _recent: RecentRecords = field(factory=RecentRecords, init=False)
    callback_secret: bytes = field(default=b"", init=False, repr=False)
    _leased: dict[str, Record] = field(factory=dict, init=False)
    _ended_media: EndedMedia = field(factory=EndedMedia, init=False)
    _observers: list[HeartbeatObserver] = field(factory=list, init=False)
    # loop time
    _no_adoption_until: float = field(default=0.0, init=False)
    # digests by account: those the heartbeat is sent for
    _accounts: dict[str, str] = field(factory=dict, init=False)
    # digests of the accounts in which Redis has known this replica
    _known_accounts: set[str] = field(factory=set, init=False)
    _needs_resync: bool = field(default=False, init=False)
    _heartbeat_task: asyncio.Task[None] | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        """Create the lease commands, the backlog and the pub/sub of this replica."""
        self.leases = LeaseCommands(self.keys, self.replica_id, self.lease_ms)
        self.backlog = WriteBacklog(self.connection, self.leases, self.keep)
        self.pubsub = PubSub(self.connection, self.keys.channel, self.replica_id)

    @property
    def lease_ms(self) -> int:
        """The length of a lease in milliseconds."""
        return max(1, int(self.lease * 1000))

    @property
    def may_adopt(self) -> bool:
        """Whether this replica may adopt orphans: not within one lease after an outage, nor in a quiet time."""
        return asyncio.get_running_loop().time() >= self._no_adoption_until and not self.quiet.seconds_left

    def join_account(self, account: str) -> str:
        """Send heartbeats for an account from now on; return its digest."""
        if account not in self._accounts:
            self._accounts[account] = digest(account)
        return self._accounts[account]

    def add_observer(self, observer: HeartbeatObserver) -> None:
        """Notify an observer until the store is closed."""
        self._observers.append(observer)

    # leases

    def lease_commands(self, record: Record) -> tuple[Command, ...]:
        """Join the job's account, and return the commands of `LeaseCommands.lease`."""
        self.join_account(record.account)
        return self.leases.lease(record)

    def on_leased(self, record: Record, reply: Sequence[int]) -> bool:
        """Process the reply of LEASE for a record that Redis has; whether the lease was granted."""
        granted = self.is_granted(record, reply)
        if granted:
            self.add_leased(record)
        return granted

    def is_granted(self, record: Record, reply: Sequence[int]) -> bool:
        """Whether LEASE was granted, by its reply; Redis may have another record of this key."""
        lease = LeaseReply(*reply)
        self.on_seen(self.join_account(record.account), lease.unknown)
        return bool(lease.granted)

    def add_leased(self, record: Record) -> None:
        """Note that a job is leased to this replica, and its latest record."""
        self._leased[record.key] = record
        self._recent.drop(record.key)

    def drop_leased(self, key: str) -> None:
        """Note that a job is no longer leased to this replica, which need not write its record again after a rewind."""
        self._leased.pop(key, None)
        self._recent.drop(key)

    def end_leased(self, record: Record, mode: str) -> None:
        """Note that a job is no longer leased to this replica; its record is written again after a rewind soon after.

        `mode` says how the lease ended, as in `LeaseCommands`. A job that was not leased here is ignored: its record
        may never have been inserted.
        """
        self._ended_media.drop(record.key)
        if (known := self._leased.pop(record.key, None)) is not None:
            self._keep_recent(known if newer(known, record) else record, mode)

    def _keep_recent(self, record: Record, mode: str) -> None:
        self._recent.add(record, mode, asyncio.get_running_loop().time())

    def leased_record(self, key: str) -> Record | None:
        """Return the latest record of a job that is leased to this replica; None for any other job."""
        return self._leased.get(key)

    def on_seen(self, account: str, unknown: int) -> None:
        """Process a script's answer whether Redis did not know this replica in an account, given by its digest."""
        # unknown for the first time is normal; later Redis has lost its data, or has removed this replica as dead
        if unknown and account in self._known_accounts:
            self._needs_resync = True
            self.connection.wakeup.set()
        self._known_accounts.add(account)

    def on_written(self, record: Record) -> None:
        """Note that Redis stores this version of a record, or a later one."""
        if record.snapshot.status.terminal and record.acknowledged:
            self._leased.pop(record.key, None)
            self._keep_recent(record, "ended")
        elif record.key in self._leased:
            self.add_leased(record)
            self._bound_media(record)
        else:
            self._keep_recent(record, "released")
        self.backlog.on_written(record)

    def _bound_media(self, record: Record) -> None:
        """Keep the records of ended jobs without their results where those need too much memory."""
        if not (record.snapshot.status.terminal and (size := media_bytes(record))):
            return
        for key in self._ended_media.add(record.key, size):
            if (known := self._leased.get(key)) is not None:
                self._leased[key] = without_inline_media(known)

    def defer_write(self, record: Record) -> Record:
        """Put a record that could not be written into the backlog; return the known one if it is newer or terminal."""
        known = self.backlog.unwritten_record(record.key) or self.leased_record(record.key)
        if known is not None and not known.replaceable_by(record):
            return known
        self.join_account(record.account)  # its heartbeat writes the backlog
        self.backlog.add_unwritten(record)
        if record.key in self._leased:
            self.add_leased(record)
        return record

    # heartbeat

    async def start(self) -> None:
        """Note on which server the data are used, write the backlog, start the heartbeat task; raises StoreError."""
        await self._note_server(rewound=False)
        await warn_if_evicting(self.connection)
        self.callback_secret = await self._load_secret()
        # records that an earlier opening could not write come before anything new
        await self._flush()
        self._heartbeat_task = start_task(self._run())

    async def wait_until_open_allowed(self) -> None:
        """Wait until the quiet time is over; raises StoreError if the store is closed or Redis is unavailable."""
        await self.connection.wait_connected()
        while self.quiet.seconds_left:
            await self.quiet.wait()
            await self.connection.wait_connected()

    async def wait_to_begin(self, record: Record) -> bool:
        """Wait as `wait_until_open_allowed` if a record begins an attempt of a key that is not leased here.

        The owner of the key may be about to write back that it has begun one. Returns whether that is so.
        """
        begins = record.before_payment and record.key not in self._leased
        if begins:
            await self.wait_until_open_allowed()
        return begins

    async def _load_secret(self) -> bytes:
        """Return the secret that all replicas on these data share: the one that the first of them has set."""
        mine = Command("SET", (self.keys.secret,), (secrets.token_bytes(32), "NX"))
        _, secret = await self.connection.execute(mine, Command("GET", (self.keys.secret,)), probe=True)
        return bytes(secret)

    async def _note_server(self, *, rewound: bool) -> None:
        """Note on which server the data are used, and obey its quiet time; `rewound`: begin one of a lease."""
        identity, keys = self.connection.identity, self.keys
        # a server without data may have lost them when it started: it cannot be known
        quiet_ms = math.ceil(max(0.0, self.lease - identity.age) * 1000)
        note = NOTE_SERVER((*keys.server, keys.accounts), identity.run_id, self.lease_ms, quiet_ms, int(rewound))
        (left_ms,) = await self.connection.execute(note, probe=True)
        self.quiet.extend(left_ms / 1000)

    async def _run(self) -> None:
        failures = 0
        while True:
            delay = self.lease / 3
            if self.connection.disconnected:
                delay = min(0.05 * 2 ** min(failures, 5), 1.0, delay)
            # jitter, so that replicas do not send their heartbeats together
            await self.connection.wakeup.wait(delay * random.uniform(0.7, 1.0))  # noqa: S311
            try:
                await self.heartbeat()
                failures = 0
            except StoreError:
                failures += 1
            except Exception:
                log.exception("a heartbeat of the store failed")

    async def heartbeat(self) -> None:
        """Renew this replica in all its accounts and write the backlog; raises StoreError if Redis is unavailable."""
        if self.connection.rewound:
            await self._recover_from_rewind()
        accounts = list(self._accounts.values())
        commands = [
            HEARTBEAT(self.keys.account(account, *SLOT_KEYS), self.replica_id, self.lease_ms) for account in accounts
        ]
        was_disconnected, (server, _) = self.connection.disconnected, self.keys.server
        *replies, run_id = await self.backlog.run_with_deferred([*commands, Command("GET", (server,))])
        await self._check_run_id(run_id)
        for account, (unknown, demand) in zip(accounts, replies, strict=True):
            self.on_seen(account, unknown)
            for observer in self._observers:
                observer.on_demand_elsewhere(account, bool(demand))
        resync_observers = was_disconnected or self._needs_resync
        if self._needs_resync:
            await self._resync()
        await self._flush()
        self.connection.mark_connected()
        if was_disconnected:
            # every lease may have expired during the outage: let living replicas renew theirs before adopting any job
            self._no_adoption_until = asyncio.get_running_loop().time() + self.lease
        for observer in self._observers if resync_observers else ():
            observer.resync()

    async def _check_run_id(self, run_id: bytes | None) -> None:
        """Begin a rewind if the data are not those that this replica has noted the server in."""
        if run_id != self.connection.identity.run_id.encode():
            await self.connection.begin_rewind("its data were deleted or replaced")
            raise self.connection.unavailable()

    async def _flush(self) -> None:
        """Write the backlog; then old records need not be written back any more."""
        await self.backlog.flush()
        if not self.connection.rewound:
            self._recent.expire(asyncio.get_running_loop().time())

    async def _recover_from_rewind(self) -> None:
        """Begin the quiet time, and write back what Redis may have forgotten: before anything else is sent."""
        epoch = self.connection.epoch
        await self._note_server(rewound=True)
        await self._resync()
        await write_back_recent(self.connection, self.leases, self.keep, self._recent.entries())
        self.connection.confirm_write_back(epoch)

    async def _resync(self) -> None:
        """Lease all jobs again and write their records again: Redis lost its data, or counted this replica as dead."""
        self._needs_resync = False
        try:
            records = list(self._leased.values())
            for record in await write_back_leased(self.connection, self.leases, self.keep, records):
                if self._leased.get(record.key) is record:
                    self.drop_leased(record.key)
        except BaseException:
            self._needs_resync = True
            raise

    # closing

    async def close(self) -> None:
        """Write the backlog and leave: free the slots, make the leased jobs orphans; failures are only logged.

        A replica that could not leave loses its slots and jobs when its lease expires. Unwritten records stay in the
        backlog, and are logged with their tokens. Deletions that were not carried out are logged and dropped. Other
        deferred commands are dropped: `unfinished` removes the index entry of a job whose lease was not ended, but the
        key that maps a callback to its job stays.
        """
        for observer in self._observers:
            observer.stop()  # first: a semaphore that still requests slots would start the subscription again
        await self.pubsub.stop()
        task, self._heartbeat_task = self._heartbeat_task, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            with suppress(StoreError):
                if self._accounts or not self.backlog.empty:
                    await self.heartbeat()
                    await self.connection.execute(*self._leave_commands())
        for record in self.backlog.unwritten_records():
            log.warning("job %s could not be written to the store; its token is %s", record.key, record.token)
        for deletion in self.backlog.queued_deletions():
            log.warning("job %s could not be deleted from the store and may still be listed", deletion.record.key)

    def _leave_commands(self) -> list[Command]:
        message = self.pubsub.encode("free")
        account_keys = [self.keys.account(account, *SLOT_KEYS, "held") for account in self._accounts.values()]
        return [LEAVE(keys, self.replica_id, self.keys.channel, message) for keys in account_keys]
