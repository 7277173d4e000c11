"""Redis goes away and comes back: nothing new is begun meanwhile, nothing under way is lost, everything reconnects."""

from __future__ import annotations

import asyncio
import logging
import time

import pytest

from aiowatermark import Delivery, RedisStore, StoreError
from aiowatermark.jobs import Output, Record, Snapshot, Status
from aiowatermark.media.memory import Bytes
from aiowatermark.stores.redis.keys import digest
from tests.support.redis_records import ACCOUNT, accepted, finished, record, until
from tests.support.redis_server import RedisServer, lasting_server, own_server

__all__ = ["lasting_server", "own_server"]

LEASE = 0.3


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, logger="aiowatermark")
    return caplog


def lines(said: pytest.LogCaptureFixture, level: int) -> list[str]:
    """What the store said of its Redis."""
    return [each.getMessage() for each in said.records if each.levelno == level and "Redis" in each.getMessage()]


async def back(store: RedisStore) -> None:
    """Wait until the store is in touch again."""
    await until(lambda: not store._connection.disconnected)


async def lost(store: RedisStore) -> None:
    await until(lambda: store._connection.disconnected)


async def test_while_redis_is_gone_nothing_new_is_begun(own_server: RedisServer) -> None:
    async with RedisStore(own_server.url, lease=LEASE) as store:
        uploading = Record("video", "kaze", Snapshot(None, Status.UPLOADING), account=ACCOUNT, created_at=1.0)
        await store.open(uploading)
        own_server.kill()
        with pytest.raises(StoreError, match="out of reach"):
            await store.open(record("new"))
        with pytest.raises(StoreError, match="out of reach"):
            await store.put(uploading.advance(Snapshot("task-1", Status.UPLOADING)))
        with pytest.raises(StoreError, match="out of reach"):
            await store.put(uploading.advance(Snapshot("task-1", Status.IN_DOUBT)))
        with pytest.raises(StoreError, match="out of reach"):
            await store.coordinator.acquire(ACCOUNT, 100.0, new=True)
        with pytest.raises(StoreError, match="out of reach"):
            await store.coordinator.acquire(ACCOUNT, None, new=True)
        with pytest.raises(StoreError, match="out of reach"):
            async with store.coordinator.slot(ACCOUNT, 4):
                pass
        with pytest.raises(StoreError, match="out of reach"):
            await store.coordinator.forward("c" * 32, Delivery(b""))
        with pytest.raises(StoreError, match="out of reach"):
            await store.coordinator.claim(uploading)
        assert [each.key async for each in store.coordinator.orphans(ACCOUNT)] == []
        own_server.start()
        await back(store)
        assert await store.open(record("new")) is None


async def test_news_of_jobs_under_way_are_written_when_it_is_back(lasting_server: RedisServer) -> None:
    async with RedisStore(lasting_server.url, lease=LEASE) as store, RedisStore(lasting_server.url) as other:
        taken, done = record("taken"), record("done", callback="c" * 32)
        await store.open(taken)
        await store.open(done)
        lasting_server.kill()
        taken = accepted(taken)
        assert await store.put(taken) is taken
        queued = await store.put(accepted(done))
        ended = finished(queued, Output(Bytes(b"picture")))
        assert await store.put(ended) is ended
        assert await store.put(queued) is ended
        assert await store.get("taken") is taken
        lasting_server.start()
        await back(store)
        known = await other.get("taken")
        assert known is not None
        assert known.snapshot.task_id == "task-1"
        known = await other.by_callback("c" * 32)
        assert known is not None
        assert isinstance(known.snapshot.outputs[0].media, Bytes)
        assert [each.key async for each in other.unfinished()] == ["taken"]


