"""The same transfers by plain aiohttp, as fast as it can, and by curl: what ours is measured against."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp

BLOCKS = {"64 KiB": 1 << 16, "256 KiB": 1 << 18, "512 KiB": 1 << 19, "1 MiB": 1 << 20}
OCTETS = "application/octet-stream"


def film(path: Path, mib: int) -> Path:
    """A file that the page cache holds."""
    block = os.urandom(1 << 20)
    with path.open("wb") as file:
        for _ in range(mib):
            file.write(block)
        os.fsync(file.fileno())
    return path


async def read_inline(path: Path, block: int) -> AsyncIterator[bytes]:
    with path.open("rb", buffering=0) as film:
        while data := film.read(block):
            yield data
            await asyncio.sleep(0)


async def up(session: aiohttp.ClientSession, origin: str, film: Path, block: int) -> None:
    headers = {"Content-Length": str(film.stat().st_size), "Content-Type": OCTETS}
    async with session.put(f"{origin}/up/film", data=read_inline(film, block), headers=headers) as reply:
        assert reply.status == 200


async def down(session: aiohttp.ClientSession, origin: str, target: Path, block: int) -> None:
    async with session.get(f"{origin}/down/film") as reply:
        with target.open("wb", buffering=0) as file:
            async for data in reply.content.iter_chunked(block):
                file.write(data)
            os.fsync(file.fileno())


async def curl(*arguments: str) -> None:
    nothing = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec("curl", "-sSf", "-H", "Expect:", *arguments, stdout=nothing)
    assert await process.wait() == 0
