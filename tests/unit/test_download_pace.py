"""Slow downloads: how long they may take, when they give their slot to others, and what they wait for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

import aiowatermark as aw
from aiowatermark.transport.budget import FLOOR_SECONDS, SLOW_SECONDS
from aiowatermark.transport.download import Download, MemoryTarget

VIRTUAL_CLOCK = True

pytestmark = pytest.mark.usefixtures("no_retry_delays")


class Host:
    """Serves results of two kinds: `fast` ones at once, others one block after a pause, for ever."""

    def __init__(self, slots: int, block: int = 100, pause: float = 1.0) -> None:
        self.slots = asyncio.Semaphore(slots)
        self.block = block
        self.pause = pause
        self.requests: list[tuple[float, str]] = []

    @asynccontextmanager
    async def open_url(self, url: str, headers: Mapping[str, str]) -> AsyncIterator[Any]:
        self.requests.append((asyncio.get_running_loop().time(), url))
        yield Answer(url)

    async def read_blocks(self, response: Any) -> AsyncIterator[bytes]:
        if response.url == "fast":
            yield b"x" * 1000
            return
        while True:
            await asyncio.sleep(self.pause)
            yield bytes(self.block)


class Answer:
    status = 200

    def __init__(self, url: str) -> None:
        self.url = url
        self.content_length = 1000 if url == "fast" else 1 << 30
        self.headers = {"ETag": '"1"'}


async def fetch(host: Host, url: str) -> bytes:
    target = MemoryTarget()
    await Download(host, url).run(target)
    return bytes(target.data)


async def test_a_host_that_drips_fails_after_a_few_minutes() -> None:
    start = asyncio.get_running_loop().time()
    with pytest.raises(aw.TransferFailed, match="too slowly"):
        await fetch(Host(1), "slow")
    assert asyncio.get_running_loop().time() - start == pytest.approx(6 * FLOOR_SECONDS, rel=0.05)


async def test_a_slow_connection_that_makes_progress_goes_on() -> None:
    host = Host(1, block=2000)
    task = asyncio.create_task(fetch(host, "slow"))
    await asyncio.sleep(3600)
    assert not task.done()
    assert len(host.requests) == 1
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_dripping_hosts_do_not_block_other_downloads() -> None:
    host = Host(2)
    dripping = [asyncio.create_task(fetch(host, "slow")) for _ in range(6)]
    await asyncio.sleep(0)
    start = asyncio.get_running_loop().time()
    assert await fetch(host, "fast") == b"x" * 1000
    assert asyncio.get_running_loop().time() - start == pytest.approx(3 * SLOW_SECONDS, rel=0.01)
    for task in dripping:
        task.cancel()
    await asyncio.gather(*dripping, return_exceptions=True)
    assert not host.slots.locked()
    assert host.slots._value == 2


async def test_a_fast_download_keeps_its_slot() -> None:
    host = Host(1, block=100_000)
    first = asyncio.create_task(fetch(host, "large"))
    await asyncio.sleep(100)
    assert host.slots.locked()
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    assert host.slots._value == 1


async def test_a_silent_host_gives_its_slot_away_before_the_stall_is_noticed() -> None:
    host = Host(1, pause=1000.0)
    silent = asyncio.create_task(fetch(host, "slow"))
    await asyncio.sleep(0)
    start = asyncio.get_running_loop().time()
    await fetch(host, "fast")
    assert asyncio.get_running_loop().time() - start == pytest.approx(SLOW_SECONDS)
    silent.cancel()
    await asyncio.gather(silent, return_exceptions=True)


async def test_a_download_that_is_cancelled_while_it_waits_for_a_slot_takes_none() -> None:
    host = Host(1, block=100_000)
    holder, waiting = (asyncio.create_task(fetch(host, "large")) for _ in range(2))
    await asyncio.sleep(1)
    waiting.cancel()
    holder.cancel()
    await asyncio.gather(holder, waiting, return_exceptions=True)
    assert host.slots._value == 1
