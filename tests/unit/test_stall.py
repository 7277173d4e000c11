"""The stall watchdog of downloads: when a host counts as silent, and that watching costs no timer for each block."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import StreamReader

from aiowatermark.transport.network.stall import StallTimer, read_blocks

VIRTUAL_CLOCK = True

STALL = 30.0


class Connection:
    """The protocol of a connection, as far as a StreamReader needs it."""

    connected = True

    def pause_reading(self) -> None:
        """A test feeds as much as it likes."""

    def resume_reading(self, resume_parser: bool = True) -> None:
        """Nothing was paused."""


class Response:
    """A response whose body a test feeds."""

    def __init__(self) -> None:
        connection: Any = Connection()
        self.content = StreamReader(connection, 1 << 18, loop=asyncio.get_running_loop())

    def blocks(self) -> AsyncIterator[bytes]:
        response: Any = self
        return read_blocks(response, STALL)

    def feed_at(self, *moments: float) -> None:
        """Let a block arrive at each of these moments."""
        for moment in moments:
            asyncio.get_running_loop().call_at(moment, self.content.feed_data, b"block")

    def end_at(self, moment: float) -> None:
        asyncio.get_running_loop().call_at(moment, self.content.feed_eof)


@pytest.fixture
async def response() -> Response:
    return Response()


def now() -> float:
    return asyncio.get_running_loop().time()


async def read_all(blocks: AsyncIterator[bytes]) -> int:
    return len([block async for block in blocks])


@pytest.mark.parametrize("moments", [(), (0.0,), (0.1,), (7.0, 11.5), (29.999,), (29.0, 58.0, 87.0), (29.5, 29.75)])
async def test_a_silent_host_is_given_up_exactly_a_stall_after_its_last_block(
    response: Response, moments: tuple[float, ...]
) -> None:
    response.feed_at(*moments)
    with pytest.raises(aiohttp.SocketTimeoutError, match="nothing arrived for 30 s"):
        await read_all(response.blocks())
    assert now() == pytest.approx(max(moments, default=0.0) + STALL, abs=1e-6)


async def test_a_host_that_sends_a_block_within_each_stall_is_never_given_up(response: Response) -> None:
    moments = [29.9 * number for number in range(1, 200)]
    response.feed_at(*moments)
    response.end_at(moments[-1] + 29.9)
    assert await read_all(response.blocks()) == len(moments)


async def test_a_slow_consumer_is_not_a_silent_host(response: Response) -> None:
    response.feed_at(0.0, 0.0)
    blocks = response.blocks()
    for _ in range(2):
        await anext(blocks)
        await asyncio.sleep(3.3 * STALL)
    asked = now()
    with pytest.raises(aiohttp.SocketTimeoutError):
        await anext(blocks)
    assert now() == pytest.approx(asked + STALL, abs=1e-6)


async def test_what_arrived_while_the_loop_was_busy_counts(response: Response) -> None:
    loop: Any = asyncio.get_running_loop()

    def keep_the_loop_busy() -> None:
        loop._jumping.now += 10.0

    loop.call_at(STALL - 1.0, keep_the_loop_busy)
    # when the loop looks again, both are due: the bytes are read, and in the same pass the watchdog goes off
    response.feed_at(STALL - 0.5)
    response.end_at(2 * STALL)
    assert await read_all(response.blocks()) == 1


async def test_blocks_set_no_timers(response: Response, monkeypatch: pytest.MonkeyPatch) -> None:
    count, loop = 1000, asyncio.get_running_loop()
    response.feed_at(*range(1, count + 1))
    response.end_at(count + 1)
    set_for: list[float] = []
    call_at = loop.call_at

    def counted_call_at(when: float, *arguments: Any, **options: Any) -> asyncio.TimerHandle:
        set_for.append(when)
        return call_at(when, *arguments, **options)

    monkeypatch.setattr(loop, "call_at", counted_call_at)
    assert await read_all(response.blocks()) == count
    assert len(set_for) <= count / STALL + 2


async def test_a_response_that_was_read_or_left_keeps_no_timer() -> None:
    calls: list[float] = []
    with StallTimer(STALL, lambda: calls.append(now())) as timer:
        timer.begin_wait()
        await asyncio.sleep(STALL / 2)
    await asyncio.sleep(10 * STALL)
    assert calls == []
