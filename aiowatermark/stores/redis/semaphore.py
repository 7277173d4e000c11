"""Shared semaphore: the submit slots of one account, at most `limit` in use by all replicas together.

Redis stores how many slots each replica holds. A replica keeps a slot that a job has released and gives it to the next
job without a round trip (100 submissions in a row cost at most 2), until another replica waits.

    event                     action of this replica
    acquire                   use a held slot if one is free and no job waits; else wait, in FIFO order
    jobs wait                 request the missing slots from Redis; again after a release elsewhere, or a short delay
    release                   give the slot to the next waiting job; but if another replica waits, return it to Redis
    another replica waits     return the slots that are not in use
    Redis lost its data, or   hold only the slots in use, and report them
    counted us as dead

Why it is fair: with two replicas and four slots, a polled counter needs 1.2 round trips a job instead of 0.02 and
submits half as many jobs per second; one whose replicas keep their slots lets the other replica starve.

Redis grants slots to the replica that has waited longest (REQUEST_SLOTS in scripts.py). Messages of other replicas only
shorten the delay; the heartbeat also says whether another replica waits.

Invariants: used <= held; `_reported` is what Redis stores as held by this replica, or -1 if that is not known. The
slots of all replicas stay within `limit` as long as Redis keeps its data and no replica stands still for longer than a
lease.

Concurrency: everything runs on one event loop. Only the sync task talks to Redis, one command at a time, because two
commands could overtake one another and leave a wrong number there. It runs while jobs wait, or
while Redis stores another number than is held.

Cancellation: a waiting job that is cancelled leaves the queue, or returns the slot it was granted meanwhile; the sync
task then withdraws the request. Failure: all waiting jobs get StoreError, because nothing new may be paid during an
outage; slots in use stay in use, and are reported after it.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from attrs import define, field

from ...errors import StoreError
from ...events import AutoResetEvent
from ...lifetimes import start_task
from .keys import SLOT_KEYS
from .membership import Membership
from .scripts import REPORT_SLOTS, REQUEST_SLOTS

log = logging.getLogger("aiowatermark")

_RETRY_DELAY = (0.05, 0.25)


@define(eq=False)
class SharedSemaphore:
    """This replica's slots of an account: `held` ones are reserved in Redis, `used` ones by jobs here."""

    membership: Membership
    account: str
    held: int = field(default=0, init=False)
    used: int = field(default=0, init=False)
    limit: int = field(default=0, init=False)
    demand_elsewhere: bool = field(default=False, init=False)
    _reported: int = field(default=0, init=False)
    # whether Redis has this replica registered as waiting
    _requesting: bool = field(default=False, init=False)
    _wakeup: AutoResetEvent = field(factory=AutoResetEvent, init=False)
    _waiters: deque[asyncio.Future[None]] = field(factory=deque, init=False)
    _sync_task: asyncio.Task[None] | None = field(default=None, init=False)

    @asynccontextmanager
    async def slot(self, limit: int) -> AsyncIterator[None]:
        """Hold one of `limit` slots; entering raises StoreError if Redis is unavailable."""
        await self._acquire(limit)
        try:
            yield
        finally:
            self._release()

    def on_demand_elsewhere(self, demand: bool) -> None:  # noqa: FBT001
        """Note whether another replica waits; if so, return the slots that are not in use."""
        self.demand_elsewhere = demand
        if demand and self.held > self.used:
            self.held = self.used
            self._start_sync(now=True)

    def on_release_elsewhere(self) -> None:
        """Request again immediately: another replica has returned a slot."""
        self._wakeup.set()

    def resync(self) -> None:
        """Report the slots in use again: Redis has lost them, or has counted this replica as dead."""
        self.held, self._reported = self.used, -1
        self._start_sync(now=True)

    def stop(self) -> None:
        """Fail all waiters: the store is closing."""
        self._fail_waiters(StoreError("the store was closed"))
        if self._sync_task is not None:
            self._sync_task.cancel()

    async def _acquire(self, limit: int) -> None:
        if self.membership.connection.disconnected:
            raise self.membership.connection.unavailable()
        self.limit = limit
        # a new job does not overtake those that wait already
        if self.used < min(self.held, limit) and not self._waiters:
            self.used += 1
            return
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        self._start_sync()
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.cancelled():
                with suppress(ValueError):
                    self._waiters.remove(waiter)
            elif waiter.exception() is None:
                # the slot was granted before this task could run
                self._release()
            raise

    def _release(self) -> None:
        self.used -= 1
        if self.demand_elsewhere:
            self.held = min(self.held, self.used)
            self._start_sync(now=True)
        else:
            self._grant_waiters()

    def _grant_waiters(self) -> None:
        while self.used < min(self.held, self.limit) and self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                self.used += 1
                waiter.set_result(None)

    def _fail_waiters(self, error: StoreError) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                # one exception for each waiter: raised in several tasks, a shared one would collect their tracebacks
                waiter.set_exception(StoreError(error.message))

    def _start_sync(self, *, now: bool = False) -> None:
        """Start the sync task; if it runs already, `now` ends its delay."""
        if self._sync_task is None:
            self._sync_task = start_task(self._sync())
        elif now:
            self._wakeup.set()

    async def _sync(self) -> None:
        """Report and request slots until no job waits and Redis stores what is held here."""
        try:
            while self._waiters or self._requesting or self._reported != self.held:
                # slots to return come first: another replica may be waiting for them
                if self._reported > self.held or not self._waiters:
                    await self._report()
                elif not await self._request():
                    # jitter, so that waiting replicas do not ask together
                    await self._wakeup.wait(random.uniform(*_RETRY_DELAY))  # noqa: S311
        except StoreError as error:
            self._reported = -1  # the command may or may not have been run
            self._fail_waiters(error)
        except Exception as error:
            log.exception("submit slots could not be requested")
            self._fail_waiters(StoreError(f"submit slots could not be requested: {type(error).__name__}"))
        finally:
            self._sync_task = None

    async def _report(self) -> None:
        """Tell Redis how many slots are held here, and that this replica does not wait."""
        held = self.held
        membership = self.membership
        keys = membership.keys.account(self.account, *SLOT_KEYS)
        message = membership.pubsub.encode("free", self.account)
        await membership.connection.execute(
            REPORT_SLOTS(keys, membership.replica_id, held, membership.keys.channel, message)
        )
        self._reported, self._requesting = held, False

    async def _request(self) -> bool:
        """Request a slot for each waiter; whether all were granted."""
        held, missing, membership = self.held, len(self._waiters), self.membership
        # before its first request a replica holds no slots, so messages about slots do not concern it
        membership.pubsub.start()
        keys = membership.keys.account(self.account, *SLOT_KEYS)
        message = membership.pubsub.encode("want", self.account)
        args = (membership.replica_id, membership.lease_ms, held, missing, self.limit, membership.keys.channel, message)
        ((unknown, granted, others),) = await membership.connection.execute(REQUEST_SLOTS(keys, *args))
        membership.on_seen(self.account, unknown)
        self._reported = held + granted
        # `held` may have been reduced while the command was under way, so add to it
        self.held += granted
        self.demand_elsewhere = bool(others)
        self._grant_waiters()
        self._requesting = granted < missing
        return not self._requesting
