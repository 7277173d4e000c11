"""After a crash, jobs in the store are watched, listed or settled, and never submitted again by themselves."""

from __future__ import annotations

import asyncio

import pytest

import aiowatermark as aw
from aiowatermark.callbacks.registry import registry_of
from aiowatermark.jobs import Record
from aiowatermark.testing import ScriptedTransport, connection_lost, json_response
from tests.support.picwish import LINK, PENDING, delivery, scripted_client

VIRTUAL_CLOCK = True
KEY = "canary-1"


async def test_jobs_at_the_provider_are_watched_again(transport: ScriptedTransport) -> None:
    store, done = aw.MemoryStore(), transport.queries[0]
    transport.queries = [PENDING]
    async with scripted_client(transport, store=store) as client:
        for number in range(3):
            await client.submit(f"{LINK}?{number}", key=f"k{number}")
    transport.queries = [done]
    async with scripted_client(transport, store=store) as client:
        recovery = await client.recover()
        results = await asyncio.gather(*recovery.resumed)
    assert sorted(result.key for result in results) == ["k0", "k1", "k2"]
    assert (recovery.in_doubt, recovery.unsent) == ([], [])
    assert transport.submitted == 3


async def test_jobs_in_doubt_are_listed_and_never_submitted(transport: ScriptedTransport) -> None:
    store = aw.MemoryStore()
    transport.submissions = [connection_lost(sent=True)]
    async with scripted_client(transport, store=store) as client:
        with pytest.raises(aw.SubmissionInDoubt):
            await client.submit(LINK, key="mine")
    async with scripted_client(transport, store=store) as client:
        recovery = await client.recover()
        assert [record.key for record in recovery.in_doubt] == ["mine"]
        with pytest.raises(aw.SubmissionInDoubt):
            await client.submit(LINK, key="mine")
    assert recovery.resumed == []
    assert transport.submitted == 1


async def test_jobs_of_other_accounts_and_providers_are_left_alone(transport: ScriptedTransport) -> None:
    store = aw.MemoryStore()
    transport.queries = [PENDING]
    async with scripted_client(transport, store=store) as client:
        await client.submit(LINK)
    for provider in (aw.PicWish("canary-2"), aw.GptGe(KEY)):
        async with scripted_client(transport, store=store, provider=provider) as client:
            assert (await client.recover()).resumed == []


async def test_recovered_jobs_stay_within_the_in_flight_limit(transport: ScriptedTransport) -> None:
    store = aw.MemoryStore()
    transport.queries = [PENDING]
    async with scripted_client(transport, store=store) as client:
        await asyncio.gather(*(client.submit(f"{LINK}?{n}") for n in range(20)))
    before = len(asyncio.all_tasks())
    async with scripted_client(transport, store=store, limits=aw.Limits(in_flight=3)) as client:
        recovery = await client.recover()
        await asyncio.sleep(5)
        assert len(asyncio.all_tasks()) - before == 3
    assert len(recovery.resumed) == 20
    for handle in recovery.resumed:
        with pytest.raises(aw.WatermarkError, match="resume"):
            await handle


async def test_a_token_in_doubt_resumes_with_what_the_store_has_learned(transport: ScriptedTransport) -> None:
    store = aw.MemoryStore()
    transport.submissions = [connection_lost(sent=True)]
    async with scripted_client(transport, store=store) as client:
        with pytest.raises(aw.SubmissionInDoubt) as caught:
            await client.submit(LINK, key="mine")
        record = await store.get("mine")
        assert record is not None
        await store.put(record.advance(aw.Snapshot("task-1", aw.Status.QUEUED)))
        assert caught.value.token is not None
        assert (await client.resume(caught.value.token)).url


async def test_a_submission_in_flight_in_another_client_is_awaited_and_shared(transport: ScriptedTransport) -> None:
    store = aw.MemoryStore()
    transport.hold = asyncio.Event()
    async with scripted_client(transport, store=store) as first, scripted_client(transport, store=store) as second:
        one = asyncio.create_task(first.remove(LINK, key="mine"))
        await asyncio.sleep(1)
        two = asyncio.create_task(second.remove(LINK, key="mine"))
        await asyncio.sleep(10)
        transport.hold.set()
        assert (await one).url == (await two).url
    assert transport.submitted == 1


async def test_a_submission_of_another_client_that_is_never_answered_is_in_doubt(transport: ScriptedTransport) -> None:
    store = aw.MemoryStore()
    async with scripted_client(transport, store=store) as client:
        fingerprint = (await client._preparer.prepare(LINK, None, None, {})).fingerprint
        await store.open(Record("mine", "picwish", fingerprint=fingerprint, owner="a client that crashed"))
        with pytest.raises(aw.SubmissionInDoubt):
            await client.submit(LINK, key="mine")
    assert transport.submitted == 0


