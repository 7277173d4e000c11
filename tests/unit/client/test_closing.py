"""Closing ends what was begun, also when its caller is cancelled again and again, and says what is left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Self

import pytest

import aiowatermark as aw
from aiowatermark.testing import ScriptedTransport, json_response
from tests.support.images import make_image
from tests.support.picwish import ACCEPTED, FINISHED, LINK, PENDING, scripted_client
from tests.support.stores import get_record

VIRTUAL_CLOCK = True


class ClosableTransport(ScriptedTransport):
    """A scripted transport that notes whether it is open; downloads last until `arrived` is set."""

    def __init__(self) -> None:
        super().__init__([ACCEPTED], [PENDING])
        self.open = False
        self.arrived = asyncio.Event()

    async def __aenter__(self) -> Self:
        self.open = True
        return self

    async def __aexit__(self, *exc: object) -> None:
        await asyncio.sleep(0.1)
        self.open = False

    async def read(self, url: str, max_bytes: int | None, check: Any = None) -> bytes:
        assert self.open
        await self.arrived.wait()
        return make_image()


@pytest.fixture
async def transport() -> AsyncIterator[ClosableTransport]:
    """Accepts a job after three seconds; it never ends."""
    transport = ClosableTransport()
    transport.hold = asyncio.Event()
    asyncio.get_running_loop().call_later(3.0, transport.hold.set)
    yield transport
    assert not transport.open


async def submit_and_close(transport: ScriptedTransport, store: aw.JobStore) -> None:
    async with scripted_client(transport, store=store) as client:
        await client.remove(LINK, key="order-1")


async def cancel_once(work: Callable[[], Any]) -> None:
    async with asyncio.timeout(0.5):
        await work()


async def cancel_by_nested_timeouts(work: Callable[[], Any]) -> None:
    async with asyncio.timeout(1.5), asyncio.timeout(1.0), asyncio.timeout(0.5):
        await work()


async def cancel_in_every_step(work: Callable[[], Any]) -> None:
    """Cancel as a cancel scope does whose task does not end."""
    working = asyncio.create_task(work())
    await asyncio.sleep(0.5)
    for _ in range(200):
        working.cancel()
        await asyncio.sleep(0.01)
    await asyncio.wait([working])
    assert working.cancelled()
    raise TimeoutError


@pytest.mark.parametrize("cancel", [cancel_once, cancel_by_nested_timeouts, cancel_in_every_step])
async def test_however_it_is_cancelled_closing_waits_for_the_answer_to_a_paid_request(
    transport: ClosableTransport, caplog: pytest.LogCaptureFixture, cancel: Callable[[Any], Any]
) -> None:
    store = aw.MemoryStore()
    with pytest.raises(TimeoutError):
        await cancel(lambda: submit_and_close(transport, store))
    assert 3.0 <= asyncio.get_running_loop().time() < 4.0
    record = await get_record(store, "order-1")
    assert record.at_provider
    assert record.token in caplog.text
    assert transport.submitted == 1


async def test_a_timeout_that_passes_while_the_client_closes_takes_effect_afterwards(
    transport: ClosableTransport,
) -> None:
    client = scripted_client(transport)

    async def close_late() -> None:
        async with client:
            submitting = asyncio.create_task(client.submit(LINK))
            await asyncio.sleep(0.1)
        await asyncio.gather(submitting, return_exceptions=True)

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1.0):
            await close_late()
    assert asyncio.get_running_loop().time() >= 3.0
    assert not transport.open


async def test_a_loop_that_shuts_down_ends_the_waiting_and_does_the_rest(
    transport: ClosableTransport, caplog: pytest.LogCaptureFixture
) -> None:
    store, here = aw.MemoryStore(), asyncio.current_task()
    running = asyncio.create_task(submit_and_close(transport, store))
    await asyncio.sleep(0.5)
    running.cancel()  # the first Ctrl-C
    await asyncio.sleep(0.5)
    for task in asyncio.all_tasks() - {here}:
        task.cancel()  # the second one: asyncio.run() cancels every task, once
    with pytest.raises(asyncio.CancelledError):
        await running
    assert asyncio.get_running_loop().time() < 2.0
    assert not transport.open
    assert (await get_record(store, "order-1")).token in caplog.text


class FailingStep(aw.MemoryStore):
    async def __aexit__(self, *exc: object) -> None:
        raise OSError("the disk is gone")


async def test_a_step_of_closing_that_fails_does_not_keep_the_others_from_being_done(
    transport: ClosableTransport,
) -> None:
    client = scripted_client(transport, store=FailingStep())
    await client.__aenter__()
    with pytest.raises(OSError, match="disk"):
        await client.__aexit__(None, None, None)
    assert not transport.open
    with pytest.raises(aw.InvalidInput, match="closed"):
        await client.submit(LINK)


# results while the client closes


async def test_a_download_that_closing_ends_says_so(transport: ClosableTransport, tmp_path: Path) -> None:
    transport.queries = [FINISHED]
    async with scripted_client(transport) as client:
        result = await client.remove(LINK)
        reading = [asyncio.create_task(result.read()) for _ in range(3)]
        await asyncio.sleep(1)
    for outcome in await asyncio.gather(*reading, return_exceptions=True):
        assert isinstance(outcome, aw.TransferFailed)
        assert "closed" in str(outcome)
        assert outcome.key == result.key
    for late in (result.read(), result.save(tmp_path / "a.png")):
        with pytest.raises(aw.InvalidInput, match="closed"):
            await late


async def test_result_handlers_may_read_results_while_the_client_closes(transport: ClosableTransport) -> None:
    receiver = aw.CallbackReceiver("https://hooks.example")
    transport.queries = [FINISHED]
    outcomes: list[Any] = []

    @receiver.on_result
    async def read(result: aw.Result) -> None:
        await asyncio.sleep(1)
        outcomes.append(await result.read())

    asyncio.get_running_loop().call_later(5.0, transport.arrived.set)
    async with scripted_client(transport, callbacks=receiver, polling=aw.Polling(0.1)) as client:
        await client.remove(LINK)
    assert outcomes == [make_image()]


async def test_a_result_handler_that_takes_longer_than_half_a_minute_is_told(transport: ClosableTransport) -> None:
    receiver = aw.CallbackReceiver("https://hooks.example")
    transport.queries = [FINISHED]
    outcomes: list[Any] = []

    @receiver.on_result
    async def read(result: aw.Result) -> None:
        try:
            await result.read()
        except aw.WatermarkError as error:
            outcomes.append(error)

    async with scripted_client(transport, callbacks=receiver, drain=2.0, polling=aw.Polling(0.1)) as client:
        await client.remove(LINK)
        began = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - began <= 31.0
    (error,) = outcomes
    assert isinstance(error, aw.TransferFailed)


async def test_closing_with_many_paid_requests_without_answers_takes_no_longer_than_the_drain(
    transport: ClosableTransport,
) -> None:
    transport.hold = asyncio.Event()
    store = aw.MemoryStore()
    async with scripted_client(transport, store=store, limits=aw.Limits(submissions=16), drain=4.0) as client:
        waiting = [asyncio.create_task(client.remove(f"{LINK}?{number}")) for number in range(1000)]
        await asyncio.sleep(1)
        began = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - began <= 5.0
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert transport.submitted == 16
    assert len([record async for record in store.unfinished()]) == 16
    assert all(isinstance(outcome, aw.WatermarkError) for outcome in outcomes)
    assert sum(outcome.token is not None for outcome in outcomes if isinstance(outcome, aw.WatermarkError)) == 16


@pytest.mark.parametrize("drain", [-1, float("nan"), "5", None, True])
def test_a_drain_that_is_no_time_is_refused(drain: Any) -> None:
    with pytest.raises(aw.InvalidInput, match="drain"):
        scripted_client(ScriptedTransport([json_response()]), drain=drain)
