"""One rate of requests for an account, shared by all replicas."""

from __future__ import annotations

import asyncio
import math
from contextlib import suppress

from attrs import define, field

from ...errors import StoreError
from .membership import Membership
from .scripts import HOLD, RESERVE


@define(eq=False)
class SharedRateLimiter:
    """The account's row. Whoever asks while a question is under way shares the next one: one round trip for many.

    While Redis is lost the row is this replica's own.
    """

    membership: Membership
    account: str
    _rate: float = field(default=1.0, init=False)
    _next: float = field(default=0.0, init=False)
    _paused_until: float = field(default=0.0, init=False)
    _waiters: list[asyncio.Future[float]] = field(factory=list, init=False)
    _task: asyncio.Task[None] | None = field(default=None, init=False)

    async def acquire(self, rate: float | None, *, new: bool) -> None:
        """Wait for one's turn; raises StoreError for what is new where Redis is lost."""
        begin = 0.0
        if self.membership.connection.disconnected:
            if new:
                raise self.membership.connection.unavailable()
            begin = self._reserve_local(rate)
        elif rate:
            begin = await self._reserve_shared(rate, new=new)
        await _sleep_until(max(begin, self._paused_until))

    async def pause(self, seconds: float) -> None:
        """Let nobody begin for so long."""
        self.on_pause(seconds)
        replica = self.membership
        said = replica.pubsub.encode("hold", self.account, seconds)
        keys = replica.keys.account(self.account, "next")
        with suppress(StoreError):
            await replica.connection.execute(HOLD(keys, math.ceil(seconds * 1e6), replica.keys.channel, said))

    def on_pause(self, seconds: float) -> None:
        """Somebody was told to wait so long."""
        self._paused_until = max(self._paused_until, _loop_time() + seconds)

    def stop(self) -> None:
        """Let nobody wait any longer."""
        if self._task is not None:
            self._task.cancel()
        self._fail_waiters(StoreError("the store was closed"))

    async def _reserve_shared(self, rate: float, *, new: bool) -> float:
        place: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._waiters.append(place)
        self._rate = rate
        if self._task is None:
            self._task = asyncio.create_task(self._reserve_waiters())
        try:
            return await place
        except StoreError:
            if new:
                raise
            return self._reserve_local(rate)

    def _reserve_local(self, rate: float | None) -> float:
        begin = max(_loop_time(), self._next, self._paused_until)
        self._next = begin + (1 / rate if rate else 0.0)
        return begin

    async def _reserve_waiters(self) -> None:
        try:
            while self._waiters:
                row, self._waiters = self._waiters, []
                try:
                    await self._reserve_batch([place for place in row if not place.done()])
                except StoreError as error:
                    self._waiters = row + self._waiters
                    self._fail_waiters(error)
        finally:
            self._task = None

    async def _reserve_batch(self, row: list[asyncio.Future[float]]) -> None:
        """Reserve a place for each."""
        pause = 1 / self._rate
        keys = self.membership.keys.account(self.account, "next")
        (first,) = await self.membership.connection.execute(RESERVE(keys, math.ceil(pause * 1e6), len(row)))
        begin = _loop_time() + first / 1e6
        for at, place in enumerate(row):
            if not place.done():
                place.set_result(begin + at * pause)

    def _fail_waiters(self, error: StoreError) -> None:
        row, self._waiters = self._waiters, []
        for place in row:
            if not place.done():
                place.set_exception(StoreError(error.message))


def _loop_time() -> float:
    return asyncio.get_running_loop().time()


async def _sleep_until(until: float) -> None:
    if (pause := until - _loop_time()) > 0:
        await asyncio.sleep(pause)
