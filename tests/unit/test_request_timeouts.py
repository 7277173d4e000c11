"""RequestTimeouts: each request is timed out at its own time, with one timer for all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from aiowatermark.transport.network.request_timeouts import RequestTimeouts

VIRTUAL_CLOCK = True


@pytest.fixture
async def timeouts() -> AsyncIterator[RequestTimeouts]:
    timeouts = RequestTimeouts()
    yield timeouts
    timeouts.close()


async def request(timeouts: RequestTimeouts, limit: float, *, takes: float = 1e9, starts: float = 0.0) -> float:
    """Make a request that takes so long; returns the time at which it was timed out, or -1 if it was not."""
    await asyncio.sleep(starts)
    scope = timeouts.start(limit)
    try:
        async with scope:
            await asyncio.sleep(takes)
    except TimeoutError:
        return asyncio.get_running_loop().time()
    finally:
        timeouts.end(scope)
    return -1.0


async def test_each_request_is_timed_out_at_its_own_time(timeouts: RequestTimeouts) -> None:
    start = asyncio.get_running_loop().time()
    times = await asyncio.gather(
        request(timeouts, 30),
        request(timeouts, 1),  # after a longer one: the timer is set to an earlier time
        request(timeouts, 5, starts=10),
        request(timeouts, 30, starts=29),
    )
    assert [time - start for time in times] == pytest.approx([30, 1, 15, 59])


async def test_a_request_that_ends_in_time_is_not_timed_out(timeouts: RequestTimeouts) -> None:
    assert await asyncio.gather(*(request(timeouts, 30, takes=seconds) for seconds in (0, 1, 29.9))) == [-1, -1, -1]
    await asyncio.sleep(100)  # the timer, which is still set then, finds nothing to do
    assert await request(timeouts, 30, takes=29) == -1


async def test_requests_that_may_take_equally_long_share_one_timer(
    timeouts: RequestTimeouts, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, timers = asyncio.get_running_loop(), []
    call_at = loop.call_at

    def count_timers(when: float, function: Any, *arguments: Any, **options: Any) -> asyncio.TimerHandle:
        timers.append(function)
        return call_at(when, function, *arguments, **options)

    monkeypatch.setattr(loop, "call_at", count_timers)
    for _ in range(50):
        await request(timeouts, 30, takes=0)
    assert len(timers) == 1


async def test_a_request_that_is_cancelled_is_not_timed_out(timeouts: RequestTimeouts) -> None:
    task = asyncio.create_task(request(timeouts, 30))
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await request(timeouts, 40, takes=39) == -1
