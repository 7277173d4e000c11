"""Whole files only: written beside their target in a worker thread, and moved into place when they are right."""

from __future__ import annotations

import asyncio
import os
import secrets
import threading
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from queue import SimpleQueue
from typing import BinaryIO

from attrs import define, field, frozen

from ..errors import InvalidInput, TransferFailed
from ..media.files import cancellable_open

_BATCH_BYTES = 4 << 20
"""Bytes that are gathered for hops to worker threads, of all files that are being written."""
_MIN_BATCH_BYTES = 1 << 18


@frozen
class PartialFile:
    """A file that is being written, and where."""

    file: BinaryIO
    path: Path


class _Writers:
    """How many files are written now: alone, a file may gather more for one hop."""

    active = 0

    def batch_bytes(self) -> int:
        """Bytes to gather; as few hops as the memory for all allows."""
        return max(_BATCH_BYTES // max(self.active, 1), _MIN_BATCH_BYTES)


_writers = _Writers()


async def write_blocks(file: BinaryIO, blocks: AsyncIterable[bytes]) -> int:
    """Write blocks in batches, off the loop, each while the next comes; gives how many bytes there were."""
    batch: list[bytes] = []
    held = written = 0
    writer = FileWriter(file)
    _writers.active += 1
    enough = _writers.batch_bytes()
    try:
        async for block in blocks:
            batch.append(block)
            held += len(block)
            if held >= enough:
                await writer.put(batch)
                batch, written, held = [], written + held, 0
                enough = _writers.batch_bytes()
    finally:  # what came before a cut counts: the rest is asked for from there
        _writers.active -= 1
        await writer.close()
        await asyncio.to_thread(write_vector, file, batch)
    return written + held


@asynccontextmanager
async def atomic_file(target: Path) -> AsyncIterator[PartialFile]:
    """A part beside the target that takes its place at the end, and is gone if anything goes wrong.

    Raises InvalidInput where the target cannot be written, TransferFailed where the disk is full.
    """
    part = await cancellable_open(lambda: _create_part(target), _discard)
    try:
        yield part
        await asyncio.to_thread(_publish, part, target)
    except OSError as error:
        raise TransferFailed(f"{target} could not be written: {error.strerror or error}") from None
    finally:
        await asyncio.to_thread(_discard, part)


def _create_part(target: Path) -> PartialFile:
    path = target.with_name(f".{target.name[:100]}.{secrets.token_hex(4)}.part")
    if target.is_dir():
        raise InvalidInput(f"{target} is a folder: give the name of a file in it")
    bytes(2 * _BATCH_BYTES)  # glibc learns from its freeing to keep so much at hand, and not to fetch every page anew
    try:
        return PartialFile(path.open("xb"), path)
    except OSError as error:
        raise InvalidInput(f"{target} cannot be written: {error.strerror or error}") from None


def _discard(part: PartialFile) -> None:
    with suppress(OSError):
        part.file.close()
    with suppress(OSError):
        part.path.unlink()


def _publish(part: PartialFile, target: Path) -> None:
    part.file.flush()
    os.fsync(part.file.fileno())
    part.file.close()
    part.path.replace(target)


_MAX_VECTOR = 1024


def write_vector(file: BinaryIO, batch: list[bytes]) -> None:
    """All of it, in one call where the system has one: each has to win the interpreter back from a busy loop."""
    if not hasattr(os, "writev"):
        file.writelines(batch)
        file.flush()
        return
    views = [memoryview(block) for block in batch]
    while views:
        written = os.writev(file.fileno(), views[:_MAX_VECTOR])
        while views and written >= len(views[0]):
            written -= len(views.pop(0))
        if views:
            views[0] = views[0][written:]


@define(eq=False)
class FileWriter:
    """One file's thread, from the first batch to `close`. A hop that answers costs twice one that does not."""

    file: BinaryIO
    _loop: asyncio.AbstractEventLoop = field(factory=asyncio.get_running_loop, init=False)
    _queue: SimpleQueue[list[bytes] | None] = field(factory=SimpleQueue, init=False)
    _accepted_bytes: int = field(default=0, init=False)
    _written_bytes: int = field(default=0, init=False)
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
        await self._drained()
        self._accepted_bytes += 1
        self._queue.put(batch)

    async def close(self) -> None:
        """Wait for everything; raises what a batch raised."""
        if self._thread is not None:
            self._queue.put(None)
            await self._drained()

    async def _drained(self) -> None:
        while self._written_bytes < self._accepted_bytes:
            self._waiter = self._loop.create_future()
            if self._written_bytes < self._accepted_bytes:  # it may have been written before anybody waited
                await self._waiter
        if self._error is not None:
            raise self._error

    def _run(self, own: BinaryIO) -> None:
        with own:
            while (batch := self._queue.get()) is not None:
                try:
                    if self._error is None:
                        write_vector(own, batch)
                except Exception as error:  # noqa: BLE001 - told to whoever waits
                    self._error = error
                del batch
                self._written_bytes += 1
                if self._waiter is not None:
                    with suppress(RuntimeError):  # a loop that was closed has nobody who waits
                        self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
