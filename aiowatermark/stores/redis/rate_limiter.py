"""Shared rate limiter: one rate of requests per account for all replicas, with a schedule that Redis keeps.

Redis stores the time at which the account's next request may start. Requests that ask while a reservation is under way
are reserved together by the next one, so that any number of concurrent requests costs about one round trip.
"""

from __future__ import annotations

import asyncio
import math
from contextlib import suppress

from attrs import define, field

from ...errors import StoreError
from ...lifetimes import start_task
from .membership import Membership
from .scripts import PAUSE, RESERVE


@define(eq=False)
class SharedRateLimiter:
    """Reserves start times for an account; while Redis is unavailable, on this replica's own schedule."""

    membership: Membership
    account: str
    _rate: float = field(default=1.0, init=False)
    _next_local: float = field(default=0.0, init=False)
    _paused_until: float = field(default=0.0, init=False)
    _waiters: list[asyncio.Future[float]] = field(factory=list, init=False)
    _task: asyncio.Task[None] | None = field(default=None, init=False)

    async def acquire(self, rate: float | None, *, is_submission: bool) -> None:
        """Wait until one more request may start; raises StoreError for a submission while Redis is unavailable."""
        start = 0.0
        if self.membership.connection.disconnected:
            if is_submission:
                raise self.membership.connection.unavailable()
            start = self._reserve_local(rate)
        elif rate:
            start = await self._reserve_shared(rate, is_submission=is_submission)
        await _sleep_until(max(start, self._paused_until))

    async def pause(self, seconds: float) -> None:
        """Let no request of any replica start for `seconds`; raises nothing."""
        self.on_pause(seconds)
        membership = self.membership
        message = membership.pubsub.encode("hold", self.account, seconds)
        keys = membership.keys.account(self.account, "next")
        with suppress(StoreError):
            await membership.connection.execute(PAUSE(keys, math.ceil(seconds * 1e6), membership.keys.channel, message))

    def on_pause(self, seconds: float) -> None:
        """Apply a pause on this replica; another one may have demanded it."""
        self._paused_until = max(self._paused_until, _loop_time() + seconds)

    def stop(self) -> None:
        """Fail all waiters: the store is closing."""
        if self._task is not None:
            self._task.cancel()
        self._fail_waiters(StoreError("the store was closed"))

    async def _reserve_shared(self, rate: float, *, is_submission: bool) -> float:
        """Return the start time, in loop time, that Redis has reserved for this request."""
        waiter: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        self._rate = rate
        if self._task is None:
            self._task = start_task(self._reserve_waiters())
        try:
            return await waiter
        except StoreError:
            if is_submission:
                raise
            # a paid job needs this request: continue it without Redis
            return self._reserve_local(rate)

    def _reserve_local(self, rate: float | None) -> float:
        start = max(_loop_time(), self._next_local, self._paused_until)
        self._next_local = start + (1 / rate if rate else 0.0)
        return start

    async def _reserve_waiters(self) -> None:
        """Reserve for all that wait now, then for all that have come meanwhile, until none is left."""
        try:
            while self._waiters:
                batch, self._waiters = self._waiters, []
                try:
                    await self._reserve_batch([waiter for waiter in batch if not waiter.done()])
                except StoreError as error:
                    self._waiters = batch + self._waiters
                    self._fail_waiters(error)
        finally:
            self._task = None

    async def _reserve_batch(self, waiters: list[asyncio.Future[float]]) -> None:
        """Reserve consecutive start times, one for each waiter, in one round trip."""
        interval = 1 / self._rate
        keys = self.membership.keys.account(self.account, "next")
        (delay,) = await self.membership.connection.execute(RESERVE(keys, math.ceil(interval * 1e6), len(waiters)))
        # the server answers with a delay, so that no clocks are compared
        start = _loop_time() + delay / 1e6
        for index, waiter in enumerate(waiters):
            if not waiter.done():
                waiter.set_result(start + index * interval)

    def _fail_waiters(self, error: StoreError) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                # one exception for each waiter: raised in several tasks, a shared one would collect their tracebacks
                waiter.set_exception(StoreError(error.message))


def _loop_time() -> float:
    return asyncio.get_running_loop().time()


async def _sleep_until(until: float) -> None:
    if (seconds := until - _loop_time()) > 0:
        await asyncio.sleep(seconds)