async def test_an_unanswered_submission_of_a_closed_client_is_in_doubt_immediately(
    transport: ScriptedTransport,
) -> None:
    store = aw.MemoryStore()
    transport.hold = asyncio.Event()
    async with scripted_client(transport, store=store, drain=1.0) as first:
        submitting = asyncio.create_task(first.remove(LINK, key="mine"))
        await asyncio.sleep(1)
    with pytest.raises(aw.WatermarkError, match="the client was closed"):
        await submitting
    begun = asyncio.get_running_loop().time()
    async with scripted_client(transport, store=store) as second:
        with pytest.raises(aw.SubmissionInDoubt):
            await second.submit(LINK, key="mine")
    assert asyncio.get_running_loop().time() - begun < 2
    assert transport.submitted == 1


async def test_a_callback_that_arrived_first_settles_a_lost_answer(transport: ScriptedTransport) -> None:
    receiver = aw.CallbackReceiver("https://hooks.example.com")

    def lost_but_called_back() -> Exception:
        (deliver,) = registry_of(receiver)._expected.values()
        deliver(delivery(status=200, data={"task_id": "task-1", "state": 1, "file": "https://x.example/a"}))
        error: Exception = connection_lost(sent=True)
        return error

    transport.submissions = [lost_but_called_back]
    async with scripted_client(transport, store=aw.MemoryStore(), callbacks=receiver) as client:
        result = await client.remove(LINK)
    assert result.url == "https://x.example/a"
    assert transport.submitted == 1


async def test_a_later_callback_settles_a_job_in_doubt_in_the_store(transport: ScriptedTransport) -> None:
    receiver, store = aw.CallbackReceiver("https://hooks.example.com"), aw.MemoryStore()
    transport.submissions = [connection_lost(sent=True)]
    async with scripted_client(transport, store=store, callbacks=receiver) as client:
        with pytest.raises(aw.SubmissionInDoubt) as caught:
            await client.remove(LINK, key="mine")
        (deliver,) = registry_of(receiver)._expected.values()
        deliver(delivery(data={"nothing": 1}))
        deliver(delivery(data={"task_id": "task-1", "state": 1, "file": "https://x.example/a"}))
        await asyncio.sleep(1)
        record = await store.get("mine")
        assert record is not None
        assert record.snapshot.task_id == "task-1"
        assert caught.value.token is not None
        assert (await client.resume(caught.value.token)).url
    assert transport.submitted == 1


async def test_a_callback_at_another_process_of_the_same_store_is_known_there_and_settles_a_doubt(
    transport: ScriptedTransport,
) -> None:
    store = aw.MemoryStore()
    mine, other = aw.CallbackReceiver("https://hooks.example.com"), aw.CallbackReceiver("https://hooks.example.com")
    transport.submissions = [connection_lost(sent=True)]
    async with (
        scripted_client(transport, store=store, callbacks=mine) as client,
        scripted_client(transport, store=store, callbacks=other),
    ):
        urls: list[str] = []
        create_url = registry_of(mine).create_url

        def recorded_create_url(store_secret: bytes | None = None) -> tuple[str, str]:
            url, key_hash = create_url(store_secret)
            urls.append(url)
            return url, key_hash

        registry_of(mine).create_url = recorded_create_url  # type: ignore[method-assign]
        with pytest.raises(aw.SubmissionInDoubt):
            await client.submit(LINK, key="mine")
        key = urls[0].rsplit("/", 1)[1]
        assert (
            await other.receive(key, delivery(data={"task_id": "task-1", "state": 1, "file": "https://x.example/a"}))
            == 200
        )
        assert await other.receive("x" * 32, delivery(data={"task_id": "task-1"})) == 404
        await asyncio.sleep(1)
        record = await store.get("mine")
        assert record is not None
        assert record.snapshot.task_id == "task-1"
    assert transport.submitted == 1


async def test_resubmit_submits_again_once_and_only_if_enabled(transport: ScriptedTransport) -> None:
    transport.submissions = [connection_lost(sent=True), json_response(status=200, data={"task_id": "task-1"})]
    async with scripted_client(transport, store=aw.MemoryStore(), resubmit=True) as client:
        assert (await client.remove(LINK)).url
        transport.submissions = [connection_lost(sent=True)]
        with pytest.raises(aw.SubmissionInDoubt):
            await client.remove(f"{LINK}?2")
    assert transport.submitted == 4


async def test_a_repeated_stream_pays_for_nothing_twice(transport: ScriptedTransport) -> None:
    store = aw.MemoryStore()
    for _ in range(2):
        async with scripted_client(transport, store=store) as client:
            items = [f"https://images.example/{n}.png" for n in range(5)]
            outcomes = [outcome async for outcome in client.stream(items, key=str)]
        assert all(isinstance(outcome, aw.Done) for outcome in outcomes)
    assert transport.submitted == 5
