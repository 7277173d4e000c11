"""Whole files only: written beside their target in a worker thread, and moved into place when they are right."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from attrs import frozen

from ..errors import InvalidInput, TransferFailed
from ..media.reading import kept
from .writing import Writer, write

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
