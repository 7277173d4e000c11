"""Awaitables: an event that wakes the task that waits for a job's next poll, and one that is done."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from typing import Any


class AutoResetEvent:
    """An event for one waiting task. A wait consumes it; setting it several times before that counts once.

    asyncio.Event stays set until it is cleared and has no timeout of its own; `asyncio.timeout` around it would cost a
    cancellation per poll.
    """

    __slots__ = ("_is_set", "_waiter")

    def __init__(self) -> None:
        self._is_set = False
        self._waiter: asyncio.Future[None] | None = None

    def set(self) -> None:
        """Wake the waiting task or, if none waits, let the next wait return immediately."""
        self._is_set = True
        _wake(self._waiter)

    def consume(self) -> bool:
        """Reset the event and return whether it was set.

        Call it before a poll: an event set during the poll then stays set and causes another poll.
        """
        was_set, self._is_set = self._is_set, False
        return was_set

    async def wait(self, seconds: float, call_later: Callable[..., Any] | None = None) -> bool:
        """Wait until the event is set, at most `seconds`; reset it and return whether it was set.

        `call_later`: sets the timer; by default that of the running loop.
        """
        if not self._is_set and seconds > 0:
            loop = asyncio.get_running_loop()
            self._waiter = loop.create_future()
            timer = (call_later or loop.call_later)(seconds, _wake, self._waiter)
            try:
                await self._waiter
            finally:
                if self._is_set or self._waiter.cancelled() or not self._waiter.done():
                    timer.cancel()  # else it has fired
                self._waiter = None
        return self.consume()


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)


class Completed:
    """An awaitable that is done; unlike a coroutine it need not be awaited."""

    def __await__(self) -> Generator[None, None, None]:
        """Return at once."""
        yield from ()
