"""Jobs above the in-flight limit are queued: in order, without a task, and cancellable."""

from __future__ import annotations

import asyncio
import gc
from contextvars import ContextVar

import pytest

import aiowatermark as aw
from aiowatermark.jobs import Record, Snapshot, Status
from aiowatermark.testing import ScriptedTransport, json_response
from aiowatermark.wire import Response
from tests.support.picwish import ACCEPTED, LINK, PENDING, scripted_client
from tests.support.waiting import run_ready_tasks

VIRTUAL_CLOCK = True
WHO: ContextVar[str] = ContextVar("WHO", default="unset")


async def test_queued_jobs_have_no_task(transport: ScriptedTransport) -> None:
    transport.hold = asyncio.Event()
    async with scripted_client(transport, limits=aw.Limits(in_flight=1)) as client:
        waiting = [asyncio.create_task(client.remove(LINK)) for _ in range(50)]
        await run_ready_tasks()
        ours = asyncio.all_tasks() - set(waiting) - {asyncio.current_task()}
        assert len(ours) == 1
        assert transport.submitted == 1
        transport.hold.set()
        await asyncio.gather(*waiting)
    assert transport.submitted == 50


async def test_a_queued_job_that_is_cancelled_never_runs(transport: ScriptedTransport) -> None:
    transport.hold = asyncio.Event()
    async with scripted_client(transport, limits=aw.Limits(in_flight=1)) as client:
        first = asyncio.create_task(client.remove(LINK, key="first"))
        second = asyncio.create_task(client.remove(LINK, key="second"))
        third = asyncio.create_task(client.remove(LINK, key="third"))
        await run_ready_tasks()
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        transport.hold.set()
        await asyncio.gather(first, third)
        assert transport.submitted == 2
        assert (await client.remove(LINK, key="second")).key == "second"
    assert transport.submitted == 3


async def test_closing_cancels_queued_jobs_and_submits_nothing_new(transport: ScriptedTransport) -> None:
    transport.queries = [PENDING]
    client = scripted_client(transport, limits=aw.Limits(in_flight=1), drain=0.0)
    async with client:
        handle = await client.submit(LINK)
        waiting = [asyncio.create_task(client.remove(LINK)) for _ in range(3)]
        await run_ready_tasks()
    for error in await asyncio.gather(*waiting, return_exceptions=True):
        assert "cancelled before anything was sent" in str(error)
    assert handle.done()
    assert transport.submitted == 1


async def test_a_queued_job_runs_in_the_context_of_its_caller(transport: ScriptedTransport) -> None:
    seen: list[str] = []

    def accept() -> Response:
        seen.append(WHO.get())
        return ACCEPTED

    async def remove_as(name: str) -> None:
        WHO.set(name)
        await client.remove(LINK)

    transport.submissions = [accept]
    async with scripted_client(transport, limits=aw.Limits(in_flight=1)) as client:
        await asyncio.gather(*(remove_as(name) for name in ("anna", "ben", "cleo")))
    assert seen == ["anna", "ben", "cleo"]


async def test_a_new_job_does_not_wait_behind_all_recovered_jobs(transport: ScriptedTransport) -> None:
    done = {"state": 1, "file": "https://x.example/a"}
    transport.queries = [lambda: json_response(status=200, data=done)]
    store = aw.MemoryStore()
    async with scripted_client(transport, limits=aw.Limits(in_flight=1), store=store) as client:
        for number in range(20):
            snapshot = Snapshot(f"old-{number}", Status.QUEUED)
            await store.open(Record(f"old-{number}", "picwish", snapshot, account=client.provider.account))
        recovery = await client.recover()
        await client.remove(LINK)
        assert sum(handle.done() for handle in recovery.resumed) < 4
        await asyncio.gather(*recovery.resumed)
    assert transport.submitted == 1


async def test_a_finished_job_leaves_no_reference_cycles(transport: ScriptedTransport) -> None:
    async with scripted_client(transport, limits=aw.Limits(in_flight=100)) as client:
        await client.remove(LINK)
        gc.collect()
        gc.disable()
        try:
            await asyncio.gather(*(client.remove(LINK) for _ in range(50)))
            assert gc.collect() < 50
        finally:
            gc.enable()


async def test_a_job_cancelled_as_it_gets_its_slot_passes_the_slot_on(transport: ScriptedTransport) -> None:
    transport.submissions = [json_response(401)]
    transport.hold = asyncio.Event()
    async with scripted_client(transport, limits=aw.Limits(in_flight=1)) as client:
        first = asyncio.create_task(client.submit(LINK, key="first"))
        second = asyncio.create_task(client.submit(LINK, key="second"))
        await run_ready_tasks()
        transport.hold.set()  # the first job ends in the same iteration of the loop ...
        second.cancel()  # ... in which the caller of the second is cancelled
        await asyncio.gather(first, second, return_exceptions=True)
        await run_ready_tasks()
        assert client._state.engine is not None
        assert client._state.engine.jobs == {}
        assert client._state.engine.admission.free_slots == 1
