"""Reads the lines of stdin one by one, only as fast as they are taken."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import AsyncGenerator

_BLOCK_SIZE = 1 << 16


async def read_lines() -> AsyncGenerator[str, None]:
    """Yield the lines of stdin that are not empty."""
    rest = b""
    while block := await _read_block():
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            # fsdecode: a path may hold bytes that are not UTF-8
            if text := os.fsdecode(line.rstrip(b"\r")):
                yield text
    if text := os.fsdecode(rest):
        yield text


def _read_block() -> asyncio.Future[bytes]:
    """Read the next block of stdin in a thread; b"" at the end.

    The thread is a daemon and not one of asyncio.to_thread's, which are joined at exit: after Ctrl-C a read of a
    silent pipe would block the exit until its other end writes or closes.
    """
    loop = asyncio.get_running_loop()
    block: asyncio.Future[bytes] = loop.create_future()

    def resolve(data: bytes) -> None:
        if not block.done():
            block.set_result(data)

    def read() -> None:
        try:
            data = os.read(0, _BLOCK_SIZE)
        except OSError:  # stdin was closed when the process was started: nothing to read
            data = b""
        with contextlib.suppress(RuntimeError):  # the loop is closed: the command has ended
            loop.call_soon_threadsafe(resolve, data)

    threading.Thread(target=read, daemon=True).start()
    return block
