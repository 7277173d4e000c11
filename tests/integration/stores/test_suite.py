"""One suite for every store: what a job's memory promises."""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from attrs import evolve

import aiowatermark as aw
from aiowatermark.jobs import Output, Record, Session, Snapshot, Status
from aiowatermark.media.memory import Base64Text, Bytes

from .conftest import Make, finished, queued, read, record

CONTENT = os.urandom(300_001)


async def listed(records: AsyncIterator[Record]) -> list[str]:
    return [each.key async for each in records]


async def test_an_unknown_key_is_opened_and_remembered(store: aw.JobStore) -> None:
    mine = record(callback="c" * 64, account="a1", owner="o1", video=True)
    assert await store.open(mine) is None
    assert await store.get("order-1") == mine


async def test_a_known_key_gives_the_first_record(store: aw.JobStore) -> None:
    first = record(owner="first")
    await store.open(first)
    assert await store.open(record(owner="second")) == first
    assert await store.get("order-1") == first


async def test_an_unknown_key_has_no_record(store: aw.JobStore) -> None:
    assert await store.get("nobody") is None
    assert await store.by_callback("nobody") is None


async def test_news_are_remembered_and_given_back_as_they_came(store: aw.JobStore) -> None:
    await store.open(mine := record())
    news = queued(mine)
    assert await store.put(news) is news
    assert await store.get("order-1") == news


async def test_older_news_give_what_is_remembered(store: aw.JobStore) -> None:
    await store.open(mine := record())
    newer = evolve(queued(mine), version=5)
    await store.put(newer)
    older = evolve(queued(mine, "task-2"), version=4)
    assert await store.put(older) == newer
    assert await store.get("order-1") == newer


async def test_news_of_the_same_version_come_too_late_even_where_they_say_the_same(store: aw.JobStore) -> None:
    await store.open(mine := record())
    first, second = queued(mine), queued(mine)
    assert await store.put(first) is first
    stored = await store.put(second)
    assert stored == first
    assert stored is not second


@pytest.mark.parametrize("status", [Status.SUCCEEDED, Status.FAILED])
async def test_what_has_ended_stays_ended(store: aw.JobStore, status: Status) -> None:
    await store.open(mine := record())
    ended = mine.advance(Snapshot("task-1", status, reason="as it is"))
    await store.put(ended)
    later = evolve(queued(mine), version=99)
    assert await store.put(later) == ended
    assert await store.open(record()) == ended
    assert await store.get("order-1") == ended


async def test_news_of_an_unknown_key_are_remembered(store: aw.JobStore) -> None:
    news = queued(record())
    assert await store.put(news) is news
    assert await store.get("order-1") == news


async def test_a_record_is_found_by_its_callback(store: aw.JobStore) -> None:
    await store.open(mine := record(callback="c" * 64))
    await store.open(record("order-2", callback="d" * 64))
    assert await store.by_callback("c" * 64) == mine
    news = queued(mine)
    await store.put(news)
    assert await store.by_callback("c" * 64) == news


async def test_only_what_has_not_ended_is_unfinished_and_the_oldest_comes_first(store: aw.JobStore) -> None:
    opened = [record(f"order-{number}", created_at=float(number)) for number in range(1200)]
    for each in opened:
        await store.open(each)
    for each in opened[::3]:
        await store.put(finished(each))
    waiting = [each.key for number, each in enumerate(opened) if number % 3]
    assert await listed(store.unfinished()) == waiting


async def test_what_begins_while_the_unfinished_are_listed_does_not_make_the_list_endless(store: aw.JobStore) -> None:
    await store.open(record("order-0"))
    seen = 0
    async for _ in store.unfinished():
        seen += 1
        await store.open(record(f"order-{seen}"))
        assert seen < 5


async def test_the_list_of_the_unfinished_may_be_left_in_the_middle(store: aw.JobStore) -> None:
    for number in range(3):
        await store.open(record(f"order-{number}", created_at=float(number)))
    async for each in store.unfinished():
        assert each.key == "order-0"
        break
    assert len(await listed(store.unfinished())) == 3


async def test_what_is_forgotten_is_gone_and_its_key_is_free(store: aw.JobStore) -> None:
    await store.open(record(callback="c" * 64))
    await store.forget("order-1")
    assert await store.get("order-1") is None
    assert await store.by_callback("c" * 64) is None
    assert await listed(store.unfinished()) == []
    assert await store.open(record(owner="second")) is None


async def test_to_forget_what_is_not_there_is_no_error(store: aw.JobStore) -> None:
    await store.forget("nobody")


async def test_of_200_that_open_one_key_exactly_one_wins(store: aw.JobStore) -> None:
    opened = await asyncio.gather(*(store.open(record(owner=f"owner-{number}")) for number in range(200)))
    assert opened.count(None) == 1
    winner = f"owner-{opened.index(None)}"
    assert {known.owner for known in opened if known is not None} == {winner}
    assert (remembered := await store.get("order-1")) is not None
    assert remembered.owner == winner


