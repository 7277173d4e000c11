"""One rate of requests for an account, shared by submits and polls."""

from __future__ import annotations

import asyncio


class Limiter:
    """Lets at most `rate` requests a second begin, in order of asking; no task and no queue of its own.

    `hold(seconds)` is a server's word for everybody: nothing begins before it is over.
    """

    def __init__(self, rate: float | None) -> None:
        self._pause = 1 / rate if rate else 0.0
        self._next = 0.0

    async def turn(self, *, new: bool) -> None:  # noqa: ARG002 - all are equal here
        """Wait for one's turn."""
        now = asyncio.get_running_loop().time()
        begin = max(now, self._next)
        self._next = begin + self._pause
        if begin > now:
            await asyncio.sleep(begin - now)

    async def hold(self, seconds: float) -> None:
        """Let nobody begin for so long."""
        self._next = max(self._next, asyncio.get_running_loop().time() + seconds)
