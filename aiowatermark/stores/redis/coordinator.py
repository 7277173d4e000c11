"""What replicas on one Redis share: rate, permits, leases, bells."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any

from attrs import define, field

from ...errors import StoreError
from ...jobs import Record
from ...wire import Delivery
from .keys import LEASE_KEYS
from .membership import Membership
from .rate_limiter import SharedRateLimiter
from .records import load_many
from .scripts import REAP, RING
from .semaphore import SharedSemaphore

_MAX_BODY = 64 << 10
_REAP_BATCH = 100

DeliveryListener = Callable[[str, Delivery], object]


@define(eq=False)
class _Account:
    """What an account's jobs share."""

    semaphore: SharedSemaphore
    rate_limiter: SharedRateLimiter

    def on_demand_elsewhere(self, waits: bool) -> None:  # noqa: FBT001
        self.semaphore.on_demand_elsewhere(waits)

    def resync(self) -> None:
        self.semaphore.resync()

    def stop(self) -> None:
        self.semaphore.stop()
        self.rate_limiter.stop()


@define(eq=False)
class RedisCoordinator:
    """The `Commons` of one RedisStore."""

    membership: Membership
    _accounts: dict[str, _Account] = field(factory=dict, init=False)
    _subscribers: list[DeliveryListener] = field(factory=list, init=False)

    def __attrs_post_init__(self) -> None:
        """Take what the others say to where it belongs."""
        self.membership.pubsub.handlers.update(
            ring=self._on_delivery, want=self._on_demand, free=self._on_release, hold=self._on_pause
        )

    @property
    def lease(self) -> float:
        """Seconds after which a replica that says nothing counts as dead."""
        return self.membership.lease

    def _account(self, account: str) -> _Account:
        known = self._accounts.get(name := self.membership.account_digest(account))
        if known is None:
            known = _Account(SharedSemaphore(self.membership, name), SharedRateLimiter(self.membership, name))
            self._accounts[name] = self.membership.pools[name] = known
        return known

    # rate and permits

    async def acquire(self, account: str, rate: float | None, *, new: bool) -> None:
        """Wait for one's turn among all replicas."""
        await self._account(account).rate_limiter.acquire(rate, new=new)

    async def pause(self, account: str, seconds: float) -> None:
        """Let no replica begin for so long."""
        await self._account(account).rate_limiter.pause(seconds)

    def slot(self, account: str, limit: int) -> AbstractAsyncContextManager[None]:
        """One of `limit` permits to submit."""
        return self._account(account).semaphore.slot(limit)

    # leases

    async def claim(self, record: Record) -> bool:
        """Take the lease of a job that is to be watched here."""
        *_, answer = await self.membership.connection.execute(*self.membership.lease_commands(record))
        return self.membership.on_leased(record, answer)

    async def release(self, record: Record) -> None:
        """Nobody has to watch this job any more."""
        await self._end_lease(record, "released")

    async def hand_over(self, record: Record) -> None:
        """Another replica may take this job over at once."""
        await self._end_lease(record, "left")

    async def _end_lease(self, record: Record, how: str) -> None:
        self.membership.leased.pop(record.key, None)
        call = self.membership.leases.end_lease(record, how)
        try:
            await self.membership.connection.execute(call)
        except StoreError:
            self.membership.backlog.deferred.append(call)

    async def orphans(self, account: str) -> AsyncIterator[Record]:
        """Unfinished records whose replica died or left; each is leased to us when it is given."""
        replica, name = self.membership, self.membership.account_digest(account)
        with suppress(StoreError):
            while asyncio.get_running_loop().time() >= replica.no_reaping_until:
                keys = replica.keys.account(name, *LEASE_KEYS)
                ((fresh, jobs),) = await replica.connection.execute(
                    REAP(keys, replica.replica_id, replica.lease_ms, _REAP_BATCH)
                )
                replica.on_seen(name, fresh)
                async for record in self._adopt(name, [job.decode() for job in jobs]):
                    yield record
                if len(jobs) < _REAP_BATCH:
                    return

    async def _adopt(self, account: str, jobs: list[str]) -> AsyncIterator[Record]:
        """The records of jobs that are ours now; those that nobody fetches are left to others."""
        replica, waiting = self.membership, dict.fromkeys(jobs, "left")
        try:
            for job, record in zip(jobs, await load_many(replica.connection, replica.keys, jobs), strict=True):
                if record is None or record.snapshot.status.terminal:
                    waiting[job] = "released" if record is None else "ended"
                    continue
                del waiting[job]
                replica.leased[record.key] = record
                yield record
        finally:
            replica.backlog.deferred += [
                replica.leases.end_lease_by_digest(account, job, how) for job, how in waiting.items()
            ]

    # bells

    async def forward(self, callback: str, delivery: Delivery) -> bool:
        """Tell all other replicas of a delivery; whether there is a job of that callback."""
        body = delivery.body if len(delivery.body) <= _MAX_BODY else b""
        said = self.membership.pubsub.encode("ring", callback, delivery.content_type[:200], body=body)
        key = self.membership.keys.callback(callback)
        (known,) = await self.membership.connection.execute(RING((key,), self.membership.keys.channel, said))
        return bool(known)

    def subscribe(self, rung: DeliveryListener) -> Callable[[], None]:
        """Have `rung` called for what other replicas ring; gives what ends it."""
        self._subscribers.append(rung)
        self.membership.pubsub.start()
        return lambda: self._subscribers.remove(rung) if rung in self._subscribers else None

    def _on_delivery(self, words: list[Any], body: bytes) -> None:
        callback, content_type = words
        for rung in list(self._subscribers):
            rung(callback, Delivery(body, content_type))

    def _on_demand(self, words: list[Any], _: bytes) -> None:
        if (known := self._accounts.get(words[0])) is not None:
            known.semaphore.on_demand_elsewhere(waits=True)

    def _on_release(self, words: list[Any], _: bytes) -> None:
        for name in words or list(self._accounts):
            if (known := self._accounts.get(name)) is not None:
                known.semaphore.on_release_elsewhere()

    def _on_pause(self, words: list[Any], _: bytes) -> None:
        if (known := self._accounts.get(words[0])) is not None:
            known.rate_limiter.on_pause(float(words[1]))
