"""Budgets of transfers: memory for buffers, which they share, and the time for which a slow one keeps its slot.

What one transfer may use is its share of a fixed total, but not less than a minimum, below which the additional system
calls would cost more than the memory is worth. All sizes are in bytes:

    buffers of a file that is uploaded      1 MiB in total, at least 192 KiB each     buffer_bytes()
    largest chunk of an upload              3 MiB in total, at least 96 KiB each      chunk_bytes()
    batch of blocks written to a file       4 MiB in total, at least 256 KiB each     batch_bytes()

A transport owns one budget. Shares are computed when a buffer, chunk or batch is started, so they adapt while transfers
come and go.

A host may send a byte now and then for ever, which the stall watchdog does not notice. Pace has two measures for one
attempt at a download, by the bytes that arrived within a period:

    less than 64 KiB in 5 seconds    the attempt goes on without its slot, so that other transfers take its place
    less than 64 KiB in a minute     the attempt has failed

The first is checked by a timer, also while nothing arrives; the second when a block arrives, because a connection that
is silent is ended by the stall watchdog.

Everything runs on the transport's event loop, and nothing awaits: no lock is needed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from attrs import define, field

from ..media.base import ALIGNMENT, BLOCK_SIZE

MIN_CHUNK_BYTES = 3 << 15
_TOTAL_CHUNK_BYTES = 3 << 20
_MIN_BUFFER_BYTES = 3 << 16
SLOW_SECONDS, SLOW_BYTES = 5.0, 1 << 16
FLOOR_SECONDS, FLOOR_BYTES = 60.0, 1 << 16


@define(eq=False)
class TransferBudget:
    """The transfers under way, and what each of them may use; the two settings are for tests."""

    total_batch_bytes: int = 4 << 20
    min_batch_bytes: int = 1 << 18
    _uploads: int = field(default=0, init=False)
    _downloads: int = field(default=0, init=False)

    @contextmanager
    def upload(self) -> Iterator[None]:
        """Count an upload while it runs."""
        self._uploads += 1
        try:
            yield
        finally:
            self._uploads -= 1

    @contextmanager
    def download(self) -> Iterator[None]:
        """Count a file that is written while it runs."""
        self._downloads += 1
        try:
            yield
        finally:
            self._downloads -= 1

    def buffer_bytes(self) -> int:
        """Size of a buffer to read a file into: whole pages, and whole groups of base64."""
        return max(BLOCK_SIZE // max(self._uploads, 1) // ALIGNMENT * ALIGNMENT, _MIN_BUFFER_BYTES)

    def chunk_bytes(self) -> int:
        """Size of the largest chunk of an upload, a multiple of three as base64 needs."""
        return max(_TOTAL_CHUNK_BYTES // max(self._uploads, 1) // 3 * 3, MIN_CHUNK_BYTES)

    def batch_bytes(self) -> int:
        """Bytes to gather before they are written: as many as possible, since each batch costs a hop to a thread."""
        return max(self.total_batch_bytes // max(self._downloads, 1), self.min_batch_bytes)


@define(eq=False)
class Pace:
    """One attempt, which has one of `slots` from entering until it is slow or ends; `count` its bytes with `add`."""

    slots: asyncio.Semaphore
    _received: int = field(default=0, init=False)
    _received_before: int = field(default=0, init=False)
    _floor_received: int = field(default=0, init=False)
    _floor_started: float = field(default=0.0, init=False)
    _timer: asyncio.TimerHandle | None = field(default=None, init=False)
    _loop: asyncio.AbstractEventLoop = field(factory=asyncio.get_running_loop, init=False)

    async def __aenter__(self) -> Self:
        """Wait for a slot."""
        await self.slots.acquire()
        self._floor_started = self._loop.time()
        self._timer = self._loop.call_later(SLOW_SECONDS, self._check_slow)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Give the slot back, if the attempt still has it."""
        self._release()

    def add(self, size: int) -> bool:
        """Count bytes that arrived; returns whether they arrive fast enough for the attempt to go on."""
        self._received += size
        now = self._loop.time()
        if now - self._floor_started < FLOOR_SECONDS:
            return True
        enough = self._received - self._floor_received >= FLOOR_BYTES
        self._floor_started, self._floor_received = now, self._received
        return enough

    def _check_slow(self) -> None:
        if self._received - self._received_before < SLOW_BYTES:
            self._release()
            return
        self._received_before = self._received
        self._timer = self._loop.call_later(SLOW_SECONDS, self._check_slow)

    def _release(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self.slots.release()
