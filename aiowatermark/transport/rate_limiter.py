"""One rate of requests for an account, shared by submits and polls."""

from __future__ import annotations

import asyncio

from ..errors import RateLimited


class LocalRateLimiter:
    """Lets at most `rate` requests a second begin, in order of asking; no task and no queue of its own.

    `hold(seconds)` is a server's word for everybody: nothing begins before it is over.
    """

    def __init__(self, rate: float | None) -> None:
        self._interval = 1 / rate if rate else 0.0
        self._next = 0.0

    async def acquire(self, *, new: bool, until: float) -> None:  # noqa: ARG002 - all are equal here
        """Wait for one's turn; raises RateLimited where none comes before `until` on the loop's clock."""
        if not self._next and not self._interval:
            return  # no rate, and nobody was ever held
        now = asyncio.get_running_loop().time()
        begin = max(now, self._next)
        if begin > max(until, now):
            raise rate_limit_timeout(begin - now)
        self._next = begin + self._interval
        if begin > now:
            await asyncio.sleep(begin - now)

    async def pause_for(self, seconds: float) -> None:
        """Let nobody begin for so long."""
        self._next = max(self._next, asyncio.get_running_loop().time() + seconds)


def rate_limit_timeout(after: float | None = None) -> RateLimited:
    """No request may begin before the deadline."""
    error = RateLimited("no turn came before the deadline: the account's rate is used up")
    error.retry_after = after
    return error
