"""Baseline of the transfer benchmark: the same uploads and downloads by plain aiohttp and by curl."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp

BLOCK_SIZES = {"64 KiB": 1 << 16, "256 KiB": 1 << 18, "512 KiB": 1 << 19, "1 MiB": 1 << 20}
CONTENT_TYPE = "application/octet-stream"


def write_random_file(path: Path, mib: int) -> Path:
    """Write a file of `mib` MiB, which stays in the page cache; returns its path."""
    block = os.urandom(1 << 20)
    with path.open("wb") as file:
        for _ in range(mib):
            file.write(block)
        os.fsync(file.fileno())
    return path


async def read_inline(path: Path, block: int) -> AsyncIterator[bytes]:
    with path.open("rb", buffering=0) as file:
        while data := file.read(block):
            yield data
            await asyncio.sleep(0)


async def upload(session: aiohttp.ClientSession, origin: str, path: Path, block: int) -> None:
    headers = {"Content-Length": str(path.stat().st_size), "Content-Type": CONTENT_TYPE}
    async with session.put(f"{origin}/up/video", data=read_inline(path, block), headers=headers) as response:
        assert response.status == 200


async def download(session: aiohttp.ClientSession, origin: str, target: Path, block: int) -> None:
    async with session.get(f"{origin}/down/video") as response:
        with target.open("wb", buffering=0) as file:
            async for data in response.content.iter_chunked(block):
                file.write(data)
            os.fsync(file.fileno())


async def curl(*arguments: str) -> None:
    command = ("curl", "-sSf", "-H", "Expect:", *arguments)
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL)
    assert await process.wait() == 0
