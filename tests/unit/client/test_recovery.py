"""After a crash: what the store knows is watched, listed or settled, and never submitted again by itself."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

import aiowatermark as aw
from aiowatermark.jobs import Record

VIRTUAL_CLOCK = True
LINK = "https://pictures.example/a.png"
Make = Callable[..., Any]
KEY = "canary-1"


def client(wire: Any, store: aw.JobStore, **settings: Any) -> aw.Client:
    provider = settings.pop("provider", None) or aw.PicWish(KEY, requests_per_second=None)
    return aw.Client(provider, transport=wire, store=store, **settings)


async def test_jobs_at_the_provider_are_watched_again(wire: Any, pending: Any) -> None:
    store, done = aw.MemoryStore(), wire.looks[0]
    wire.looks = [pending]
    async with client(wire, store) as running:
        for number in range(3):
            await running.submit(f"{LINK}?{number}", key=f"k{number}")
    wire.looks = [done]
    async with client(wire, store) as running:
        recovery = await running.recover()
        results = await asyncio.gather(*recovery.resumed)
    assert sorted(result.key for result in results) == ["k0", "k1", "k2"]
    assert (recovery.in_doubt, recovery.unsent) == ([], [])
    assert wire.submitted == 3


async def test_jobs_in_doubt_are_listed_and_never_submitted(wire: Any, broken: Make) -> None:
    store = aw.MemoryStore()
    wire.submits = [broken(sent=True)]
    async with client(wire, store) as running:
        with pytest.raises(aw.SubmissionInDoubt):
            await running.submit(LINK, key="mine")
    async with client(wire, store) as running:
        recovery = await running.recover()
        assert [record.key for record in recovery.in_doubt] == ["mine"]
        with pytest.raises(aw.SubmissionInDoubt):
            await running.submit(LINK, key="mine")
    assert recovery.resumed == []
    assert wire.submitted == 1


async def test_jobs_of_other_accounts_and_providers_are_left_alone(wire: Any, pending: Any) -> None:
    store = aw.MemoryStore()
    wire.looks = [pending]
    async with client(wire, store) as running:
        await running.submit(LINK)
    for provider in (aw.PicWish("canary-2"), aw.GptGe(KEY)):
        async with client(wire, store, provider=provider) as running:
            assert (await running.recover()).resumed == []


async def test_recovered_jobs_are_watched_only_as_there_is_room(wire: Any, pending: Any) -> None:
    store = aw.MemoryStore()
    wire.looks = [pending]
    async with client(wire, store) as running:
        await asyncio.gather(*(running.submit(f"{LINK}?{n}") for n in range(20)))
    before = len(asyncio.all_tasks())
    async with client(wire, store, limits=aw.Limits(in_flight=3)) as running:
        recovery = await running.recover()
        await asyncio.sleep(5)
        assert len(asyncio.all_tasks()) - before == 3
    assert len(recovery.resumed) == 20
    for handle in recovery.resumed:
        with pytest.raises(aw.WatermarkError, match="resume"):
            await handle


async def test_a_token_is_settled_by_what_the_store_learned_since(wire: Any, broken: Make) -> None:
    store = aw.MemoryStore()
    wire.submits = [broken(sent=True)]
    async with client(wire, store) as running:
        with pytest.raises(aw.SubmissionInDoubt) as caught:
            await running.submit(LINK, key="mine")
        record = await store.get("mine")
        assert record is not None
        await store.put(record.advance(aw.Snapshot("task-1", aw.Status.QUEUED)))
        assert caught.value.token is not None
        assert (await running.resume(caught.value.token)).url


async def test_another_clients_submission_under_way_is_waited_for_and_joined(wire: Any) -> None:
    store = aw.MemoryStore()
    wire.gate = asyncio.Event()
    async with client(wire, store) as first, client(wire, store) as second:
        one = asyncio.create_task(first.remove(LINK, key="mine"))
        await asyncio.sleep(1)
        two = asyncio.create_task(second.remove(LINK, key="mine"))
        await asyncio.sleep(10)
        wire.gate.set()
        assert (await one).url == (await two).url
    assert wire.submitted == 1


async def test_another_clients_submission_that_is_never_answered_is_in_doubt(wire: Any) -> None:
    store = aw.MemoryStore()
    async with client(wire, store) as running:
        fingerprint = (await running._preparer.prepare(LINK, None, None, {})).fingerprint
        await store.open(Record("mine", "picwish", fingerprint=fingerprint, owner="a client that crashed"))
        with pytest.raises(aw.SubmissionInDoubt):
            await running.submit(LINK, key="mine")
    assert wire.submitted == 0


async def test_a_submission_that_a_closed_client_never_settled_is_in_doubt_at_once(wire: Any) -> None:
    store = aw.MemoryStore()
    wire.gate = asyncio.Event()
    async with client(wire, store, drain=1.0) as first:
        asking = asyncio.create_task(first.remove(LINK, key="mine"))
        await asyncio.sleep(1)
    with pytest.raises(aw.WatermarkError, match="the client was closed"):
        await asking
    begun = asyncio.get_running_loop().time()
    async with client(wire, store) as second:
        with pytest.raises(aw.SubmissionInDoubt):
            await second.submit(LINK, key="mine")
    assert asyncio.get_running_loop().time() - begun < 2
    assert wire.submitted == 1


def delivery(**payload: Any) -> aw.Delivery:
    return aw.Delivery(json.dumps(payload).encode(), "application/json")


async def test_a_callback_that_came_first_settles_a_lost_answer(wire: Any, broken: Make) -> None:
    receiver = aw.CallbackReceiver("https://hooks.example.com")

    def lost_but_called_back() -> Exception:
        (ring,) = receiver._expected.values()
        ring(delivery(status=200, data={"task_id": "task-1", "state": 1, "file": "https://x.example/a"}))
        error: Exception = broken(sent=True)
        return error

    wire.submits = [lost_but_called_back]
    async with client(wire, aw.MemoryStore(), callbacks=receiver) as running:
        result = await running.remove(LINK)
    assert result.url == "https://x.example/a"
    assert wire.submitted == 1


async def test_a_callback_that_comes_later_settles_a_job_in_doubt_in_the_store(wire: Any, broken: Make) -> None:
    receiver, store = aw.CallbackReceiver("https://hooks.example.com"), aw.MemoryStore()
    wire.submits = [broken(sent=True)]
    async with client(wire, store, callbacks=receiver) as running:
        with pytest.raises(aw.SubmissionInDoubt) as caught:
            await running.remove(LINK, key="mine")
        (ring,) = receiver._expected.values()
        ring(delivery(data={"nothing": 1}))
        ring(delivery(data={"task_id": "task-1", "state": 1, "file": "https://x.example/a"}))
        await asyncio.sleep(1)
        record = await store.get("mine")
        assert record is not None
        assert record.snapshot.task_id == "task-1"
        assert caught.value.token is not None
        assert (await running.resume(caught.value.token)).url
    assert wire.submitted == 1


async def test_resubmitting_is_done_once_and_only_where_it_was_asked_for(wire: Any, broken: Make, answer: Make) -> None:
    wire.submits = [broken(sent=True), answer(status=200, data={"task_id": "task-1"})]
    async with client(wire, aw.MemoryStore(), resubmit=True) as running:
        assert (await running.remove(LINK)).url
        wire.submits = [broken(sent=True)]
        with pytest.raises(aw.SubmissionInDoubt):
            await running.remove(f"{LINK}?2")
    assert wire.submitted == 4


async def test_a_repeated_stream_pays_nothing_twice(wire: Any) -> None:
    store = aw.MemoryStore()
    for _ in range(2):
        async with client(wire, store) as running:
            items = [f"https://pictures.example/{n}.png" for n in range(5)]
            outcomes = [outcome async for outcome in running.stream(items, key=str)]
        assert all(isinstance(outcome, aw.Done) for outcome in outcomes)
    assert wire.submitted == 5


def test_an_owner_is_gone_only_when_its_process_certainly_is() -> None:
    import os
    import subprocess
    import sys

    from aiowatermark.client.engine.owners import owner_is_dead, register_owner, unregister_owner

    mine, closed = register_owner(), register_owner()
    unregister_owner(closed)
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    assert not owner_is_dead(mine)
    assert owner_is_dead(closed)
    assert owner_is_dead(f"an-earlier-process-of-this-number@{mine.partition('@')[2]}")
    assert owner_is_dead(mine.replace(f":{os.getpid()}", f":{process.pid}"))
    assert not owner_is_dead("someone@another-machine:1")
    assert not owner_is_dead("")
    assert not owner_is_dead("a@b:c")
