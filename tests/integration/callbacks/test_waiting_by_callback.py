"""Jobs that wait for callbacks: a query decides, and a lost or forged callback does not keep a job from ending."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import aiowatermark as aw
from aiowatermark.callbacks.keys import hash_key
from aiowatermark.callbacks.registry import registry_of
from aiowatermark.emulator import CallbackScript, Emulator, Fault
from tests.support.callback_server import serve_callbacks
from tests.support.images import make_jpeg, make_mask
from tests.support.waiting import wait_until


@pytest.fixture
async def server() -> AsyncIterator[aw.CallbackServer]:
    """A server whose receiver has the server's own address as its public URL."""
    async with serve_callbacks() as running:
        yield running


def create_client(emulator: Emulator, server: aw.CallbackServer, name: str = "gptge", **settings: Any) -> aw.Client:
    return aw.Client(emulator.provider(name), callbacks=server.receiver, **settings)


@pytest.mark.parametrize("name", ["gptge", "picwish"])
async def test_a_callback_ends_its_job_with_one_query(emulator: Emulator, server: aw.CallbackServer, name: str) -> None:
    async with create_client(emulator, server, name) as client:
        result = await client.remove(make_jpeg(), deadline=20)
    (task,) = emulator.tasks
    assert result.url
    assert task.queries == 1
    assert server.receiver.counts["expected"] == 1


@pytest.mark.parametrize(
    "script",
    [
        CallbackScript(early=True),
        CallbackScript(copies=5),
        CallbackScript(encoding="bare"),
        CallbackScript(encoding="form"),
        CallbackScript(delay=0.1),
        CallbackScript(half=True, copies=2),
    ],
)
async def test_callbacks_may_arrive_early_repeatedly_and_in_any_encoding(
    emulator: Emulator, server: aw.CallbackServer, script: CallbackScript
) -> None:
    emulator.script(script)
    polling = aw.Polling(first=1.5, factor=1, ceiling=1.5)
    async with create_client(emulator, server, polling=polling) as client:
        result = await client.remove(make_jpeg(), deadline=20)
    assert result.url
    assert emulator.charged["gptge"] == 1
    assert emulator.tasks[0].queries <= 2


async def test_a_lost_callback_costs_one_polling_interval(emulator: Emulator, server: aw.CallbackServer) -> None:
    emulator.script(CallbackScript(lost=True))
    async with create_client(emulator, server, polling=aw.Polling(first=0.2, factor=1, ceiling=1)) as client:
        assert (await client.remove(make_jpeg(), deadline=20)).url
    assert emulator.tasks[0].queries == 1
    assert server.receiver.counts["received"] == 0


async def test_reordered_callbacks_end_their_own_jobs(emulator: Emulator, server: aw.CallbackServer) -> None:
    emulator.script(CallbackScript(reordered=True), times=4)
    async with create_client(emulator, server) as client:
        results = await asyncio.gather(*(client.remove(make_jpeg(padding=n), deadline=20) for n in range(4)))
        contents = [await result.read() for result in results]
    assert contents == [make_jpeg(padding=n) for n in range(4)]


async def test_ten_thousand_forged_deliveries_to_a_valid_key_cost_few_queries_and_change_nothing(
    server: aw.CallbackServer,
) -> None:
    async with Emulator(restore=False, processing=0.5, callbacks=CallbackScript(lost=True)) as emulator:
        provider = emulator.provider("gptge")
        keys: list[str] = []
        create_url = registry_of(server.receiver).create_url

        def recording_create_url(store_secret: bytes | None = None) -> tuple[str, str]:
            url, key_hash = create_url(store_secret)
            keys.append(url.rsplit("/", 1)[1])
            return url, key_hash

        registry_of(server.receiver).create_url = recording_create_url  # type: ignore[method-assign]
        polling = aw.Polling(first=1.2, factor=1, ceiling=1.2)
        async with aw.Client(provider, callbacks=server.receiver, polling=polling) as client:
            handle = await client.submit(make_jpeg(), deadline=20)
            forged = b'{"status":200,"data":{"task_id":"x","state":1,"file":"https://evil.example/x"}}'
            for _ in range(10_000):
                assert await server.receiver.receive(keys[0], aw.Delivery(forged, "application/json")) == 200
            result = await handle
        assert result.url is not None
        assert "evil" not in result.url
        assert emulator.tasks[0].queries <= 4


async def test_a_trusted_callback_needs_no_query_and_must_name_the_task(emulator: Emulator) -> None:
    receiver = aw.CallbackReceiver("http://127.0.0.1:1/wm", verify=False)
    emulator.inject(Fault.status(500), step="query", times=None)
    async with serve_callbacks(receiver) as server, create_client(emulator, server) as client:
        result = await client.remove(make_jpeg(), deadline=20)
        emulator.script(CallbackScript(lost=True))
        handle = await client.submit(make_jpeg(), deadline=0.5)
        callback = handle._job.record.callback
        assert callback is not None
        handle._job.on_delivery(
            aw.Delivery(b'{"data":{"task_id":"another","state":1,"file":"https://evil.example/x"}}')
        )
        with pytest.raises(aw.DeadlineExceeded):
            await handle
    assert result.url


