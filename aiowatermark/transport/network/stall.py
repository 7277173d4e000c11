"""The stall watchdog of downloads: ends a response whose host has fallen silent.

A host is silent while its next block is awaited. While a slow disk holds up the blocks that came, none is awaited, so a
download does not fail because of its own target. The bytes around an HTTP chunk are not a block: a host that sends
nothing else is silent.

A response has one timer, which no block touches. A block only notes when the wait for it began. When the timer goes
off:

    nothing is awaited, or not for long enough      it is set to the earliest moment at which a wait can be too long
    one wait has taken `seconds`                    the loop runs once more, because what it read just before, perhaps
                                                    after a delay of its own, may end the wait
    ... and the same wait goes on after that        the response ends with SocketTimeoutError
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial
from types import TracebackType
from typing import Self

import aiohttp
from attrs import define, field


async def read_blocks(response: aiohttp.ClientResponse, stall: float) -> AsyncIterator[bytes]:
    """Yield a body in the blocks in which it arrives; raises SocketTimeoutError after `stall` seconds without any."""
    content, more = response.content, True
    error = aiohttp.SocketTimeoutError(f"nothing arrived for {stall:g} s")
    with StallTimer(stall, partial(content.set_exception, error)) as timer:
        while more:
            timer.begin_wait()
            # joining them to larger blocks would be a copy; an empty block that ends no HTTP chunk is the end
            block, ends_http_chunk = await content.readchunk()
            timer.end_wait()
            more = bool(block) or ends_http_chunk
            if block:
                yield block


@define(eq=False)
class StallTimer:
    """Calls `on_stall` when a wait has taken `seconds`; a context manager.

    Why not a timer for each block, as aiohttp's `sock_read` has it: that takes a tenth more instructions for a download
    outside the kernel, and 8 % more CPU in all where 16 KiB arrive at a time (benchmarks/transfer.py, down).
    """

    seconds: float
    on_stall: Callable[[], object]
    _awaited_since: float | None = field(default=None, init=False)
    _loop: asyncio.AbstractEventLoop = field(factory=asyncio.get_running_loop, init=False)
    _handle: asyncio.Handle = field(init=False)

    def __enter__(self) -> Self:
        """Set the timer."""
        self._handle = self._loop.call_later(self.seconds, self._check)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Cancel the timer."""
        self._handle.cancel()

    def begin_wait(self) -> None:
        """Note that a block is awaited from now on."""
        self._awaited_since = self._loop.time()

    def end_wait(self) -> None:
        """Note that it came."""
        self._awaited_since = None

    def _check(self) -> None:
        now, since = self._loop.time(), self._awaited_since
        due = (now if since is None else since) + self.seconds
        if since is None or now < due:
            self._handle = self._loop.call_at(due, self._check)
        else:
            self._handle = self._loop.call_soon(self._confirm, since)

    def _confirm(self, since: float) -> None:
        if self._awaited_since == since:
            self.on_stall()
        else:
            self._check()
