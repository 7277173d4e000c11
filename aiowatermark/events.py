"""Wake-ups between tasks: a job's next look happens when its time has come or its bell rings."""

from __future__ import annotations

import asyncio


class AutoResetEvent:
    """One job's bell. A ring that nobody waits for is kept for the next wait; ten rings are one."""

    __slots__ = ("_rung", "_waiter")

    def __init__(self) -> None:
        self._rung = False
        self._waiter: asyncio.Future[None] | None = None

    def set(self) -> None:
        """Wake the waiter, now or when it comes."""
        self._rung = True
        _wake(self._waiter)

    def consume(self) -> bool:
        """Whether it rang since the last time; taken before a look, so that no news is lost in between."""
        rung, self._rung = self._rung, False
        return rung

    async def wait(self, seconds: float) -> bool:
        """Wait until it rings or `seconds` are over; whether it rang."""
        if not self._rung and seconds > 0:
            loop = asyncio.get_running_loop()
            self._waiter = loop.create_future()
            timer = loop.call_later(seconds, _wake, self._waiter)
            try:
                await self._waiter
            finally:
                timer.cancel()
                self._waiter = None
        return self.consume()


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)
