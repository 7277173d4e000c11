"""Writing off the loop: batches go to a thread, and the loop hears of it only where it has to wait."""

from __future__ import annotations

import asyncio
import os
import threading
from contextlib import suppress
from queue import SimpleQueue
from typing import BinaryIO

from attrs import define, field

_VECTOR = 1024


def write(file: BinaryIO, batch: list[bytes]) -> None:
    """All of it, in one call where the system has one: each has to win the interpreter back from a busy loop."""
    if not hasattr(os, "writev"):
        file.writelines(batch)
        file.flush()
        return
    views = [memoryview(block) for block in batch]
    while views:
        written = os.writev(file.fileno(), views[:_VECTOR])
        while views and written >= len(views[0]):
            written -= len(views.pop(0))
        if views:
            views[0] = views[0][written:]


@define(eq=False)
class Writer:
    """One file's thread, from the first batch to `close`. A hop that answers costs twice one that does not."""

    file: BinaryIO
    _loop: asyncio.AbstractEventLoop = field(factory=asyncio.get_running_loop, init=False)
    _queue: SimpleQueue[list[bytes] | None] = field(factory=SimpleQueue, init=False)
    _given: int = field(default=0, init=False)
    _written: int = field(default=0, init=False)
    _waiter: asyncio.Future[None] | None = field(default=None, init=False)
    _error: Exception | None = field(default=None, init=False)
    _thread: threading.Thread | None = field(default=None, init=False)

    async def put(self, batch: list[bytes]) -> None:
        """Have a batch written, once the one before it is: more on the way would only fall out of the caches.

        Raises what an earlier one raised.
        """
        if self._thread is None:
            # a descriptor of its own: whoever closes the file meanwhile does not give its number to another one
            own = os.fdopen(os.dup(self.file.fileno()), "wb")
            self._thread = threading.Thread(target=self._run, args=(own,), name="aiowatermark write", daemon=True)
            self._thread.start()
        await self._all_written()
        self._given += 1
        self._queue.put(batch)

    async def close(self) -> None:
        """Wait for everything; raises what a batch raised."""
        if self._thread is not None:
            self._queue.put(None)
            await self._all_written()

    async def _all_written(self) -> None:
        while self._written < self._given:
            self._waiter = self._loop.create_future()
            if self._written < self._given:  # it may have been written before anybody waited
                await self._waiter
        if self._error is not None:
            raise self._error

    def _run(self, own: BinaryIO) -> None:
        with own:
            while (batch := self._queue.get()) is not None:
                try:
                    if self._error is None:
                        write(own, batch)
                except Exception as error:  # noqa: BLE001 - told to whoever waits
                    self._error = error
                del batch
                self._written += 1
                if self._waiter is not None:
                    with suppress(RuntimeError):  # a loop that was closed has nobody who waits
                        self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