async def test_a_redis_that_forgot_everything_is_told_what_is_under_way(own_server: RedisServer) -> None:
    async with RedisStore(own_server.url, lease=LEASE) as store:
        for number in range(120):
            await store.open(record(f"job-{number}", callback=f"{number:032}"))
        await store.put(accepted(record("job-7", callback=f"{7:032}")))
        await store.put(finished(record("job-8")))
        own_server.kill()
        own_server.start()
        await asyncio.sleep(LEASE)
        await back(store)
        async with RedisStore(own_server.url, lease=LEASE) as other:
            found: set[str] = set()
            async with asyncio.timeout(3):
                while len(found) < 119:
                    found = {each.key async for each in other.unfinished()}
            assert found == {f"job-{number}" for number in range(120) if number != 8}
            known = await other.by_callback(f"{7:032}")
            assert known is not None
            assert known.snapshot.task_id == "task-1"
            assert not await other.coordinator.claim(known)


async def test_looks_at_jobs_go_on_at_a_pace_of_our_own(own_server: RedisServer) -> None:
    async with RedisStore(own_server.url, lease=LEASE) as store:
        await store.coordinator.acquire(ACCOUNT, 50.0, new=True)
        own_server.kill()
        before = time.monotonic()
        for _ in range(6):
            await store.coordinator.acquire(ACCOUNT, 50.0, new=False)
        assert 0.09 <= time.monotonic() - before < 1.0


async def test_a_redis_that_says_nothing_blocks_nobody_for_ever(own_server: RedisServer) -> None:
    async with RedisStore(f"{own_server.url}?socket_timeout=0.3", lease=LEASE) as store:
        mine = record()
        await store.open(mine)
        with own_server.frozen():
            before = time.monotonic()
            await store.coordinator.acquire(ACCOUNT, 1000.0, new=False)
            mine = accepted(mine)
            assert await store.put(mine) is mine
            with pytest.raises(StoreError, match="out of reach"):
                await store.open(record("new"))
            assert time.monotonic() - before < 2.0
        await back(store)
        assert [each.key async for each in store.unfinished()] == ["job-1"]
        known = await store.get("job-1")
        assert known is not None
        assert known.snapshot.task_id == "task-1"


async def test_an_opening_without_an_answer_is_taken_back(own_server: RedisServer) -> None:
    async with RedisStore(f"{own_server.url}?socket_timeout=0.3", lease=LEASE) as store:
        with own_server.frozen(), pytest.raises(StoreError, match="out of reach"):
            await store.open(record("never", callback="c" * 32))
        await back(store)
        assert await store.get("never") is None
        assert [each.key async for each in store.unfinished()] == []
        assert await store.open(record("never")) is None


async def test_what_is_forgotten_meanwhile_is_gone_when_it_is_back(lasting_server: RedisServer) -> None:
    async with RedisStore(lasting_server.url, lease=LEASE) as store:
        await store.open(record("refused", callback="c" * 32))
        lasting_server.kill()
        await lost(store)
        await store.forget("refused")
        lasting_server.start()
        await back(store)
        assert await store.get("refused") is None
        assert await store.by_callback("c" * 32) is None
        assert [each.key async for each in store.unfinished()] == []


async def test_bells_and_permits_come_back(own_server: RedisServer) -> None:
    async with RedisStore(own_server.url, lease=LEASE) as one, RedisStore(own_server.url, lease=LEASE) as two:
        rung: list[bytes] = []
        one.coordinator.subscribe(lambda _, delivery: rung.append(delivery.body))
        async with one.coordinator.slot(ACCOUNT, 2), two.coordinator.slot(ACCOUNT, 2):
            await one.open(record(callback="c" * 32))
            own_server.kill()
            await asyncio.gather(lost(one), lost(two))
            own_server.start()
            await asyncio.gather(back(one), back(two))
            third = asyncio.create_task(passed(two))
            await asyncio.sleep(0.3)
            assert not third.done()  # the two that are in use were told again
        await asyncio.wait_for(third, 2.0)
        async with asyncio.timeout(5):
            while not rung:
                await two.coordinator.forward("c" * 32, Delivery(b"1"))
                await asyncio.sleep(0.02)


async def passed(store: RedisStore) -> None:
    async with store.coordinator.slot(ACCOUNT, 2):
        pass


