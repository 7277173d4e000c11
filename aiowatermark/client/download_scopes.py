"""DownloadScopes: the downloads that run in a client; closing it ends them with an error that says so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from attrs import define, field

from ..errors import InvalidInput, TransferFailed

_END_SECONDS = 1.0


@define(eq=False)
class DownloadScopes:
    """Downloads of one open client.

    They go on while the client closes, so that result handlers can save, until `close`. Afterwards `ensure_open`
    decides: the client may have been opened again.
    """

    ensure_open: Callable[[], object]
    _loop: asyncio.AbstractEventLoop = field(factory=asyncio.get_running_loop, init=False, repr=False)
    _closed: bool = field(default=False, init=False)
    _running: dict[asyncio.Timeout, asyncio.Future[None]] = field(factory=dict, init=False, repr=False)

    @asynccontextmanager
    async def download(self) -> AsyncIterator[None]:
        """Run one download; raises InvalidInput if the client is closed, TransferFailed if it is closed meanwhile."""
        if self._closed:
            self.ensure_open()
        if asyncio.get_running_loop() is not self._loop and not self._closed:
            raise InvalidInput("the client of this result was opened on another event loop: save it there")
        ended = asyncio.get_running_loop().create_future()
        scope = asyncio.timeout(None)
        try:
            async with scope:
                self._running[scope] = ended
                try:
                    yield
                finally:
                    del self._running[scope]
                    ended.set_result(None)
        except TimeoutError:
            if not scope.expired():
                raise
            raise TransferFailed("the client was closed before the result was downloaded") from None

    async def close(self) -> None:
        """End the downloads under way; returns when they have cleaned up, or after a second."""
        self._closed = True
        running = dict(self._running)
        for scope in running:
            scope.reschedule(self._loop.time())
        if running:
            await asyncio.wait(running.values(), timeout=_END_SECONDS)
