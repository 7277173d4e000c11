"""A result waits until somebody took it: recover() lists it, or calls the handlers, until it is acknowledged."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

import aiowatermark as aw
from aiowatermark.jobs import Output, Record, Snapshot, Status
from aiowatermark.media.memory import Bytes
from aiowatermark.testing import ScriptedTransport, json_response
from tests.support.picwish import ACCEPTED, FINISHED, LINK, PENDING, scripted_client
from tests.support.stores import list_keys

VIRTUAL_CLOCK = True
FAILED = json_response(status=200, data={"task_id": "task-1", "state": -1})


class Downloading(ScriptedTransport):
    """A transport whose downloads succeed."""

    async def download(
        self, url: str, target: Path, max_bytes: int | None, progress: Any = None, check: Any = None
    ) -> Path:
        target.write_bytes(b"image")
        return target

    async def read(self, url: str, max_bytes: int | None, check: Any = None) -> bytes:
        return b"image"


@pytest.fixture
def transport() -> Downloading:
    """A transport whose jobs succeed at the first query."""
    return Downloading([ACCEPTED], [FINISHED])


async def keys_recovered(transport: ScriptedTransport, store: aw.MemoryStore) -> list[str]:
    """The keys of the results that the next client is given again."""
    async with scripted_client(transport, store=store) as client:
        return [result.key for result in (await client.recover()).finished]


async def save(result: aw.Result, folder: Path) -> None:
    await result.save(folder / "clean.png")


async def read(result: aw.Result, _: Path) -> None:
    await result.read()


async def acknowledge(result: aw.Result, _: Path) -> None:
    result.acknowledge()


async def await_acknowledgement(result: aw.Result, _: Path) -> None:
    await result.acknowledge()


@pytest.mark.parametrize("take", [save, read, acknowledge, await_acknowledgement])
async def test_a_result_that_was_taken_is_not_given_again(
    transport: Downloading, take: Callable[[aw.Result, Path], Awaitable[None]], tmp_path: Path
) -> None:
    store = aw.MemoryStore()
    async with scripted_client(transport, store=store) as client:
        await take(await client.remove(LINK, key="order-1"), tmp_path)
    assert await keys_recovered(transport, store) == []
    assert await list_keys(store.unacknowledged()) == []


async def test_a_result_that_nobody_took_is_listed_by_recover_until_somebody_takes_it(transport: Downloading) -> None:
    store = aw.MemoryStore()
    async with scripted_client(transport, store=store) as client:
        await client.remove(LINK, key="order-1")
    assert await keys_recovered(transport, store) == ["order-1"]
    async with scripted_client(transport, store=store) as client:
        (result,) = (await client.recover()).finished
        assert await result.read() == b"image"
    assert await keys_recovered(transport, store) == []
    assert transport.submitted == 1


async def test_with_manual_acknowledgement_only_acknowledge_counts(transport: Downloading, tmp_path: Path) -> None:
    store = aw.MemoryStore()
    async with scripted_client(transport, store=store, acknowledge="manual") as client:
        result = await client.remove(LINK, key="order-1")
        await result.read()
        await result.save(tmp_path / "clean.png")
    assert await keys_recovered(transport, store) == ["order-1"]
    async with scripted_client(transport, store=store, acknowledge="manual") as client:
        (await client.recover()).finished[0].acknowledge()
    assert await keys_recovered(transport, store) == []


@pytest.mark.parametrize("value", ["never", True, None])
async def test_another_kind_of_acknowledgement_is_invalid_input(transport: Downloading, value: Any) -> None:
    with pytest.raises(aw.InvalidInput, match="manual"):
        scripted_client(transport, acknowledge=value)


async def test_of_several_outputs_all_that_succeeded_have_to_be_taken(transport: Downloading) -> None:
    store = aw.MemoryStore()
    outputs = (Output(Bytes(b"a")), Output(error=aw.JobFailed("no")), Output(Bytes(b"b")))
    record = Record("order-1", "picwish", Snapshot("task-1", Status.SUCCEEDED, outputs=outputs))
    await store.put(record)
    async with scripted_client(transport, store=store) as client:
        (result,) = (await client.recover()).finished
        await result.read(index=0)
        await result.read(index=0)
        assert await list_keys(store.unacknowledged()) == ["order-1"]
        await result.read(index=2)
    assert await list_keys(store.unacknowledged()) == []


async def raise_from_remove(client: aw.Client) -> None:
    with pytest.raises(aw.JobFailed):
        await client.remove(LINK, key="order-1")


async def raise_from_handle(client: aw.Client) -> None:
    handle = await client.submit(LINK, key="order-1")
    with pytest.raises(aw.JobFailed):
        await handle


async def fail_in_stream(client: aw.Client) -> None:
    outcomes = [outcome async for outcome in client.stream([LINK], key=lambda _: "order-1")]
    assert isinstance(outcomes[0], aw.Failed)


@pytest.mark.parametrize("fail", [raise_from_remove, raise_from_handle, fail_in_stream])
async def test_a_failure_that_reached_somebody_is_not_given_again(
    transport: Downloading, fail: Callable[[aw.Client], Awaitable[None]]
) -> None:
    store = aw.MemoryStore()
    transport.queries = [FAILED]
    async with scripted_client(transport, store=store) as client:
        await fail(client)
    assert await keys_recovered(transport, store) == []


async def test_a_failure_that_nobody_awaited_is_listed_by_recover(transport: Downloading) -> None:
    store = aw.MemoryStore()
    transport.queries = [FAILED]
    async with scripted_client(transport, store=store) as client:
        await client.submit(LINK, key="order-1")
        await asyncio.sleep(30)
    async with scripted_client(transport, store=store) as client:
        (result,) = (await client.recover()).finished
        assert result.snapshot.status is Status.FAILED


async def test_a_store_that_cannot_note_it_gives_the_result_again(transport: Downloading) -> None:
    class Full(aw.MemoryStore):
        async def acknowledge(self, records: Any) -> None:
            raise aw.StoreError("the disk is full")

    store = Full()
    async with scripted_client(transport, store=store) as client:
        result = await client.remove(LINK, key="order-1")
        await result.acknowledge()
    assert await keys_recovered(transport, store) == ["order-1"]


# handlers


async def test_a_handler_that_returns_acknowledges_and_is_called_again_after_a_crash_if_it_did_not(
    transport: Downloading,
) -> None:
    store, calls = aw.MemoryStore(), list[str]()
    receiver = aw.CallbackReceiver("https://hooks.example")
    async with scripted_client(transport, store=store) as client:  # a process without handlers, which dies
        await client.remove(LINK, key="order-1")
    receiver.on_result(_note_key(calls))
    for _ in range(2):
        async with scripted_client(transport, store=store, callbacks=receiver) as client:
            assert (await client.recover()).finished == []
            await asyncio.sleep(1)
    assert calls == ["order-1"]


def _note_key(calls: list[str]) -> Callable[[aw.Result], Awaitable[None]]:
    async def handle(result: aw.Result) -> None:
        calls.append(result.key)

    return handle


# who is asked


async def test_recover_leaves_the_jobs_of_living_clients_to_them(transport: Downloading) -> None:
    store = aw.MemoryStore()
    transport.queries = [PENDING]
    async with scripted_client(transport, store=store) as alive, scripted_client(transport, store=store) as other:
        await alive.submit(LINK, key="order-1")
        recovery = await other.recover()
        assert ([record.key for record in recovery.held], recovery.resumed) == (["order-1"], [])
        assert (await alive.recover()).held == []
    async with scripted_client(transport, store=store) as client:
        assert [handle.key for handle in (await client.recover()).resumed] == ["order-1"]


async def test_of_two_clients_that_recover_at_once_one_watches_a_job(transport: Downloading) -> None:
    store = aw.MemoryStore()
    transport.queries = [PENDING]
    async with scripted_client(transport, store=store) as client:
        for number in range(20):
            await client.submit(f"{LINK}?{number}", key=f"order-{number}")
    async with scripted_client(transport, store=store) as first, scripted_client(transport, store=store) as second:
        one, two = await asyncio.gather(first.recover(), second.recover())
        keys = [handle.key for handle in one.resumed + two.resumed]
        assert sorted(keys) == sorted(f"order-{number}" for number in range(20))


class Handler:
    """A result handler that raises `failures` times, and notes the keys it was called with."""

    def __init__(self, failures: int, seconds: float = 0.0) -> None:
        self.failures, self.seconds = failures, seconds
        self.calls: list[str] = []

    async def __call__(self, result: aw.Result) -> None:
        self.calls.append(result.key)
        await asyncio.sleep(self.seconds)
        self.failures -= 1
        if self.failures >= 0:
            raise RuntimeError("the database of the user is away")


async def remove_with_handlers(
    transport: ScriptedTransport, store: aw.MemoryStore, *handlers: Handler, seconds: float = 0.0, **settings: Any
) -> None:
    receiver = aw.CallbackReceiver("https://hooks.example")
    for handler in handlers:
        receiver.on_result(handler)
    async with scripted_client(transport, store=store, callbacks=receiver, **settings) as client:
        await client.remove(LINK, key="order-1")
        await asyncio.sleep(seconds)


async def test_a_handler_that_raises_is_called_again_three_times(transport: Downloading) -> None:
    store, handler = aw.MemoryStore(), Handler(failures=3)
    await remove_with_handlers(transport, store, handler, seconds=30.0)
    assert handler.calls == ["order-1"] * 4
    assert await keys_recovered(transport, store) == []


async def test_a_handler_that_raised_is_not_called_again_while_its_client_closes(transport: Downloading) -> None:
    store, handler = aw.MemoryStore(), Handler(failures=1)
    await remove_with_handlers(transport, store, handler, seconds=0.5)
    assert handler.calls == ["order-1"]
    assert await keys_recovered(transport, store) == ["order-1"]


async def test_a_result_that_a_handler_could_not_handle_is_listed(transport: Downloading) -> None:
    store, handler = aw.MemoryStore(), Handler(failures=100)
    await remove_with_handlers(transport, store, handler, seconds=30.0)
    assert len(handler.calls) == 4
    receiver = aw.CallbackReceiver("https://hooks.example")
    receiver.on_result(handler)
    async with scripted_client(transport, store=store, callbacks=receiver) as client:
        recovery = await client.recover()
        assert recovery.finished == []
        await asyncio.sleep(30)
        assert [result.key for result in recovery.finished] == ["order-1"]


async def test_of_several_handlers_all_have_to_return(transport: Downloading) -> None:
    store = aw.MemoryStore()
    await remove_with_handlers(transport, store, Handler(failures=0), Handler(failures=100))
    assert await keys_recovered(transport, store) == ["order-1"]


async def test_with_manual_acknowledgement_a_handler_that_returns_does_not_acknowledge(transport: Downloading) -> None:
    store = aw.MemoryStore()
    await remove_with_handlers(transport, store, Handler(failures=0), acknowledge="manual")
    assert await keys_recovered(transport, store) == ["order-1"]


async def test_closing_waits_half_a_minute_for_a_handler_whatever_the_drain_of_the_client(
    transport: Downloading,
) -> None:
    store, handler = aw.MemoryStore(), Handler(failures=0, seconds=25.0)
    await remove_with_handlers(transport, store, handler, drain=0.0)
    assert await keys_recovered(transport, store) == []


async def test_the_last_client_to_close_ends_the_streams_of_deliveries(transport: Downloading) -> None:
    receiver = aw.CallbackReceiver("https://hooks.example")

    async def collect() -> list[str | None]:
        return [snapshot.key async for snapshot in receiver.deliveries()]

    async with scripted_client(transport, callbacks=receiver) as first:
        collecting = asyncio.create_task(collect())
        async with scripted_client(transport, callbacks=receiver) as second:
            await second.remove(LINK, key="order-1")
        await first.remove(LINK, key="order-2")
    assert await collecting == ["order-1", "order-2"]


async def test_a_doubt_that_a_callback_settles_is_announced_like_any_other_job(transport: Downloading) -> None:
    from aiowatermark.callbacks.registry import registry_of
    from aiowatermark.testing import connection_lost

    receiver, handler = aw.CallbackReceiver("https://hooks.example"), Handler(failures=0)
    receiver.on_result(handler)
    store = aw.MemoryStore()
    transport.submissions = [connection_lost(sent=True)]
    async with scripted_client(transport, store=store, callbacks=receiver) as client:
        with pytest.raises(aw.SubmissionInDoubt):
            await client.submit(LINK, key="order-1")
        (deliver,) = registry_of(receiver)._expected.values()
        deliver(aw.Delivery(b'{"data": {"task_id": "task-1", "state": 1, "file": "https://x.example/a"}}'))
        await asyncio.sleep(60)
        assert handler.calls == ["order-1"]
    assert await keys_recovered(transport, store) == []
    assert transport.submitted == 1


async def test_a_failure_that_recover_gives_is_told_by_save_and_then_taken(tmp_path: Path) -> None:
    store = aw.MemoryStore()
    failed = Snapshot("task-1", Status.FAILED, reason="the image is too large")
    record = Record("order-1", "picwish", Snapshot("task-1", Status.RUNNING), epoch=1)
    await store.open(record)
    await store.put(record.advance(failed))
    async with scripted_client(ScriptedTransport(), store=store) as client:
        (result,) = (await client.recover()).finished
        with pytest.raises(aw.JobFailed, match="the image is too large"):
            await result.save(tmp_path / "clean.jpg")
    async with scripted_client(ScriptedTransport(), store=store) as client:
        assert (await client.recover()).finished == []
