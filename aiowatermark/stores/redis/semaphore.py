"""One semaphore of submissions for an account, shared by all replicas."""

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
from .keys import SLOT_KEYS
from .membership import Membership
from .scripts import GIVE, TAKE

log = logging.getLogger("aiowatermark")

_RETRY_DELAY = (0.05, 0.25)


@define(eq=False)
class SharedSemaphore:
    """A replica's share of an account's permits: `held` from Redis, `used` by its jobs.

    What one job gives back the next one takes without asking Redis, unless another replica waits: then it goes back,
    and whoever has waited longest is served first. A replica that dies loses its permits with its leases.
    """

    membership: Membership
    account: str
    held: int = field(default=0, init=False)
    used: int = field(default=0, init=False)
    limit: int = field(default=0, init=False)
    demand_elsewhere: bool = field(default=False, init=False)
    _reported: int = field(default=0, init=False)
    _requesting: bool = field(default=False, init=False)
    _wakeup: AutoResetEvent = field(factory=AutoResetEvent, init=False)
    _waiters: deque[asyncio.Future[None]] = field(factory=deque, init=False)
    _sync_task: asyncio.Task[None] | None = field(default=None, init=False)

    @asynccontextmanager
    async def slot(self, limit: int) -> AsyncIterator[None]:
        """One of `limit`; raises StoreError where Redis is lost."""
        await self._acquire(limit)
        try:
            yield
        finally:
            self._release()

    def on_demand_elsewhere(self, waits: bool) -> None:  # noqa: FBT001
        """Another replica waits: what nobody here uses goes back."""
        self.demand_elsewhere = waits
        if waits and self.held > self.used:
            self.held = self.used
            self._start_sync(now=True)

    def on_release_elsewhere(self) -> None:
        """Another replica has given one back."""
        self._wakeup.set()

    def resync(self) -> None:
        """Redis has forgotten what is held here: say it again."""
        self.held, self._reported = self.used, -1
        self._start_sync(now=True)

    def stop(self) -> None:
        """Let nobody wait any longer."""
        self._fail_waiters(StoreError("the store was closed"))
        if self._sync_task is not None:
            self._sync_task.cancel()

    async def _acquire(self, limit: int) -> None:
        if self.membership.connection.disconnected:
            raise self.membership.connection.unavailable()
        self.limit = limit
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
                waiter.set_exception(StoreError(error.message))

    # with Redis: one task that says how many are held and asks for more, so that no two sayings overtake each other

    def _start_sync(self, *, now: bool = False) -> None:
        if self._sync_task is None:
            self._sync_task = asyncio.create_task(self._sync())
        elif now:
            self._wakeup.set()

    async def _sync(self) -> None:
        try:
            while self._waiters or self._requesting or self._reported != self.held:
                if self._reported > self.held or not self._waiters:
                    await self._report()
                elif not await self._request():
                    await self._wakeup.wait(random.uniform(*_RETRY_DELAY))  # noqa: S311 - not all at once
        except StoreError as error:
            self._reported = -1  # nobody knows what Redis has noted
            self._fail_waiters(error)
        except Exception as error:
            log.exception("permits cannot be asked for")
            self._fail_waiters(StoreError(f"permits cannot be asked for: {type(error).__name__}"))
        finally:
            self._sync_task = None

    async def _report(self) -> None:
        held = self.held
        replica = self.membership
        keys = replica.keys.account(self.account, *SLOT_KEYS)
        farewell = replica.pubsub.encode("free", self.account)
        await replica.connection.execute(GIVE(keys, replica.replica_id, held, replica.keys.channel, farewell))
        self._reported, self._requesting = held, False

    async def _request(self) -> bool:
        """Ask for as many as are missing; whether all came."""
        held, missing, replica = self.held, len(self._waiters), self.membership
        replica.pubsub.start()  # from now on it matters to hear who wants a permit, and who gives one back
        keys = replica.keys.account(self.account, *SLOT_KEYS)
        asked = replica.pubsub.encode("want", self.account)
        words = (replica.replica_id, replica.lease_ms, held, missing, self.limit, replica.keys.channel, asked)
        ((fresh, granted, others),) = await replica.connection.execute(TAKE(keys, *words))
        replica.on_seen(self.account, fresh)
        self._reported = held + granted
        self.held += granted
        self.demand_elsewhere = bool(others)
        self._grant_waiters()
        self._requesting = granted < missing
        return not self._requesting
