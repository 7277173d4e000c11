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
from ...events import Bell
from .keys import PERMITS
from .membership import Replica
from .scripts import GIVE, TAKE

log = logging.getLogger("aiowatermark")

_GLANCE = (0.05, 0.25)


@define(eq=False)
class Permits:
    """A replica's share of an account's permits: `held` from Redis, `used` by its jobs.

    What one job gives back the next one takes without asking Redis, unless another replica waits: then it goes back,
    and whoever has waited longest is served first. A replica that dies loses its permits with its leases.
    """

    replica: Replica
    account: str
    held: int = field(default=0, init=False)
    used: int = field(default=0, init=False)
    limit: int = field(default=0, init=False)
    others: bool = field(default=False, init=False)
    _told: int = field(default=0, init=False)
    _asking: bool = field(default=False, init=False)
    _bell: Bell = field(factory=Bell, init=False)
    _waiters: deque[asyncio.Future[None]] = field(factory=deque, init=False)
    _pump: asyncio.Task[None] | None = field(default=None, init=False)

    @asynccontextmanager
    async def permit(self, limit: int) -> AsyncIterator[None]:
        """One of `limit`; raises StoreError where Redis is lost."""
        await self._acquire(limit)
        try:
            yield
        finally:
            self._release()

    def wanted(self, waits: bool) -> None:  # noqa: FBT001
        """Another replica waits: what nobody here uses goes back."""
        self.others = waits
        if waits and self.held > self.used:
            self.held = self.used
            self._work(now=True)

    def freed(self) -> None:
        """Another replica has given one back."""
        self._bell.ring()

    def renew(self) -> None:
        """Redis has forgotten what is held here: say it again."""
        self.held, self._told = self.used, -1
        self._work(now=True)

    def stop(self) -> None:
        """Let nobody wait any longer."""
        self._fail(StoreError("the store was closed"))
        if self._pump is not None:
            self._pump.cancel()

    async def _acquire(self, limit: int) -> None:
        if self.replica.wire.lost:
            raise self.replica.wire.gone()
        self.limit = limit
        if self.used < min(self.held, limit) and not self._waiters:
            self.used += 1
            return
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        self._work()
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
        if self.others:
            self.held = min(self.held, self.used)
            self._work(now=True)
        else:
            self._hand_out()

    def _hand_out(self) -> None:
        while self.used < min(self.held, self.limit) and self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                self.used += 1
                waiter.set_result(None)

    def _fail(self, error: StoreError) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_exception(StoreError(error.message))

    # with Redis: one task that says how many are held and asks for more, so that no two sayings overtake each other

    def _work(self, *, now: bool = False) -> None:
        if self._pump is None:
            self._pump = asyncio.create_task(self._run())
        elif now:
            self._bell.ring()

    async def _run(self) -> None:
        try:
            while self._waiters or self._asking or self._told != self.held:
                if self._told > self.held or not self._waiters:
                    await self._give()
                elif not await self._take():
                    await self._bell.wait(random.uniform(*_GLANCE))  # noqa: S311 - not all at once
        except StoreError as error:
            self._told = -1  # nobody knows what Redis has noted
            self._fail(error)
        except Exception as error:
            log.exception("permits cannot be asked for")
            self._fail(StoreError(f"permits cannot be asked for: {type(error).__name__}"))
        finally:
            self._pump = None

    async def _give(self) -> None:
        held = self.held
        replica = self.replica
        keys = replica.names.account(self.account, *PERMITS)
        farewell = replica.news.said("free", self.account)
        await replica.wire.ask(GIVE(keys, replica.me, held, replica.names.channel, farewell))
        self._told, self._asking = held, False

    async def _take(self) -> bool:
        """Ask for as many as are missing; whether all came."""
        held, missing, replica = self.held, len(self._waiters), self.replica
        replica.news.listen()  # from now on it matters to hear who wants a permit, and who gives one back
        keys = replica.names.account(self.account, *PERMITS)
        asked = replica.news.said("want", self.account)
        words = (replica.me, replica.lease_ms, held, missing, self.limit, replica.names.channel, asked)
        ((fresh, granted, others),) = await replica.wire.ask(TAKE(keys, *words))
        replica.seen(self.account, fresh)
        self._told = held + granted
        self.held += granted
        self.others = bool(others)
        self._hand_out()
        self._asking = granted < missing
        return not self._asking
