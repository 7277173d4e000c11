"""What is to be done, one after another, as it is asked for: arguments, and lines of stdin for `-`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import AsyncIterator, Sequence

_BLOCK = 1 << 16


async def read_inputs(files: Sequence[str]) -> AsyncIterator[str]:
    """The paths and links; nothing of stdin is read before there is room for it."""
    for file in files:
        if file != "-":
            yield file
            continue
        async for line in _lines():
            yield line


async def _lines() -> AsyncIterator[str]:
    """The lines of stdin that are not empty."""
    rest = b""
    while block := await _block():
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            if text := os.fsdecode(line.rstrip(b"\r")):
                yield text
    if text := os.fsdecode(rest):
        yield text


def _block() -> asyncio.Future[bytes]:
    """What stdin has next, read in a thread that nobody waits for at the end: a pipe may never say anything again."""
    loop = asyncio.get_running_loop()
    block: asyncio.Future[bytes] = loop.create_future()

    def give(data: bytes) -> None:
        if not block.done():
            block.set_result(data)

    def read() -> None:
        try:
            data = os.read(0, _BLOCK)
        except OSError:  # closed before we came: nothing more is given
            data = b""
        with contextlib.suppress(RuntimeError):  # the loop is closed: too late
            loop.call_soon_threadsafe(give, data)

    threading.Thread(target=read, daemon=True).start()
    return block
