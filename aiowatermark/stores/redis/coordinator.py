"""RedisCoordinator: the rate limits, submit slots, leases and callbacks of the replicas on one Redis."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any, TypeAlias

from attrs import define, field, frozen

from ...errors import StoreError
from ...jobs import Record
from ...wire import Delivery
from .account_pools import AccountPools
from .connection import add_consequence
from .keys import LEASE_KEYS
from .membership import Membership
from .records import load_many
from .scripts import ADOPT, FORWARD

log = logging.getLogger("aiowatermark")

_MAX_BODY = 64 << 10
_MAX_CONTENT_TYPE = 200
_ADOPT_BATCH = 100

DeliveryListener: TypeAlias = Callable[[str, Delivery], object]


@frozen
class RedisOwners:
    """The owners of records in Redis: one is gone when the lease of its job is free, on the clock of Redis."""

    coordinator: RedisCoordinator

    async def register(self, owner: str) -> None:
        """Do nothing: the heartbeat of the store keeps its leases."""

    async def unregister(self, owner: str) -> None:
        """Do nothing: closing the store frees its leases."""

    async def is_gone(self, record: Record) -> bool:
        """Whether no living replica holds the job; then this one does from now on. Raises StoreError."""
        return not record.owner or await self.coordinator.claim(record)


@define(eq=False)
class RedisCoordinator:
    """The Coordinator of one RedisStore while it is open."""

    membership: Membership
    _pools: AccountPools = field(init=False)
    _listeners: list[DeliveryListener] = field(factory=list, init=False)

    def __attrs_post_init__(self) -> None:
        """Create the pools, and handle the callbacks that other replicas forward."""
        self._pools = AccountPools(self.membership)
        self.membership.pubsub.on("ring", self._on_delivery)

    @property
    def lease(self) -> float:
        """Seconds without a heartbeat after which a replica counts as dead."""
        return self.membership.lease

    # rate limit and slots

    async def acquire(self, account: str, rate: float | None, *, is_submission: bool) -> None:
        """Wait until the rate limit of all replicas allows one more request."""
        await self._pools.pool(account).rate_limiter.acquire(rate, is_submission=is_submission)

    async def pause(self, account: str, seconds: float) -> None:
        """Let no replica send a request for `seconds`; raises nothing."""
        await self._pools.pool(account).rate_limiter.pause(seconds)

    def slot(self, account: str, limit: int) -> AbstractAsyncContextManager[None]:
        """Hold one of `limit` submit slots; entering raises StoreError if Redis is unavailable."""
        return self._pools.pool(account).semaphore.slot(limit)

    # leases

    async def claim(self, record: Record) -> bool:
        """Take the lease of a job; False if another living replica holds it, or may: in the quiet time after a rewind.

        Raises StoreError if Redis is unavailable. If the reply is lost, or the call is cancelled, Redis may have given
        this replica the lease: no other one adopts the job until `release`, `hand_over` or the closing of the store.
        """
        connection = self.membership.connection
        connection.require_connected()
        if self.membership.quiet.seconds_left and self.membership.leased_record(record.key) is None:
            return False  # its owner may be about to write its lease back
        try:
            _registered, lease_reply = await connection.execute(*self.membership.lease_commands(record), hold=False)
        except StoreError as error:
            raise add_consequence(error, "this replica may hold the lease of the job all the same") from None
        return self.membership.on_leased(record, lease_reply)

    async def release(self, record: Record) -> None:
        """End the lease of a job that needs no watching; raises nothing and leaves the same as `hand_over`."""
        await self._end_lease(record, "released")

    async def hand_over(self, record: Record) -> None:
        """Make a job an orphan immediately, so that another replica adopts it; raises nothing.

        While Redis is unavailable this replica keeps the lease, and ends it with the next heartbeat that gets through.
        If the call is cancelled before Redis has run it, the lease stays until the store is closed.
        """
        await self._end_lease(record, "left")

    async def _end_lease(self, record: Record, mode: str) -> None:
        self.membership.end_leased(record, mode)
        command = self.membership.leases.end_lease(record, mode)
        try:
            await self.membership.connection.execute(command)
        except StoreError:
            self.membership.backlog.defer(command)

    async def orphans(self, account: str) -> AsyncIterator[Record]:
        """Iterate over the jobs of replicas that died or closed; each is leased to this replica when it is yielded.

        The iteration ends early if Redis is unavailable. Jobs that were adopted and not yielded, because of that or
        because the caller stops, become orphans again with the next heartbeat. Only if the reply of ADOPT is lost they
        stay leased to this replica, and unwatched, until its store is closed or its lease expires.
        """
        membership, name = self.membership, self.membership.join_account(account)
        with suppress(StoreError):
            while membership.may_adopt:
                keys = membership.keys.account(name, *LEASE_KEYS)
                ((unknown, jobs),) = await membership.connection.execute(
                    ADOPT(keys, membership.replica_id, membership.lease_ms, _ADOPT_BATCH), hold=False
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
                if record is None or (record.snapshot.status.terminal and record.acknowledged):
                    not_taken[job] = "released" if record is None else "ended"
                    continue
                del not_taken[job]
                membership.add_leased(record)
                yield record
        finally:
            membership.backlog.defer(
                *(membership.leases.end_lease_by_digest(account, job, mode) for job, mode in not_taken.items())
            )

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

    def _on_delivery(self, arguments: list[Any], body: bytes) -> None:
        callback, content_type = arguments
        # a list, because a listener may end its subscription
        for listener in list(self._listeners):
            try:
                listener(callback, Delivery(body, content_type))
            except Exception:
                log.exception("a callback of another replica could not be processed by one of its listeners")