async def test_of_200_that_bring_news_of_one_version_exactly_one_wins(store: aw.JobStore) -> None:
    await store.open(mine := record())
    news = [queued(mine) for _ in range(200)]
    stored = await asyncio.gather(*map(store.put, news))
    assert sum(kept is brought for kept, brought in zip(stored, news, strict=True)) == 1


async def test_many_jobs_at_once_do_not_meet(store: aw.JobStore) -> None:
    async def life(number: int) -> None:
        mine = record(f"order-{number}", callback=f"{number:064}")
        assert await store.open(mine) is None
        mine = queued(mine, f"task-{number}")
        assert await store.put(mine) is mine
        assert await store.get(mine.key) == mine
        if number % 2:
            assert await store.put(done := finished(mine)) is done
        elif number % 5 == 0:
            await store.forget(mine.key)

    await asyncio.gather(*map(life, range(300)))
    left = set(await listed(store.unfinished()))
    assert left == {f"order-{number}" for number in range(0, 300, 2) if number % 5}


async def test_two_stores_with_one_memory_see_each_other(make: Make) -> None:
    async with make() as mine, make() as yours:
        opened = record()
        assert await mine.open(opened) is None
        assert await yours.open(record(owner="another")) == opened
        news = queued(opened)
        assert await yours.put(news) is news
        assert await mine.put(queued(opened, "task-2")) == news


async def test_a_store_that_is_opened_again_inside_stays_open(make: Make) -> None:
    async with (store := make()):
        async with store:
            await store.open(record())
        assert await store.get("order-1") == record()


async def test_a_store_that_was_closed_opens_again_and_remembers(make: Make) -> None:
    store = make()
    async with store:
        await store.open(record())
    async with store:
        assert await store.get("order-1") == record()


async def test_results_that_came_as_bytes_come_back_byte_for_byte(make: Make) -> None:
    mask = base64.b64encode(CONTENT[:999]).decode()
    async with make() as store:
        await store.open(mine := record())
        session = Session("session-1", Base64Text(mask, name="mask.png"), 2)
        picture = Base64Text(base64.b64encode(CONTENT).decode())
        await store.put(finished(mine, picture, Bytes(CONTENT[:5], name="small.png"), session=session))
    async with make() as store:
        known = await store.get("order-1")
        assert known is not None
        first, second = known.snapshot.outputs
        assert await read(first.media) == CONTENT
        assert await read(second.media) == CONTENT[:5]
        assert (kept := known.snapshot.session) is not None
        assert (kept.id, kept.refinements) == ("session-1", 2)
        assert await read(kept.mask) == CONTENT[:999]


async def test_links_keep_their_query_and_files_their_path(store: aw.JobStore, tmp_path: Path) -> None:
    await store.open(mine := record())
    await store.put(finished(mine, aw.as_media("https://results.example/a.jpg?Signature=a%2Fb"), aw.as_media(tmp_path)))
    known = await store.get("order-1")
    assert known is not None
    link, file = (output.media for output in known.snapshot.outputs)
    assert getattr(link, "url", None) == "https://results.example/a.jpg?Signature=a%2Fb"
    assert getattr(file, "path", None) == tmp_path


async def test_errors_of_outputs_keep_their_kind_and_message(store: aw.JobStore) -> None:
    await store.open(mine := record())
    error = aw.ResultExpired("gone since monday", answer="it said 410")
    snapshot = Snapshot("task-1", Status.SUCCEEDED, outputs=(Output(error=error),))
    await store.put(mine.advance(snapshot))
    known = await store.get("order-1")
    assert known is not None
    kept = known.snapshot.outputs[0].error
    assert type(kept) is aw.ResultExpired
    assert (kept.message, kept.answer) == ("gone since monday", "it said 410")


async def test_cancelled_calls_leave_whole_records_and_a_store_that_goes_on(store: aw.JobStore) -> None:
    tasks = [asyncio.create_task(store.open(record(f"order-{number}"))) for number in range(100)]
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(each is None or isinstance(each, asyncio.CancelledError) for each in ended)
    for number in range(100):
        known = await store.get(f"order-{number}")
        assert known in {None, record(f"order-{number}")}
    assert await store.open(record("another")) is None


@pytest.mark.parametrize(
    "key", ["../../etc/passwd", "a'; DROP TABLE records; --", "ключ 鍵 🗝", "x" * 200, "{key}*?[a]"]
)
async def test_a_key_is_only_a_name(store: aw.JobStore, key: str) -> None:
    await store.open(mine := record(key))
    await store.put(done := finished(mine, Bytes(b"picture")))
    known = await store.get(key)
    assert known is not None
    assert known.version == done.version
    assert await read(known.snapshot.outputs[0].media) == b"picture"
    await store.forget(key)
    assert await store.get(key) is None
