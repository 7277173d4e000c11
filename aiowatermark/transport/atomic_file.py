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
from ..media.files import kept

_GATHERED = 4 << 20
"""Bytes that are gathered for hops to worker threads, of all files that are being written."""
_LEAST = 1 << 18


@frozen
class Part:
    """A file that is being written, and where."""

    file: BinaryIO
    path: Path


class _Writers:
    """How many files are written now: alone, a file may gather more for one hop."""

    now = 0

    def batch(self) -> int:
        """Bytes to gather; as few hops as the memory for all allows."""
        return max(_GATHERED // max(self.now, 1), _LEAST)


_writers = _Writers()


async def write_blocks(file: BinaryIO, blocks: AsyncIterable[bytes]) -> int:
    """Write blocks in batches, off the loop, each while the next comes; gives how many bytes there were."""
    batch: list[bytes] = []
    held = written = 0
    writer = Writer(file)
    _writers.now += 1
    enough = _writers.batch()
    try:
        async for block in blocks:
            batch.append(block)
            held += len(block)
            if held >= enough:
                await writer.put(batch)
                batch, written, held = [], written + held, 0
                enough = _writers.batch()
    finally:  # what came before a cut counts: the rest is asked for from there
        _writers.now -= 1
        await writer.close()
        await asyncio.to_thread(write, file, batch)
    return written + held


@asynccontextmanager
async def whole(target: Path) -> AsyncIterator[Part]:
    """A part beside the target that takes its place at the end, and is gone if anything goes wrong.

    Raises InvalidInput where the target cannot be written, TransferFailed where the disk is full.
    """
    part = await kept(lambda: _begin(target), _discard)
    try:
        yield part
        await asyncio.to_thread(_finish, part, target)
    except OSError as error:
        msg = f"{target} could not be written: {error.strerror or error}"
        raise TransferFailed(msg) from None
    finally:
        await asyncio.to_thread(_discard, part)


def _begin(target: Path) -> Part:
    path = target.with_name(f".{target.name[:100]}.{secrets.token_hex(4)}.part")
    if target.is_dir():
        msg = f"{target} is a folder: give the name of a file in it"
        raise InvalidInput(msg)
    bytes(2 * _GATHERED)  # glibc learns from its freeing to keep so much at hand, and not to fetch every page anew
    try:
        return Part(path.open("xb"), path)
    except OSError as error:
        msg = f"{target} cannot be written: {error.strerror or error}"
        raise InvalidInput(msg) from None


def _discard(part: Part) -> None:
    with suppress(OSError):
        part.file.close()
    with suppress(OSError):
        part.path.unlink()


def _finish(part: Part, target: Path) -> None:
    part.file.flush()
    os.fsync(part.file.fileno())
    part.file.close()
    part.path.replace(target)


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
