"""One timer for many waits: each is cut off in time, and what ends in time leaves nothing behind."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

import pytest

from aiowatermark.transport.request_timeouts import TimeoutGroup

VIRTUAL_CLOCK = True


async def waited(patience: TimeoutGroup, seconds: float, wait: Awaitable[object]) -> str:
    """What becomes of a wait, and when."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    task = patience.begin(seconds)
    try:
        await wait
    except asyncio.CancelledError:
        if not patience.end(task):
            raise
        return f"cut off after {loop.time() - begun:g}"
    finally:
        patience.end(task)
    return f"ended after {loop.time() - begun:g}"


async def test_each_wait_is_cut_off_when_its_own_time_is_over() -> None:
    patience = TimeoutGroup()
    waits = [waited(patience, seconds, asyncio.sleep(100)) for seconds in (30, 5, 180, 5)]
    waits.append(waited(patience, 60, asyncio.sleep(7)))
    told = await asyncio.gather(*(waits[:4]), waits[4])
    assert told == ["cut off after 30", "cut off after 5", "ended after 100", "cut off after 5", "ended after 7"]


async def test_a_thousand_waits_need_one_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    patience, loop = TimeoutGroup(), asyncio.get_running_loop()
    timers: list[float] = []
    call_at = loop.call_at

    def counted(when: float, callback: object, *rest: object, **settings: object) -> asyncio.TimerHandle:
        if getattr(callback, "__self__", None) is patience:
            timers.append(when)
        return call_at(when, callback, *rest, **settings)  # type: ignore[arg-type]

    monkeypatch.setattr(loop, "call_at", counted)
    await asyncio.gather(*(waited(patience, 30, asyncio.sleep(1)) for _ in range(1000)))
    assert len(timers) == 1


async def test_a_task_cancelled_by_somebody_else_stays_cancelled() -> None:
    patience = TimeoutGroup()
    task = asyncio.create_task(waited(patience, 30, asyncio.sleep(100)))
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_task_cancelled_in_the_moment_its_time_is_over_stays_cancelled() -> None:
    patience = TimeoutGroup()
    task = asyncio.create_task(waited(patience, 30, asyncio.sleep(100)))
    await asyncio.sleep(0)
    asyncio.get_running_loop().call_later(30, task.cancel)
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_wait_inside_a_cleanup_is_cut_off_as_any_other() -> None:
    patience = TimeoutGroup()
    told: list[str] = []

    async def cleaning_up() -> None:
        try:
            await asyncio.sleep(100)
        finally:
            told.append(await waited(patience, 5, asyncio.sleep(100)))

    task = asyncio.create_task(cleaning_up())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert told == ["cut off after 5"]


async def test_closing_cuts_off_what_still_waits_and_leaves_no_timer() -> None:
    patience = TimeoutGroup()
    task = asyncio.create_task(waited(patience, 30, asyncio.sleep(100)))
    await asyncio.sleep(1)
    patience.close()
    assert await task == "cut off after 1"
    assert patience._timer is None