async def test_after_a_break_nobody_is_declared_dead_at_once(lasting_server: RedisServer) -> None:
    url = lasting_server.url
    async with RedisStore(url, lease=LEASE) as first, RedisStore(url, lease=LEASE) as second:
        await first.open(record())
        lasting_server.kill()
        await asyncio.gather(lost(first), lost(second))
        await asyncio.sleep(LEASE)
        lasting_server.start()
        await back(second)
        until_then = time.monotonic() + 3 * LEASE
        while time.monotonic() < until_then:
            assert [each.key async for each in second.coordinator.orphans(ACCOUNT)] == []
            await asyncio.sleep(0.02)


async def test_it_is_said_once_that_redis_is_lost_and_once_that_it_is_back(
    own_server: RedisServer, said: pytest.LogCaptureFixture
) -> None:
    url = own_server.url.replace("unix://", "unix://:canary@")
    own_server.options += ["--requirepass", "canary"]
    own_server.kill()
    own_server.start()
    async with RedisStore(url, lease=LEASE) as store:
        await store.open(record())
        own_server.kill()
        for _ in range(3):
            await store.put(accepted(record()))
        await asyncio.sleep(2 * LEASE)
        own_server.start()
        await back(store)
    assert len(lines(said, logging.WARNING)) == 1
    assert len(lines(said, logging.INFO)) == 1
    assert "canary" not in said.text


async def test_closing_meanwhile_tells_the_tokens_of_what_could_not_be_written(
    own_server: RedisServer, said: pytest.LogCaptureFixture
) -> None:
    async with RedisStore(own_server.url, lease=LEASE) as store:
        await store.open(record())
        own_server.kill()
        mine = await store.put(accepted(record()))
    assert mine.token in said.text
    own_server.start()
    async with store:  # the same store, opened again, still knows
        await until(lambda: not store._membership.backlog.unwritten)
        assert (await store.get("job-1")) is not None


async def test_a_redis_that_may_not_write_is_as_good_as_gone(
    own_server: RedisServer, said: pytest.LogCaptureFixture
) -> None:
    async with RedisStore(own_server.url, lease=LEASE) as store:
        await store.open(record())
        own_server.ask("CONFIG SET maxmemory 1")
        with pytest.raises(StoreError, match="out of reach"):
            await store.open(record("new"))
        mine = accepted(record())
        assert await store.put(mine) is mine
        own_server.ask("CONFIG SET maxmemory 0")
        await back(store)
        async with RedisStore(own_server.url) as other:
            known = await other.get("job-1")
            assert known is not None
            assert known.snapshot.task_id == "task-1"


async def test_a_connection_that_was_cut_while_it_idled_is_noticed_by_nobody(
    own_server: RedisServer, said: pytest.LogCaptureFixture
) -> None:
    async with RedisStore(own_server.url) as store:
        for number in range(10):
            own_server.ask("CLIENT KILL TYPE normal")
            assert await store.open(record(f"job-{number}")) is None
    assert lines(said, logging.WARNING) == []


async def test_a_record_that_redis_refuses_keeps_no_other_from_being_written(
    lasting_server: RedisServer, said: pytest.LogCaptureFixture
) -> None:
    async with RedisStore(lasting_server.url, lease=LEASE) as store, RedisStore(lasting_server.url) as other:
        for key in ("bad", "good"):
            await store.open(record(key))
        await lost_news(store, lasting_server)
        known = await other.get("good")
        assert known is not None
        assert known.snapshot.task_id == "task-1"
        assert any("bad" in each.getMessage() for each in said.records)


async def lost_news(store: RedisStore, server: RedisServer) -> None:
    """News of two jobs from an outage, of which one meets a key of another kind."""
    server.kill()
    for key in ("bad", "good"):
        await store.put(accepted(record(key)))
    server.start()
    name, *_ = store._keys.job(digest("bad"))
    server.ask(f'DEL "{name}"')
    server.ask(f'SET "{name}" nonsense')
    await until(lambda: "good" not in store._membership.backlog.unwritten)
    await back(store)
