"""Jobs that end by callback: the provider's word counts, and a job ends whatever becomes of its callback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

import aiowatermark as aw
from aiowatermark.callbacks.receiver import hash_key
from aiowatermark.emulator import CallbackScript, Emulator, Fault

Picture = Callable[..., bytes]


@pytest.fixture
async def server() -> AsyncIterator[aw.CallbackServer]:
    """A receiver whose public URL is the server's own address."""
    receiver = aw.CallbackReceiver("http://127.0.0.1:1/wm")
    async with aw.CallbackServer(receiver, port=0) as running:
        receiver.public_url = f"http://127.0.0.1:{running.port}/wm"
        yield running


def client(emulator: Emulator, server: aw.CallbackServer, name: str = "gptge", **settings: Any) -> aw.Client:
    return aw.Client(emulator.provider(name), callbacks=server.receiver, **settings)


@pytest.mark.parametrize("name", ["gptge", "picwish"])
async def test_a_job_ends_by_its_callback_with_one_query(
    emulator: Emulator, server: aw.CallbackServer, picture: Picture, name: str
) -> None:
    async with client(emulator, server, name) as running:
        result = await running.remove(picture(), deadline=20)
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
async def test_a_callback_may_come_early_often_and_in_any_shape(
    emulator: Emulator, server: aw.CallbackServer, picture: Picture, script: CallbackScript
) -> None:
    emulator.script(script)
    polling = aw.Polling(first=1.5, factor=1, ceiling=1.5)
    async with client(emulator, server, polling=polling) as running:
        result = await running.remove(picture(), deadline=20)
    assert result.url
    assert emulator.charged["gptge"] == 1
    assert emulator.tasks[0].queries <= 2


async def test_a_lost_callback_costs_one_interval(
    emulator: Emulator, server: aw.CallbackServer, picture: Picture
) -> None:
    emulator.script(CallbackScript(lost=True))
    async with client(emulator, server, polling=aw.Polling(first=0.2, factor=1, ceiling=1)) as running:
        assert (await running.remove(picture(), deadline=20)).url
    assert emulator.tasks[0].queries == 1
    assert server.receiver.counts["received"] == 0


async def test_reordered_callbacks_end_their_own_jobs(
    emulator: Emulator, server: aw.CallbackServer, picture: Picture
) -> None:
    emulator.script(CallbackScript(reordered=True), times=4)
    async with client(emulator, server) as running:
        results = await asyncio.gather(*(running.remove(picture(padding=n), deadline=20) for n in range(4)))
        contents = [await result.read() for result in results]
    assert contents == [picture(padding=n) for n in range(4)]


async def test_ten_thousand_forged_deliveries_to_a_real_key_change_nothing_and_cost_few_queries(
    server: aw.CallbackServer, picture: Picture
) -> None:
    async with Emulator(restore=False, processing=0.5, callbacks=CallbackScript(lost=True)) as emulator:
        provider = emulator.provider("gptge")
        keys: list[str] = []
        mint = server.receiver.create_url

        def noted() -> tuple[str, str]:
            url, callback = mint()
            keys.append(url.rsplit("/", 1)[1])
            return url, callback

        server.receiver.create_url = noted  # type: ignore[method-assign]
        polling = aw.Polling(first=1.2, factor=1, ceiling=1.2)
        async with aw.Client(provider, callbacks=server.receiver, polling=polling) as running:
            handle = await running.submit(picture(), deadline=20)
            forged = b'{"status":200,"data":{"task_id":"x","state":1,"file":"https://evil.example/x"}}'
            for _ in range(10_000):
                assert await server.receiver.receive(keys[0], aw.Delivery(forged, "application/json")) == 200
            result = await handle
        assert result.url is not None
        assert "evil" not in result.url
        assert emulator.tasks[0].queries <= 4


async def test_a_believed_callback_needs_no_query_and_must_name_the_task(emulator: Emulator, picture: Picture) -> None:
    receiver = aw.CallbackReceiver("http://127.0.0.1:1/wm", verify=False)
    emulator.inject(Fault.status(500), step="query", times=None)
    async with aw.CallbackServer(receiver, port=0) as server:
        receiver.public_url = f"http://127.0.0.1:{server.port}"
        async with client(emulator, server) as running:
            result = await running.remove(picture(), deadline=20)
            emulator.script(CallbackScript(lost=True))
            handle = await running.submit(picture(), deadline=0.5)
            callback = handle.record.callback
            assert callback is not None
            handle.on_delivery(aw.Delivery(b'{"data":{"task_id":"another","state":1,"file":"https://evil.example/x"}}'))
            with pytest.raises(aw.DeadlineExceeded):
                await handle
    assert result.url