async def test_a_job_that_a_trusted_callback_ended_is_finished_in_the_store(emulator: Emulator) -> None:
    store = aw.MemoryStore()
    receiver = aw.CallbackReceiver("http://127.0.0.1:1/wm", verify=False)
    emulator.inject(Fault.status(500), step="query", times=None)
    async with serve_callbacks(receiver) as server:
        async with create_client(emulator, server, store=store) as client:
            await client.remove(make_jpeg(), key="order-1", deadline=20)
        record = await store.get("order-1")
        assert record is not None
        assert record.snapshot.status is aw.Status.SUCCEEDED
        async with create_client(emulator, server, store=store) as client:
            assert (await client.recover()).resumed == []


async def test_deliveries_after_the_end_and_to_unknown_keys_are_answered_and_counted(
    emulator: Emulator, server: aw.CallbackServer
) -> None:
    emulator.script(CallbackScript(copies=3, delay=0.0))
    async with create_client(emulator, server) as client:
        await client.remove(make_jpeg(), deadline=20)
        assert await server.receiver.receive("x" * 32, aw.Delivery(b"")) == 404
        await wait_until(lambda: len(emulator.deliveries) >= 3)
    counts = server.receiver.counts
    assert counts["expected"] + counts["late"] == 3
    assert counts["unknown"] == 1


async def test_a_provider_without_callbacks_is_polled(emulator: Emulator, server: aw.CallbackServer) -> None:
    async with create_client(emulator, server, "kaze") as client:
        assert (await client.remove(make_jpeg(), deadline=20)).url
    assert server.receiver.counts["received"] == 0


async def test_the_receiver_stores_only_the_hash_of_a_key(server: aw.CallbackServer) -> None:
    url, key_hash = registry_of(server.receiver).create_url()
    key = url.rsplit("/", 1)[1]
    assert len(key) == 32
    registry_of(server.receiver).expect(key_hash, lambda _: None)
    assert hash_key(key) == key_hash
    assert key not in repr(vars(server.receiver))


async def test_handlers_run_in_the_background_and_what_they_raise_is_logged(
    emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    receiver = aw.CallbackReceiver("http://127.0.0.1:1/wm")
    handled: list[tuple[str, aw.Status]] = []

    @receiver.on_result
    async def handle_result(result: aw.Result) -> None:
        await asyncio.sleep(0.05)
        handled.append((result.key, result.snapshot.status))
        raise RuntimeError("the database is down")

    emulator.inject(Fault.failed(state=-7), step="submit")
    async with serve_callbacks(receiver) as server, create_client(emulator, server) as client:
        with pytest.raises(aw.JobFailed):
            await client.remove(make_jpeg(), key="bad", deadline=20)
        await client.remove(make_jpeg(), key="good", deadline=20)
    assert sorted(handled) == [("bad", aw.Status.FAILED), ("good", aw.Status.SUCCEEDED)]
    assert caplog.text.count("RuntimeError: the database is down") == 2


async def test_subscribers_get_every_jobs_final_snapshot_and_end_with_the_server(emulator: Emulator) -> None:
    receiver = aw.CallbackReceiver("http://127.0.0.1:1/wm")

    async def collect_keys() -> list[str | None]:
        return [snapshot.key async for snapshot in receiver.deliveries()]

    async with serve_callbacks(receiver) as server:
        subscriber = asyncio.create_task(collect_keys())
        await asyncio.sleep(0)
        async with create_client(emulator, server) as client:
            await asyncio.gather(*(client.remove(make_jpeg(), key=f"k{n}", deadline=20) for n in range(3)))
    assert sorted(key or "" for key in await subscriber) == ["k0", "k1", "k2"]


async def test_a_file_is_served_to_a_provider_that_accepts_links_only(
    emulator: Emulator, server: aw.CallbackServer, tmp_path: Path
) -> None:
    photos = [make_jpeg(300, 300, padding=400_000), make_jpeg(300, 300)]
    paths = (tmp_path / "photo 0.jpg", tmp_path / "photo 1.jpg")
    for path, data in zip(paths, photos, strict=True):
        path.write_bytes(data)
    async with create_client(emulator, server, "photoeraser") as client:
        result = await client.remove(paths, mask=make_mask(300, 300), deadline=20)
        assert [await result.read(index=n) for n in range(2)] == photos
        assert registry_of(server.receiver)._served == {}


async def test_two_hundred_jobs_with_callbacks_need_about_one_query_each(
    emulator: Emulator, server: aw.CallbackServer
) -> None:
    async with create_client(emulator, server) as client:
        await asyncio.gather(*(client.remove(make_jpeg(), deadline=30) for _ in range(200)))
    assert sum(task.queries for task in emulator.tasks) <= 1.05 * 200
    assert emulator.charged["gptge"] == 200
