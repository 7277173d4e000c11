"""Jobs that wait for their turn: in order, without a task, and called off without a trace."""

from __future__ import annotations

import asyncio
import gc
from contextvars import ContextVar
from typing import Any

import pytest

import aiowatermark as aw
from aiowatermark.jobs import Record, Snapshot, Status
from aiowatermark.wire import Request

VIRTUAL_CLOCK = True
LINK = "https://pictures.example/a.png"
WHO: ContextVar[str] = ContextVar("WHO", default="nobody")


def client(wire: Any, in_flight: int = 1, **settings: Any) -> aw.Client:
    provider = aw.PicWish("canary-1", requests_per_second=None)
    return aw.Client(provider, transport=wire, limits=aw.Limits(in_flight=in_flight), **settings)


async def settled() -> None:
    """Let everything that can go on now go on."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_jobs_that_wait_for_their_turn_cost_no_task(wire: Any) -> None:
    wire.gate = asyncio.Event()
    async with client(wire) as opened:
        waiting = [asyncio.create_task(opened.remove(LINK)) for _ in range(50)]
        await settled()
        ours = asyncio.all_tasks() - set(waiting) - {asyncio.current_task()}
        assert len(ours) == 1
        assert wire.submitted == 1
        wire.gate.set()
        await asyncio.gather(*waiting)
    assert wire.submitted == 50


async def test_a_job_called_off_before_its_turn_is_never_submitted(wire: Any) -> None:
    wire.gate = asyncio.Event()
    async with client(wire) as opened:
        first = asyncio.create_task(opened.remove(LINK, key="first"))
        second = asyncio.create_task(opened.remove(LINK, key="second"))
        third = asyncio.create_task(opened.remove(LINK, key="third"))
        await settled()
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        wire.gate.set()
        await asyncio.gather(first, third)
        assert wire.submitted == 2
        assert (await opened.remove(LINK, key="second")).key == "second"
    assert wire.submitted == 3


async def test_closing_tells_those_who_wait_and_pays_nothing_new(wire: Any, pending: Any) -> None:
    wire.looks = [pending]
    opened = client(wire, drain=0.0)
    async with opened:
        handle = await opened.submit(LINK)
        waiting = [asyncio.create_task(opened.remove(LINK)) for _ in range(3)]
        await settled()
    for error in await asyncio.gather(*waiting, return_exceptions=True):
        assert "called off before anything was sent" in str(error)
    assert handle.done()
    assert wire.submitted == 1


async def test_a_job_whose_turn_came_later_runs_in_its_callers_context(wire: Any) -> None:
    seen: list[str] = []
    perform = wire.perform

    async def watched(request: Request, **rest: Any) -> Any:
        if not request.repeatable:
            seen.append(WHO.get())
        return await perform(request, **rest)

    async def asking(name: str) -> None:
        WHO.set(name)
        await opened.remove(LINK)

    wire.perform = watched
    async with client(wire) as opened:
        await asyncio.gather(*(asking(name) for name in ("anna", "ben", "cleo")))
    assert seen == ["anna", "ben", "cleo"]


async def test_a_new_job_does_not_wait_behind_all_that_were_recovered(wire: Any, answer: Any) -> None:
    done = {"state": 1, "file": "https://x.example/a"}
    wire.looks = [lambda: answer(status=200, data=done)]
    store = aw.MemoryStore()
    async with client(wire, store=store) as opened:
        for number in range(20):
            snapshot = Snapshot(f"old-{number}", Status.QUEUED)
            await store.open(Record(f"old-{number}", "picwish", snapshot, account=opened.provider.account))
        recovery = await opened.recover()
        await opened.remove(LINK)
        assert sum(handle.done() for handle in recovery.resumed) < 4
        await asyncio.gather(*recovery.resumed)
    assert wire.submitted == 1


async def test_a_finished_job_leaves_nothing_to_the_garbage_collector(wire: Any) -> None:
    async with client(wire, in_flight=100) as opened:
        await opened.remove(LINK)
        gc.collect()
        gc.disable()
        try:
            await asyncio.gather(*(opened.remove(LINK) for _ in range(50)))
            assert gc.collect() < 50
        finally:
            gc.enable()


async def test_a_job_called_off_in_the_moment_its_turn_comes_gives_the_turn_on(wire: Any, answer: Any) -> None:
    refused: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    async def perform(request: Request, **_: Any) -> Any:
        return await refused

    wire.perform = perform
    async with client(wire) as opened:
        first = asyncio.create_task(opened.submit(LINK, key="first"))
        second = asyncio.create_task(opened.submit(LINK, key="second"))
        await settled()
        refused.set_result(answer(status=401))  # the first life ends in the same turn of the loop ...
        second.cancel()  # ... in which the second's caller goes away
        await asyncio.gather(first, second, return_exceptions=True)
        await settled()
        assert opened._engine is not None
        assert opened._engine.jobs == {}
        assert opened._engine.admission.free_slots == 1
