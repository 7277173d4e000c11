"""One timer serves many timeouts: each fires in time, and a wait that ends in time leaves nothing behind."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

import pytest

from aiowatermark.transport.request_timeouts import TimeoutGroup

VIRTUAL_CLOCK = True


async def outcome(timeouts: TimeoutGroup, seconds: float, awaitable: Awaitable[object]) -> str:
    """Whether an awaitable ended or timed out, and after how many seconds."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    task = timeouts.start(seconds)
    try:
        await awaitable
    except asyncio.CancelledError:
        if not timeouts.stop(task):
            raise
        return f"timed out after {loop.time() - started:g}"
    finally:
        timeouts.stop(task)
    return f"ended after {loop.time() - started:g}"


async def test_each_wait_times_out_after_its_own_seconds() -> None:
    timeouts = TimeoutGroup()
    waits = [outcome(timeouts, seconds, asyncio.sleep(100)) for seconds in (30, 5, 180, 5)]
    waits.append(outcome(timeouts, 60, asyncio.sleep(7)))
    outcomes = await asyncio.gather(*(waits[:4]), waits[4])
    assert outcomes == [
        "timed out after 30",
        "timed out after 5",
        "ended after 100",
        "timed out after 5",
        "ended after 7",
    ]


async def test_a_thousand_waits_need_one_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    timeouts, loop = TimeoutGroup(), asyncio.get_running_loop()
    timers: list[float] = []
    call_at = loop.call_at

    def counting_call_at(when: float, callback: object, *rest: object, **settings: object) -> asyncio.TimerHandle:
        if getattr(callback, "__self__", None) is timeouts:
            timers.append(when)
        return call_at(when, callback, *rest, **settings)  # type: ignore[arg-type]

    monkeypatch.setattr(loop, "call_at", counting_call_at)
    await asyncio.gather(*(outcome(timeouts, 30, asyncio.sleep(1)) for _ in range(1000)))
    assert len(timers) == 1


async def test_a_task_cancelled_by_other_code_stays_cancelled() -> None:
    timeouts = TimeoutGroup()
    task = asyncio.create_task(outcome(timeouts, 30, asyncio.sleep(100)))
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_task_cancelled_at_the_moment_its_timeout_fires_stays_cancelled() -> None:
    timeouts = TimeoutGroup()
    task = asyncio.create_task(outcome(timeouts, 30, asyncio.sleep(100)))
    await asyncio.sleep(0)
    asyncio.get_running_loop().call_later(30, task.cancel)
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_wait_inside_the_cleanup_of_a_cancelled_task_times_out_like_any_other() -> None:
    timeouts = TimeoutGroup()
    outcomes: list[str] = []

    async def clean_up_when_cancelled() -> None:
        try:
            await asyncio.sleep(100)
        finally:
            outcomes.append(await outcome(timeouts, 5, asyncio.sleep(100)))

    task = asyncio.create_task(clean_up_when_cancelled())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert outcomes == ["timed out after 5"]


async def test_closing_times_out_what_still_waits_and_leaves_no_timer() -> None:
    timeouts = TimeoutGroup()
    task = asyncio.create_task(outcome(timeouts, 30, asyncio.sleep(100)))
    await asyncio.sleep(1)
    timeouts.close()
    assert await task == "timed out after 1"
    assert timeouts._timer is None
