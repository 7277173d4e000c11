"""A stream delivers what was paid for, ends with its source, and stops paying when it is left."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

import aiowatermark as aw
from aiowatermark.testing import ScriptedTransport, connection_lost, json_response
from tests.support.picwish import ACCEPTED, LINK, PENDING, scripted_client

VIRTUAL_CLOCK = True


def links(count: int) -> list[str]:
    return [f"{LINK}?{number}" for number in range(count)]


def limits(submissions: int) -> aw.Limits:
    return aw.Limits(submissions=submissions)


async def read_all(stream: AsyncIterator[aw.Outcome], outcomes: list[aw.Outcome]) -> None:
    async for outcome in stream:
        outcomes.append(outcome)  # noqa: PERF401 - outcomes before an error are kept


def hold_all_but_first(transport: ScriptedTransport) -> asyncio.Event:
    """Let the answer to each paid request but the first wait for the returned event."""
    hold = asyncio.Event()

    def first() -> Any:
        transport.hold = None
        return ACCEPTED

    def further() -> Any:
        transport.hold = hold
        return ACCEPTED

    transport.submissions = [first, further]
    return hold


async def leave_by_break(stream: Any) -> None:
    async for _ in stream:
        break
    await stream.aclose()


async def leave_by_error(stream: Any) -> None:
    async def consume() -> None:
        async with aclosing(stream):
            async for _ in stream:
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await consume()


async def leave_by_cancellation(stream: Any) -> None:
    async def consume() -> None:
        async with aclosing(stream):
            async for _ in stream:
                await asyncio.sleep(0)

    consumer = asyncio.create_task(consume())
    await asyncio.sleep(3)
    consumer.cancel()
    await asyncio.gather(consumer, return_exceptions=True)


async def leave_by_cancellation_again_and_again(stream: Any) -> None:
    consumer = asyncio.create_task(read_all(stream, []))
    await asyncio.sleep(3)
    while not consumer.done():
        consumer.cancel()
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    "leave", [leave_by_break, leave_by_error, leave_by_cancellation, leave_by_cancellation_again_and_again]
)
async def test_a_stream_that_is_left_pays_for_nothing_more(
    transport: ScriptedTransport, leave: Callable[[Any], Any]
) -> None:
    hold = hold_all_but_first(transport)
    store = aw.MemoryStore()
    async with scripted_client(transport, limits=limits(4), store=store) as client:
        await leave(client.stream(links(300), key=str))
        paid = transport.submitted
        assert 1 <= paid <= 6
        hold.set()
        await asyncio.sleep(100)
        assert transport.submitted == paid
        unfinished = [record async for record in store.unfinished()]
    assert not unfinished  # those that were paid went on; the keys of the others are free
    assert [await store.get(link) is not None for link in links(300)].count(True) == paid


async def test_a_stream_in_no_variable_is_left_with_break(transport: ScriptedTransport) -> None:
    hold_all_but_first(transport)
    async with scripted_client(transport, limits=limits(4)) as client:
        async for _ in client.stream(links(300)):
            break
        await asyncio.sleep(100)
        assert transport.submitted <= 6
        transport.hold.set()  # type: ignore[union-attr]


async def test_a_refusal_is_not_repeated_for_a_stream_that_was_left(transport: ScriptedTransport) -> None:
    transport.submissions = [json_response(429)]
    async with scripted_client(transport) as client:
        stream = client.stream(links(1))
        reading = asyncio.create_task(read_all(stream, []))
        await asyncio.sleep(0.01)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        await asyncio.sleep(100)
    assert transport.submitted == 1


async def test_a_job_that_others_wait_for_outlasts_the_stream(transport: ScriptedTransport) -> None:
    hold = hold_all_but_first(transport)
    async with scripted_client(transport, limits=limits(1)) as client:
        first, wanted = links(2)
        stream = client.stream([first, "https://images.example/occupies-the-slot.png", wanted], key=str)
        await anext(stream)
        other = asyncio.create_task(client.remove(wanted, key=wanted))
        await asyncio.sleep(1)
        await stream.aclose()
        hold.set()
        assert (await other).key == wanted
    assert transport.submitted == 3


async def test_items_with_one_key_are_one_job_and_an_outcome_each(transport: ScriptedTransport) -> None:
    async with scripted_client(transport) as client:
        outcomes = [outcome async for outcome in client.stream([LINK] * 3, key=lambda _: "one")]
    assert [type(outcome) for outcome in outcomes] == [aw.Done] * 3
    assert transport.submitted == 1


async def failing_async_source() -> AsyncIterator[str]:
    for link in links(5):
        yield link
    raise ConnectionResetError("the queue is closed")


def failing_source() -> Iterator[str]:
    yield from links(5)
    raise ConnectionResetError("the queue is closed")


@pytest.mark.parametrize("source", [failing_source, failing_async_source])
async def test_outcomes_that_were_paid_for_come_before_the_error_of_the_source(
    transport: ScriptedTransport, source: Callable[[], Any]
) -> None:
    outcomes: list[aw.Outcome] = []
    transport.queries = [PENDING, PENDING, PENDING, *transport.queries]
    async with scripted_client(transport) as client:
        with pytest.raises(ConnectionResetError, match="queue"):
            await read_all(client.stream(source()), outcomes)
    assert [type(outcome) for outcome in outcomes] == [aw.Done] * 5
    assert transport.submitted == 5


async def test_a_source_that_cancels_itself_ends_the_stream(transport: ScriptedTransport) -> None:
    async def items() -> AsyncIterator[str]:
        yield LINK
        raise asyncio.CancelledError

    outcomes: list[aw.Outcome] = []
    async with scripted_client(transport) as client:
        reading = asyncio.create_task(read_all(client.stream(items()), outcomes))
        await asyncio.wait([reading], timeout=100)
        assert reading.cancelled()
    assert len(outcomes) == 1


async def test_a_source_that_suppresses_cancellation_gets_no_further_item_in(transport: ScriptedTransport) -> None:
    async def items() -> AsyncGenerator[str, None]:
        yield LINK
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            yield f"{LINK}?late"

    async with scripted_client(transport) as client:
        source = items()
        await leave_by_break(client.stream(source))
        await source.aclose()
        await asyncio.sleep(100)
    assert transport.submitted == 1


class OddMedia:
    """Raises what nobody expects."""

    def read(self, _: int) -> bytes:
        raise UnicodeError("odd")


def odd_key(item: object) -> str:
    return {LINK: "known"}[item]  # type: ignore[index]


@pytest.mark.parametrize("item", [None, 7, b"", OddMedia(), {"a": 1}, object(), "missing.jpg", "a\0b", float("nan")])
async def test_whatever_is_wrong_with_an_item_is_its_own_failure(transport: ScriptedTransport, item: Any) -> None:
    async with scripted_client(transport) as client:
        outcomes = [outcome async for outcome in client.stream([item, LINK, item])]
    failed = [outcome for outcome in outcomes if isinstance(outcome, aw.Failed)]
    assert [outcome.media for outcome in failed] == [item, item] or item != item  # noqa: PLR0124 - not a number
    assert all(isinstance(outcome.error, aw.WatermarkError) for outcome in failed)
    assert len(outcomes) == 3
    assert len(failed) == 2
    assert transport.submitted == 1


async def test_an_error_of_the_key_function_is_a_failure_of_its_item(transport: ScriptedTransport) -> None:
    async with scripted_client(transport) as client:
        outcomes = [outcome async for outcome in client.stream([f"{LINK}?other", LINK], key=odd_key)]
    (failed,) = [outcome for outcome in outcomes if isinstance(outcome, aw.Failed)]
    assert failed.media == f"{LINK}?other"
    assert isinstance(failed.error, aw.WatermarkError)
    assert isinstance(failed.error.__cause__, KeyError)


async def test_an_unexpected_error_of_a_job_is_a_failure_of_its_item(transport: ScriptedTransport) -> None:
    def unexpected() -> Any:
        raise RuntimeError("a bug")

    transport.submissions = [unexpected, ACCEPTED]
    async with scripted_client(transport) as client:
        outcomes = [outcome async for outcome in client.stream(links(2))]
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Done", "Failed"]


async def test_a_synchronous_source_blocks_the_loop_for_one_item_at_a_time(transport: ScriptedTransport) -> None:
    pulled = 0
    most_between_turns = 0

    def items() -> Iterator[str]:
        nonlocal pulled
        for link in links(100):
            pulled += 1
            yield link

    async def observe() -> None:
        nonlocal most_between_turns
        before = 0
        while pulled < 100:
            await asyncio.sleep(0)
            most_between_turns, before = max(most_between_turns, pulled - before), pulled

    async with scripted_client(transport) as client:
        observer = asyncio.create_task(observe())
        outcomes = [outcome async for outcome in client.stream(items())]
        await observer
    assert len(outcomes) == 100
    assert most_between_turns == 1


@pytest.mark.parametrize(
    "items",
    [
        "photo.jpg",
        Path("photo.jpg"),
        b"data",
        bytearray(b"data"),
        memoryview(b"data"),
        io.BytesIO(b"data"),
        {},
        7,
        None,
    ],
)
async def test_one_medium_or_a_mapping_is_no_stream(transport: ScriptedTransport, items: Any) -> None:
    async with scripted_client(transport) as client:
        with pytest.raises(aw.InvalidInput, match="stream"):
            client.stream(items)


async def test_closing_the_client_ends_its_streams(transport: ScriptedTransport) -> None:
    transport.queries = [PENDING]
    pulled = 0

    async def endless() -> AsyncIterator[str]:
        nonlocal pulled
        while True:
            pulled += 1
            yield f"{LINK}?{pulled}"
            await asyncio.sleep(1)

    outcomes: list[aw.Outcome] = []
    async with scripted_client(transport) as client:
        reading = asyncio.create_task(read_all(client.stream(endless()), outcomes))
        await asyncio.sleep(10.5)
    with pytest.raises(aw.InvalidInput, match="closed"):
        await reading
    assert pulled <= 12
    assert [type(outcome) for outcome in outcomes] == [aw.Failed] * pulled


async def test_a_lost_answer_is_a_failure_with_its_token(transport: ScriptedTransport) -> None:
    transport.submissions = [connection_lost(sent=True)]
    async with scripted_client(transport) as client:
        (outcome,) = [outcome async for outcome in client.stream([LINK])]
    assert isinstance(outcome, aw.Failed)
    assert isinstance(outcome.error, aw.SubmissionInDoubt)
    assert outcome.error.token


async def test_a_job_that_is_cancelled_before_its_first_step_gives_its_slot_back(transport: ScriptedTransport) -> None:
    async with scripted_client(transport, limits=aw.Limits(in_flight=1)) as client:

        async def source() -> AsyncIterator[str]:
            consumer.cancel()  # the stream is left right after the job's task was created
            yield LINK

        async def consume() -> None:
            async for _ in client.stream(source()):
                pass

        consumer = asyncio.create_task(consume())
        with pytest.raises(asyncio.CancelledError):
            await consumer
        assert transport.submitted == 0
        assert (await client.remove(LINK)).url