async def test_deliveries_after_the_end_and_to_unknown_keys_are_answered_and_counted(
    emulator: Emulator, server: aw.CallbackServer, picture: Picture
) -> None:
    emulator.script(CallbackScript(copies=3, delay=0.0))
    async with client(emulator, server) as running:
        await running.remove(picture(), deadline=20)
        assert await server.receiver.receive("x" * 32, aw.Delivery(b"")) == 404
        await _settled(emulator, 3)
    counts = server.receiver.counts
    assert counts["expected"] + counts["late"] == 3
    assert counts["unknown"] == 1


async def _settled(emulator: Emulator, attempts: int) -> None:
    async with asyncio.timeout(5):
        while len(emulator.deliveries) < attempts:  # noqa: ASYNC110 - the emulator tells nobody
            await asyncio.sleep(0.01)


async def test_a_provider_that_does_not_call_back_is_polled_without_a_word(
    emulator: Emulator, server: aw.CallbackServer, picture: Picture
) -> None:
    async with client(emulator, server, "kaze") as running:
        assert (await running.remove(picture(), deadline=20)).url
    assert server.receiver.counts["received"] == 0


async def test_only_the_hash_of_a_key_is_kept(server: aw.CallbackServer) -> None:
    url, callback = server.receiver.create_url()
    key = url.rsplit("/", 1)[1]
    assert len(key) == 32
    server.receiver.expect(callback, lambda _: None)
    assert hash_key(key) == callback
    assert key not in repr(vars(server.receiver))


async def test_handlers_run_after_the_answer_and_what_they_raise_is_logged(
    emulator: Emulator, picture: Picture, caplog: pytest.LogCaptureFixture
) -> None:
    receiver = aw.CallbackReceiver("http://127.0.0.1:1/wm")
    seen: list[tuple[str, aw.Status]] = []

    @receiver.on_result
    async def keep(result: aw.Result) -> None:
        await asyncio.sleep(0.05)
        seen.append((result.key, result.snapshot.status))
        raise RuntimeError("the database is gone")

    emulator.inject(Fault.failed(state=-7), step="submit")
    async with aw.CallbackServer(receiver, port=0) as server:
        receiver.public_url = f"http://127.0.0.1:{server.port}"
        async with client(emulator, server) as running:
            with pytest.raises(aw.JobFailed):
                await running.remove(picture(), key="bad", deadline=20)
            await running.remove(picture(), key="good", deadline=20)
    assert sorted(seen) == [("bad", aw.Status.FAILED), ("good", aw.Status.SUCCEEDED)]
    assert caplog.text.count("RuntimeError: the database is gone") == 2


async def test_listeners_get_every_jobs_last_snapshot_and_end_with_the_server(
    emulator: Emulator, picture: Picture
) -> None:
    receiver = aw.CallbackReceiver("http://127.0.0.1:1/wm")

    async def listen() -> list[str | None]:
        return [snapshot.key async for snapshot in receiver.deliveries()]

    async with aw.CallbackServer(receiver, port=0) as server:
        receiver.public_url = f"http://127.0.0.1:{server.port}"
        listener = asyncio.create_task(listen())
        await asyncio.sleep(0)
        async with client(emulator, server) as running:
            await asyncio.gather(*(running.remove(picture(), key=f"k{n}", deadline=20) for n in range(3)))
    assert sorted(key or "" for key in await listener) == ["k0", "k1", "k2"]


async def test_a_provider_that_takes_only_links_is_lent_the_file(
    emulator: Emulator, server: aw.CallbackServer, picture: Picture, tmp_path: Any
) -> None:
    photos = [picture(300, 300, padding=400_000), picture(300, 300)]
    paths = [tmp_path / f"photo {n}.jpg" for n in range(2)]
    for path, data in zip(paths, photos, strict=True):
        path.write_bytes(data)
    async with client(emulator, server, "photoeraser") as running:
        result = await running.remove(paths, mask=picture(300, 300), deadline=20)
        assert [await result.read(index=n) for n in range(2)] == photos
        assert server.receiver._lent == {}


async def test_the_usual_case_needs_about_one_query_a_job(
    emulator: Emulator, server: aw.CallbackServer, picture: Picture
) -> None:
    async with client(emulator, server) as running:
        await asyncio.gather(*(running.remove(picture(), deadline=30) for _ in range(200)))
    assert sum(task.queries for task in emulator.tasks) <= 1.05 * 200
    assert emulator.charged["gptge"] == 200
