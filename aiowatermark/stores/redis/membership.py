"""One replica: the jobs it watches, its heartbeat, and what Redis is still to be told."""

from __future__ import annotations

import asyncio
import logging
import random
import uuid
from contextlib import suppress
from itertools import islice
from typing import Protocol

from attrs import define, field

from ...errors import StoreError
from ...jobs import Record
from .backlog import WriteBacklog, chunks
from .connection import Connection
from .keys import SLOT_KEYS, Command, RedisKeys, digest
from .leases import LeaseCommands
from .pubsub import PubSub
from .records import update_command
from .scripts import BEAT, QUIT

log = logging.getLogger("aiowatermark")

_RESYNC_BATCH = 50


class AccountPool(Protocol):
    """What an account shares beside its leases."""

    def on_demand_elsewhere(self, waits: bool) -> None:  # noqa: FBT001
        """Whether another replica waits for a permit."""

    def resync(self) -> None:
        """Redis has forgotten this replica, or declared it dead."""

    def stop(self) -> None:
        """Let nobody wait any longer."""


@define(eq=False)
class Membership:
    """Lives as long as its store is open. `held` are the jobs leased to it; `quiet_until` it declares nobody dead."""

    connection: Connection
    keys: RedisKeys
    keep: float
    lease: float
    replica_id: str = field(factory=lambda: uuid.uuid4().hex, init=False)
    leases: LeaseCommands = field(init=False)
    backlog: WriteBacklog = field(init=False)
    pubsub: PubSub = field(init=False)
    leased: dict[str, Record] = field(factory=dict, init=False)
    pools: dict[str, AccountPool] = field(factory=dict, init=False)
    no_reaping_until: float = field(default=0.0, init=False)
    _accounts: dict[str, str] = field(factory=dict, init=False)
    _known_accounts: set[str] = field(factory=set, init=False)
    _needs_resync: bool = field(default=False, init=False)
    _heartbeat_task: asyncio.Task[None] | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        """Have a name among the others, and an ear for them."""
        self.leases = LeaseCommands(self.keys, self.replica_id, self.lease_ms)
        self.backlog = WriteBacklog(self.connection, self.leases, self.keep)
        self.pubsub = PubSub(self.connection, self.keys.channel, self.replica_id)

    @property
    def lease_ms(self) -> int:
        """How long a lease lasts, in Redis's unit."""
        return max(1, int(self.lease * 1000))

    def account_digest(self, account: str) -> str:
        """An account's digest; from now on the heartbeat is for it too."""
        if account not in self._accounts:
            self._accounts[account] = digest(account)
        return self._accounts[account]

    # leases

    def lease_commands(self, record: Record) -> tuple[Command, ...]:
        """What leases a job to this replica and puts it into the index, where it can be found after a crash."""
        self.account_digest(record.account)
        return self.leases.lease(record)

    def on_leased(self, record: Record, answer: list[int]) -> bool:
        """Whether a lease came of it."""
        self.on_seen(self.account_digest(record.account), answer[0])
        if answer[1]:
            self.leased[record.key] = record
        return bool(answer[1])

    def on_seen(self, account: str, fresh: int) -> None:
        """Redis said whether it knew this replica; where it should have, it is told everything once more."""
        if fresh and account in self._known_accounts:
            self._needs_resync = True
            self.connection.wakeup.set()
        self._known_accounts.add(account)

    def on_written(self, record: Record) -> None:
        """This stands in Redis now."""
        if record.snapshot.status.terminal:
            self.leased.pop(record.key, None)
        elif record.key in self.leased:
            self.leased[record.key] = record
        self.backlog.on_written(record)

    def defer(self, record: Record) -> Record:
        """The latest news of a job, until they can be written; what is known where that is newer."""
        known = self.backlog.unwritten.get(record.key) or self.leased.get(record.key)
        if known is not None and (known.snapshot.status.terminal or known.version >= record.version):
            return known
        self.account_digest(record.account)  # whose heartbeat writes it
        self.backlog.unwritten[record.key] = record
        if record.key in self.leased:
            self.leased[record.key] = record
        return record

    # its heartbeat

    def start(self) -> None:
        """Begin to live."""
        self._heartbeat_task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        failed = 0
        while True:
            pause = min(0.05 * 2 ** min(failed, 5), 1.0) if self.connection.disconnected else self.lease / 3
            await self.connection.wakeup.wait(pause * random.uniform(0.7, 1.0))  # noqa: S311 - not all replicas at once
            try:
                await self.heartbeat()
                failed = 0
            except StoreError:
                failed += 1
            except Exception:
                log.exception("a heartbeat of the store failed")

    async def heartbeat(self) -> None:
        """Say that this replica lives, for all its jobs at once; tell Redis what it missed."""
        accounts = list(self._accounts.values())
        calls = [BEAT(self.keys.account(account, *SLOT_KEYS), self.replica_id, self.lease_ms) for account in accounts]
        calls = calls or [Command("PING", ())]
        was_lost = self.connection.disconnected
        answers = await self.backlog.run_with_deferred(calls)
        for account, (fresh, waits) in zip(accounts, answers, strict=False):
            self.on_seen(account, fresh)
            if account in self.pools:
                self.pools[account].on_demand_elsewhere(bool(waits))
        renew = was_lost or self._needs_resync
        if self._needs_resync:
            await self._resync()
        await self.backlog.flush()
        self.connection.mark_connected()
        if was_lost:
            # after a break nobody has a lease: let the others beat before anybody is declared dead
            self.no_reaping_until = asyncio.get_running_loop().time() + self.lease
        for pooled in self.pools.values() if renew else ():
            pooled.resync()

    async def _resync(self) -> None:
        """Redis lost its memory, or thought us dead: put back what is under way and still ours."""
        self._needs_resync = False
        try:
            for records in chunks(list(self.leased.values()), _RESYNC_BATCH):
                calls = [(*self.lease_commands(record), *self.leases.map_callback(record)) for record in records]
                again = [update_command(self.keys, record, self.keep) for record in records]
                answers = iter(
                    await self.connection.execute(*(call for some in calls for call in some), *again, probe=True)
                )
                for record, some in zip(records, calls, strict=True):
                    _, (_, ours), *_ = islice(answers, len(some))
                    if not ours and self.leased.get(record.key) is record:
                        del self.leased[record.key]
        except BaseException:
            self._needs_resync = True
            raise

    # its end

    async def close(self) -> None:
        """Write what is left to write, and leave the jobs that go on to others."""
        await self.pubsub.stop()
        for pooled in self.pools.values():
            pooled.stop()
        pulse, self._heartbeat_task = self._heartbeat_task, None
        if pulse is not None:
            pulse.cancel()
            with suppress(asyncio.CancelledError):
                await pulse
            with suppress(StoreError):
                if self._accounts or self.backlog.deferred:
                    await self.heartbeat()
                    await self.connection.execute(*self._quit_commands())
        for record in self.backlog.unwritten.values():
            log.warning("news of job %s could not be written to the store; its token is %s", record.key, record.token)

    def _quit_commands(self) -> list[Command]:
        said = self.pubsub.encode("free")
        keys = [self.keys.account(account, *SLOT_KEYS, "held") for account in self._accounts.values()]
        return [QUIT(of, self.replica_id, self.keys.channel, said) for of in keys]
