"""RedisCoordinator: the rate limits, submit slots, leases and callbacks of the replicas on one Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any, TypeAlias

from attrs import define, field

from ...errors import StoreError
from ...jobs import Record
from ...wire import Delivery
from .keys import LEASE_KEYS
from .membership import Membership
from .rate_limiter import SharedRateLimiter
from .records import load_many
from .scripts import ADOPT, FORWARD
from .semaphore import SharedSemaphore

_MAX_BODY = 64 << 10
_MAX_CONTENT_TYPE = 200
_ADOPT_BATCH = 100

DeliveryListener: TypeAlias = Callable[[str, Delivery], object]


@define(eq=False)
class _Account:
    """The semaphore and the rate limiter of one account; the AccountPool of `Membership`."""

    semaphore: SharedSemaphore
    rate_limiter: SharedRateLimiter

    def on_demand_elsewhere(self, demand: bool) -> None:  # noqa: FBT001
        self.semaphore.on_demand_elsewhere(demand)

    def resync(self) -> None:
        # a schedule needs no report: it is in Redis, or starts afresh
        self.semaphore.resync()

    def stop(self) -> None:
        self.semaphore.stop()
        self.rate_limiter.stop()


@define(eq=False)
class RedisCoordinator:
    """The Coordinator of one RedisStore while it is open."""

    membership: Membership
    _accounts: dict[str, _Account] = field(factory=dict, init=False)
    _listeners: list[DeliveryListener] = field(factory=list, init=False)

    def __attrs_post_init__(self) -> None:
        """Register a handler for each kind of message between replicas."""
        self.membership.pubsub.handlers.update(
            ring=self._on_delivery, want=self._on_demand, free=self._on_release, hold=self._on_pause
        )

    @property
    def lease(self) -> float:
        """Seconds without a heartbeat after which a replica counts as dead."""
        return self.membership.lease

    def _account(self, account: str) -> _Account:
        name = self.membership.account_digest(account)
        known = self._accounts.get(name)
        if known is None:
            known = _Account(SharedSemaphore(self.membership, name), SharedRateLimiter(self.membership, name))
            self._accounts[name] = self.membership.pools[name] = known
        return known

    # rate limit and slots

    async def acquire(self, account: str, rate: float | None, *, new: bool) -> None:
        """Wait until the rate limit of all replicas allows one more request."""
        await self._account(account).rate_limiter.acquire(rate, new=new)

    async def pause(self, account: str, seconds: float) -> None:
        """Let no replica send a request for `seconds`; raises nothing."""
        await self._account(account).rate_limiter.pause(seconds)

    def slot(self, account: str, limit: int) -> AbstractAsyncContextManager[None]:
        """Hold one of `limit` submit slots; entering raises StoreError if Redis is unavailable."""
        return self._account(account).semaphore.slot(limit)

    # leases

    async def claim(self, record: Record) -> bool:
        """Take the lease of a job; False if another living replica holds it."""
        *_, reply = await self.membership.connection.execute(*self.membership.lease_commands(record))
        return self.membership.on_leased(record, reply)

    async def release(self, record: Record) -> None:
        """End the lease of a job that needs no watching; raises nothing."""
        await self._end_lease(record, "released")

    async def hand_over(self, record: Record) -> None:
        """Make a job an orphan immediately, so that another replica adopts it; raises nothing."""
        await self._end_lease(record, "left")

    async def _end_lease(self, record: Record, mode: str) -> None:
        self.membership.leased.pop(record.key, None)
        command = self.membership.leases.end_lease(record, mode)
        try:
            await self.membership.connection.execute(command)
        except StoreError:
            self.membership.backlog.deferred.append(command)

    async def orphans(self, account: str) -> AsyncIterator[Record]:
        """Iterate over the jobs of replicas that died or closed; each is leased to this replica when it is yielded."""
        membership, name = self.membership, self.membership.account_digest(account)
        with suppress(StoreError):
            while asyncio.get_running_loop().time() >= membership.no_adoption_until:
                keys = membership.keys.account(name, *LEASE_KEYS)
                ((unknown, jobs),) = await membership.connection.execute(
                    ADOPT(keys, membership.replica_id, membership.lease_ms, _ADOPT_BATCH)
                )
                membership.on_seen(name, unknown)
                async for record in self._adopt(name, [job.decode() for job in jobs]):
                    yield record
                if len(jobs) < _ADOPT_BATCH:
                    return

    async def _adopt(self, account: str, jobs: list[str]) -> AsyncIterator[Record]:
        """Yield the records of jobs that ADOPT has leased to this replica."""
        # how to end the lease of each job that has not been yielded, if the caller stops iterating
        not_taken, membership = dict.fromkeys(jobs, "left"), self.membership
        try:
            records = await load_many(membership.connection, membership.keys, jobs)
            for job, record in zip(jobs, records, strict=True):
                if record is None or record.snapshot.status.terminal:
                    not_taken[job] = "released" if record is None else "ended"
                    continue
                del not_taken[job]
                membership.leased[record.key] = record
                yield record
        finally:
            membership.backlog.deferred += [
                membership.leases.end_lease_by_digest(account, job, mode) for job, mode in not_taken.items()
            ]

    # callbacks

    async def forward(self, callback: str, delivery: Delivery) -> bool:
        """Send a callback delivery to all other replicas; False if no job has this callback."""
        # the delivery is only a wake-up, so a large body can be left out
        body = delivery.body if len(delivery.body) <= _MAX_BODY else b""
        content_type = delivery.content_type[:_MAX_CONTENT_TYPE]
        message = self.membership.pubsub.encode("ring", callback, content_type, body=body)
        key = self.membership.keys.callback(callback)
        (known,) = await self.membership.connection.execute(FORWARD((key,), self.membership.keys.channel, message))
        return bool(known)

    def subscribe(self, listener: DeliveryListener) -> Callable[[], None]:
        """Call `listener` for each delivery that another replica forwards; returns a function that ends it."""
        self._listeners.append(listener)
        self.membership.pubsub.start()
        return lambda: self._listeners.remove(listener) if listener in self._listeners else None

    # messages of other replicas; accounts are given by their digests

    def _on_delivery(self, arguments: list[Any], body: bytes) -> None:
        callback, content_type = arguments
        for listener in list(self._listeners):
            listener(callback, Delivery(body, content_type))

    def _on_demand(self, arguments: list[Any], _: bytes) -> None:
        if (known := self._accounts.get(arguments[0])) is not None:
            known.semaphore.on_demand_elsewhere(demand=True)

    def _on_release(self, arguments: list[Any], _: bytes) -> None:
        # without an account, a replica has closed and returned the slots of all of them
        for name in arguments or list(self._accounts):
            if (known := self._accounts.get(name)) is not None:
                known.semaphore.on_release_elsewhere()

    def _on_pause(self, arguments: list[Any], _: bytes) -> None:
        if (known := self._accounts.get(arguments[0])) is not None:
            known.rate_limiter.on_pause(float(arguments[1]))
