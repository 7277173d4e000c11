"""Atomic files: written beside their target in a worker thread and put in place once they are complete.

A file goes through these steps (see targets.py); only `publish` touches the target:

    open_target     .NAME.xxxxxxxx.part beside the target, opened exclusively
    write_blocks    filled; after an interruption everything received is written too, and a download can resume there
    publish         flushed, fsynced, closed and renamed over the target
    discard         closed and deleted after an error or a cancellation; finds nothing to delete after publish

So the target is always the old file or the complete new one. A part stays behind only if the process is killed. A
device or a FIFO gets the bytes when they are complete, from a temporary file.

The event loop gathers blocks into a batch while the writer thread of the file writes the batch before; `put` waits
until that is written, so that the thread never has more than one. How large a batch is, the transfer budget says.

    loop      put(batch): wait until written == queued; queued += 1; hand the batch over
              close(): hand None over; wait until written == queued
    thread    write; written += 1; if a waiter is set, wake the loop

Each counter has one writer. The loop sets its waiter and then compares the counters again, the thread counts and then
looks for a waiter: in any interleaving one of them sees the other, so no wake-up is lost, and the thread wakes the
loop only if it waits. The thread writes to a duplicate of the descriptor: when the file is closed early, its number
may be given to another file, which must not receive these bytes.

On an error the thread skips the batches that follow, and `put` and `close` raise it. On cancellation `write_blocks`
waits for the thread and writes the rest before it re-raises. A second cancellation cuts that short; the thread still
ends, because `close` hands over None before it waits.

Why a thread of its own: a download is 1.2 times faster than with `asyncio.to_thread` for each batch
(benchmarks/transfer.py, down).
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import cache
from pathlib import Path
from queue import SimpleQueue
from typing import BinaryIO

from attrs import define, field

from ..errors import TransferFailed
from ..media.files import cancellable_open
from .budget import TransferBudget
from .targets import PartialFile, copy_into, open_target

_PRIMING_BYTES = 8 << 20
"""Twice the largest batch."""


@asynccontextmanager
async def atomic_file(target: Path, name: str = "") -> AsyncIterator[PartialFile]:
    """Open a part file for the target; put it in place on success, delete it after an error or a cancellation.

    Afterwards `target` of the file is where it is. If the target is a folder, the file gets a free name in it, made of
    `name`. Raises InvalidInput if the target cannot be written, TransferFailed if writing fails later, as on a full
    disk.
    """
    part = await cancellable_open(lambda: _open(target, name), PartialFile.discard)
    try:
        yield part
        if part.device is not None:
            await copy_into(part.device, part.file)
        part.target = await asyncio.to_thread(part.publish)
    except OSError as error:
        raise TransferFailed(f"{target} could not be written: {error.strerror or error}") from None
    finally:
        await asyncio.to_thread(part.discard)


def _open(target: Path, name: str) -> PartialFile:
    _prime_allocator()
    return open_target(target, name)


@cache
def _prime_allocator() -> None:
    """Once in a process, make glibc keep the memory of blocks.

    Freeing one large allocation raises glibc's dynamic mmap threshold to its size. From then on the memory of blocks is
    reused from the heap; otherwise every larger block would be mapped anew and fault page by page: up to 1.2 times the
    CPU and tens of thousands of page faults a download (benchmarks/transfer.py, down).
    """
    bytes(_PRIMING_BYTES)


async def write_blocks(file: BinaryIO, blocks: AsyncIterable[bytes], budget: TransferBudget | None = None) -> int:
    """Append blocks to a file without blocking the event loop; returns the number of bytes written.

    `budget` says how much to gather before it is written. If `blocks` raises or the task is cancelled, everything
    received until then is written first. Raises OSError.
    """
    batch: list[bytes] = []
    batched = written = 0
    writer = FileWriter(file)
    budget = budget or TransferBudget()
    try:
        with budget.download():
            size = budget.batch_bytes()
            async for block in blocks:
                batch.append(block)
                batched += len(block)
                if batched >= size:
                    await writer.put(batch)
                    batch, written, batched, size = [], written + batched, 0, budget.batch_bytes()
    finally:  # also after an interruption: the download counts these bytes as received and resumes behind them
        await writer.close()
        await asyncio.to_thread(write_batch, file, batch)
    return written + batched


def write_batch(file: BinaryIO, batch: list[bytes]) -> None:
    """Write all blocks to the system."""
    file.writelines(batch)
    file.flush()


@define(eq=False)
class FileWriter:
    """Writes batches of one file in a thread that lives from the first batch to `close`."""

    file: BinaryIO
    _loop: asyncio.AbstractEventLoop = field(factory=asyncio.get_running_loop, init=False)
    _queue: SimpleQueue[list[bytes] | None] = field(factory=SimpleQueue, init=False)
    _queued_batches: int = field(default=0, init=False)
    _written_batches: int = field(default=0, init=False)
    _waiter: asyncio.Future[None] | None = field(default=None, init=False)
    _error: Exception | None = field(default=None, init=False)
    _thread: threading.Thread | None = field(default=None, init=False)

    async def put(self, batch: list[bytes]) -> None:
        """Wait until the previous batch is written, then hand this one to the thread.

        Raises what an earlier batch raised; this batch is not handed over then.
        """
        if self._thread is None:
            duplicate = os.fdopen(os.dup(self.file.fileno()), "wb")
            self._thread = threading.Thread(target=self._run, args=(duplicate,), name="aiowatermark write", daemon=True)
            self._thread.start()
        # not further ahead: more data on its way would only be evicted from the CPU's caches before it is written
        await self._wait_until_written()
        self._queued_batches += 1
        self._queue.put(batch)

    async def close(self) -> None:
        """End the thread and wait for its last batch; raises what a batch raised."""
        if self._thread is not None:
            self._queue.put(None)
            await self._wait_until_written()

    async def _wait_until_written(self) -> None:
        while self._written_batches < self._queued_batches:
            self._waiter = self._loop.create_future()
            # compared again: the thread may have finished just before the waiter was set, and then wakes nothing
            if self._written_batches < self._queued_batches:
                await self._waiter
        if self._error is not None:
            raise self._error

    def _run(self, file: BinaryIO) -> None:
        with file:
            while (batch := self._queue.get()) is not None:
                try:
                    if self._error is None:
                        write_batch(file, batch)
                except Exception as error:  # noqa: BLE001 - raised by put() or close()
                    self._error = error
                del batch  # before the next get(): its memory is free while the thread waits
                self._written_batches += 1
                if self._waiter is not None:
                    with suppress(RuntimeError):  # the loop was closed: nothing waits any more
                        self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
