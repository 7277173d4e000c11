"""A stream delivers what was paid for, ends with its source, and stops paying when it is left."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any, ClassVar

import pytest
from attrs import frozen

import aiowatermark as aw
from aiowatermark.testing import ScriptedTransport, connection_lost, json_response
from tests.support.picwish import ACCEPTED, LINK, PENDING, scripted_client

VIRTUAL_CLOCK = True


def links(count: int) -> list[str]:
    return [f"{LINK}?{number}" for number in range(count)]


def limits(submissions: int) -> aw.Limits:
    return aw.Limits(submissions=submissions)


async def read_all(stream: AsyncIterator[aw.Outcome[str]], outcomes: list[aw.Outcome[str]]) -> None:
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
    outcomes: list[aw.Outcome[str]] = []
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

    outcomes: list[aw.Outcome[str]] = []
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
    assert [outcome.item for outcome in failed] == [item, item] or item != item  # noqa: PLR0124 - not a number
    assert all(isinstance(outcome.error, aw.WatermarkError) for outcome in failed)
    assert len(outcomes) == 3
    assert len(failed) == 2
    assert transport.submitted == 1


async def test_an_error_of_the_key_function_is_a_failure_of_its_item(transport: ScriptedTransport) -> None:
    async with scripted_client(transport) as client:
        outcomes = [outcome async for outcome in client.stream([f"{LINK}?other", LINK], key=odd_key)]
    (failed,) = [outcome for outcome in outcomes if isinstance(outcome, aw.Failed)]
    assert failed.item == f"{LINK}?other"
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

    outcomes: list[aw.Outcome[str]] = []
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


@frozen(eq=False)
class Row:
    """An item that is no media, and not hashable."""

    link: str
    mask: str | None = None

    __hash__: ClassVar[None] = None  # type: ignore[assignment]


async def run_rows(transport: ScriptedTransport, rows: Any, **arguments: Any) -> list[aw.Outcome[Any]]:
    async with scripted_client(transport) as client:
        return [outcome async for outcome in client.stream(rows, **arguments)]


async def as_async(rows: list[Row]) -> AsyncIterator[Row]:
    for row in rows:
        yield row


@pytest.mark.parametrize("convert", [list, iter, as_async])
async def test_items_of_any_type_are_streamed_by_functions_of_the_item(
    transport: ScriptedTransport, convert: Callable[[list[Row]], Any]
) -> None:
    rows = [Row(link) for link in links(3)]
    arguments = {"media": lambda row: row.link, "mask": lambda row: row.mask, "key": lambda row: row.link[-1]}
    outcomes = await run_rows(transport, convert(rows), **arguments)
    assert sorted((rows.index(outcome.item), type(outcome)) for outcome in outcomes) == [(n, aw.Done) for n in range(3)]
    assert {outcome.result.key for outcome in outcomes if isinstance(outcome, aw.Done)} == {"0", "1", "2"}


async def test_an_outcome_is_matched_by_position_and_by_name(transport: ScriptedTransport) -> None:
    rows = [Row(LINK), Row("missing.jpg")]
    matched: list[tuple[Any, type]] = []
    for outcome in await run_rows(transport, rows, media=lambda row: row.link):
        match outcome:
            case aw.Done(item, result):
                matched.append((item, type(result)))
            case aw.Failed(item=item, error=error):
                matched.append((item, type(error)))
    assert sorted(matched, key=lambda pair: rows.index(pair[0])) == [(rows[0], aw.Result), (rows[1], aw.InvalidInput)]


def refuse(row: Row) -> Any:
    if row.mask:
        raise LookupError("canary: no such column")
    return row.link


@pytest.mark.parametrize("name", ["media", "key", "mask"])
async def test_what_a_function_raises_about_one_item_is_the_failure_of_that_item(
    transport: ScriptedTransport, name: str
) -> None:
    rows = [Row(LINK), Row(f"{LINK}?2", mask="odd"), Row(f"{LINK}?3")]
    functions: dict[str, Any] = {"media": lambda row: row.link}
    functions[name] = (lambda row: refuse(row) and None) if name == "mask" else refuse
    outcomes = await run_rows(transport, rows, **functions)
    (failed,) = [outcome for outcome in outcomes if isinstance(outcome, aw.Failed)]
    assert failed.item is rows[1]
    assert isinstance(failed.error, aw.InvalidInput)
    assert str(failed.error) == f"the function {name}= raised LookupError for this item: see __cause__"
    assert isinstance(failed.error.__cause__, LookupError)
    assert (len(outcomes), transport.submitted) == (3, 2)


async def test_an_item_may_be_a_batch_or_have_one(transport: ScriptedTransport) -> None:
    outcomes = await run_rows(transport, [[LINK], (f"{LINK}?1",), [f"{LINK}?2", f"{LINK}?3"]])
    assert [type(outcome) for outcome in outcomes].count(aw.Failed) == 1  # PicWish accepts one image per job
    assert transport.submitted == 2
    (failed,) = await run_rows(transport, [7], media=lambda _: [LINK, f"{LINK}?1"])
    assert "one image per job, not 2" in str(failed.error)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ({"media": "path"}, "media=lambda item: item.path"),
        ({"key": "batch-7"}, "key=lambda item: item.id"),
        ({"options": ["sync"]}, 'options must be a mapping such as {"strength": 3}'),
    ],
)
async def test_what_is_no_function_of_the_item_is_refused_at_once(
    transport: ScriptedTransport, arguments: dict[str, Any], line: str
) -> None:
    async with scripted_client(transport) as client:
        with pytest.raises(aw.InvalidInput) as refused:
            client.stream(links(1), **arguments)
    assert line in str(refused.value)


async def test_options_given_as_a_mapping_are_those_of_every_item(transport: ScriptedTransport) -> None:
    for options in ({"options": {"sync": True}}, {"options": {"sync": False}, "sync": True}):
        await run_rows(transport, links(1), **options)
        assert "sync" in transport.requests[-2].body.fields  # type: ignore[union-attr]


def test_the_former_name_of_an_item_still_works_and_warns() -> None:
    outcome = aw.Failed("photo.jpg", aw.InvalidInput("wrong"))
    with pytest.warns(DeprecationWarning, match="`media` of an outcome is now called `item`"):
        assert outcome.media == outcome.item
