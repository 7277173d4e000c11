"""What replicas share: rate, permits, leases, bells; and what becomes of one that is killed."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

import aiowatermark
from aiowatermark import Delivery, RedisStore, StoreError
from aiowatermark.stores.coordination import Coordinator
from tests.support.redis_records import ACCOUNT, Opened, accepted, finished, opened, record, redis_server, until
from tests.support.redis_server import RedisServer

__all__ = ["opened", "redis_server"]

ROOT = Path(aiowatermark.__file__).parent.parent


@asynccontextmanager
async def child(store: RedisStore, what: str, number: int = 0) -> AsyncIterator[Process]:
    """Another replica, in a process of its own."""
    program = str(Path(__file__).with_name("redis_child.py"))
    words = (store.url, store.prefix, str(store.lease), what, str(number))
    path = os.pathsep.join((str(ROOT), os.environ.get("PYTHONPATH", "")))
    process = await asyncio.create_subprocess_exec(
        sys.executable, program, *words, stdin=PIPE, stdout=PIPE, stderr=None, env={**os.environ, "PYTHONPATH": path}
    )
    assert process.stdout is not None
    try:
        assert await asyncio.wait_for(process.stdout.readline(), 20) == b"ready\n"
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def orphans(coordinator: Coordinator, account: str = ACCOUNT) -> list[str]:
    return [each.key async for each in coordinator.orphans(account)]


# keys


async def test_of_two_processes_one_opens_a_key(opened: Opened) -> None:
    store: RedisStore = await opened()
    async with child(store, "open", 300) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        other.stdin.write(b"go\n")
        known = await asyncio.gather(*(store.open(record(f"job-{number}")) for number in range(300)))
        theirs = (await other.stdout.readline()).decode().strip().split(",")
    mine = [f"job-{number}" for number in range(300) if known[number] is None]
    assert sorted([*mine, *filter(None, theirs)]) == sorted(f"job-{number}" for number in range(300))


# the rate


async def test_two_replicas_together_never_exceed_the_rate(opened: Opened) -> None:
    stores = [await opened(), await opened()]
    begun: list[float] = []

    async def turns(store: RedisStore) -> None:
        for _ in range(15):
            await store.coordinator.acquire(ACCOUNT, 100.0, new=True)
            begun.append(time.monotonic())

    await asyncio.gather(*(turns(store) for store in stores for _ in range(2)))
    begun.sort()
    assert len(begun) == 60
    assert begun[-1] - begun[0] >= 0.59 - 0.02
    for first, eleventh in zip(begun, begun[10:], strict=False):
        assert eleventh - first >= 0.1 - 0.03


async def test_turns_at_once_are_asked_for_in_one_round_trip(opened: Opened) -> None:
    store: RedisStore = await opened()
    before = store.round_trips
    await asyncio.gather(*(store.coordinator.acquire(ACCOUNT, 10_000.0, new=True) for _ in range(500)))
    assert store.round_trips - before <= 3


async def test_without_a_rate_nobody_is_asked(opened: Opened) -> None:
    store: RedisStore = await opened()
    before = store.round_trips
    for _ in range(100):
        await store.coordinator.acquire(ACCOUNT, None, new=True)
    assert store.round_trips == before


@pytest.mark.parametrize("rate", [None, 1000.0])
async def test_a_providers_word_holds_all_replicas(opened: Opened, rate: float | None) -> None:
    first, second = await opened(), await opened()
    for store in (first, second):
        store.coordinator.subscribe(lambda *_: None)
        await store.coordinator.acquire(ACCOUNT, rate, new=True)
    await heard(first, second)
    before = time.monotonic()
    await first.coordinator.pause(ACCOUNT, 0.3)
    if rate is None:
        await asyncio.sleep(0.1)
    await asyncio.gather(*(store.coordinator.acquire(ACCOUNT, rate, new=False) for store in (first, second)))
    assert time.monotonic() - before >= 0.29


async def heard(speaker: RedisStore, listener: RedisStore) -> None:
    """Wait until one hears the other."""
    callback, rung = "hello" * 6, []
    await speaker.open(record("hello", callback=callback))
    deaf = listener.coordinator.subscribe(lambda *news: rung.append(news))
    async with asyncio.timeout(5):
        while not rung:
            await speaker.coordinator.forward(callback, Delivery(b""))
            await asyncio.sleep(0.01)
    deaf()
    await speaker.forget("hello")


# permits


async def test_all_replicas_together_never_hold_more_permits_than_there_are(opened: Opened) -> None:
    stores = [await opened(), await opened(), await opened()]
    held = most = 0

    async def submit(store: RedisStore) -> None:
        nonlocal held, most
        async with store.coordinator.slot(ACCOUNT, 4):
            held += 1
            most = max(most, held)
            await asyncio.sleep(0.002)
            held -= 1

    await asyncio.gather(*(submit(store) for _ in range(40) for store in stores))
    assert (held, most) == (0, 4)


async def test_alone_a_replica_asks_once_for_many_submissions(opened: Opened) -> None:
    store: RedisStore = await opened()
    before = store.round_trips
    for _ in range(100):
        async with store.coordinator.slot(ACCOUNT, 4):
            await asyncio.sleep(0)
    assert store.round_trips - before <= 2


async def test_a_busy_replica_lets_the_other_have_its_turn(opened: Opened) -> None:
    busy, other = await opened(), await opened()
    done: list[str] = []

    async def submit(store: RedisStore, name: str) -> None:
        async with store.coordinator.slot(ACCOUNT, 1):
            await asyncio.sleep(0.01)
            done.append(name)

    many = [asyncio.create_task(submit(busy, "busy")) for _ in range(50)]
    await until(lambda: done)
    await submit(other, "other")
    assert len(done) < 45
    for task in many:
        task.cancel()
    await asyncio.gather(*many, return_exceptions=True)


async def test_permits_that_nobody_uses_go_where_they_are_wanted(opened: Opened) -> None:
    first, second = await opened(lease=1.0), await opened(lease=1.0)
    async with first.coordinator.slot(ACCOUNT, 1):
        pass
    async with asyncio.timeout(1.0), second.coordinator.slot(ACCOUNT, 1):
        pass
    async with asyncio.timeout(1.0), first.coordinator.slot(ACCOUNT, 1):
        pass


async def test_whoever_stops_waiting_for_a_permit_keeps_nobody_from_it(opened: Opened) -> None:
    first, second, third = await opened(), await opened(), await opened()
    async with first.coordinator.slot(ACCOUNT, 1):
        impatient = asyncio.create_task(second.coordinator.slot(ACCOUNT, 1).__aenter__())
        await asyncio.sleep(0.1)
        impatient.cancel()
        await asyncio.gather(impatient, return_exceptions=True)
    async with asyncio.timeout(1.5), third.coordinator.slot(ACCOUNT, 1):
        pass


async def test_a_killed_replicas_permits_come_back(opened: Opened) -> None:
    store: RedisStore = await opened(lease=0.5)
    async with child(store, "permit", 1) as other:
        waiting = asyncio.create_task(taken(store))
        done, _ = await asyncio.wait({waiting}, timeout=0.8)
        assert not done
        other.kill()
        await asyncio.wait_for(waiting, 3.0)


async def taken(store: RedisStore) -> None:
    async with store.coordinator.slot(ACCOUNT, 1):
        pass


# leases


async def test_a_job_that_another_living_replica_watches_cannot_be_claimed(opened: Opened) -> None:
    first, second = await opened(lease=0.3), await opened(lease=0.3)
    mine = record()
    await first.open(mine)
    await asyncio.sleep(0.5)
    assert not await second.coordinator.claim(mine)
    assert await first.coordinator.claim(mine)
    assert await orphans(second.coordinator) == []


async def test_a_killed_replicas_jobs_are_watched_by_another(opened: Opened) -> None:
    store: RedisStore = await opened(lease=0.5)
    async with child(store, "watch", 25) as other:
        await asyncio.sleep(0.6)
        assert await orphans(store.coordinator) == []
        other.kill()
        found: list[str] = []
        before = time.monotonic()
        while len(found) < 25:
            found += await orphans(store.coordinator)
            await asyncio.sleep(0.02)
            assert time.monotonic() - before < 3.0
    assert sorted(found) == sorted(f"job-{number}" for number in range(25))
    assert (await store.get("job-7")).snapshot.task_id == "task-7"  # type: ignore[union-attr]
    assert await orphans(store.coordinator) == []


async def test_two_replicas_share_what_a_third_left_and_none_twice(opened: Opened, redis_server: RedisServer) -> None:
    first, second = await opened(), await opened()
    async with RedisStore(first.url, prefix=first.prefix) as leaving:
        for number in range(250):
            await leaving.open(record(f"job-{number}"))
    parts = await asyncio.gather(orphans(first.coordinator), orphans(second.coordinator))
    assert sorted([*parts[0], *parts[1]]) == sorted(f"job-{number}" for number in range(250))


async def test_orphans_that_nobody_fetches_are_left_to_others(opened: Opened) -> None:
    first, second = await opened(lease=0.2), await opened()
    async with RedisStore(first.url, prefix=first.prefix) as leaving:
        for number in range(5):
            await leaving.open(record(f"job-{number}"))
    some = first.coordinator.orphans(ACCOUNT)
    fetched = (await anext(some)).key
    await some.aclose()
    rest: list[str] = []
    async with asyncio.timeout(3):
        while len(rest) < 4:
            rest += await orphans(second.coordinator)
            await asyncio.sleep(0.02)
    assert sorted([fetched, *rest]) == [f"job-{number}" for number in range(5)]


async def test_what_has_ended_or_was_released_is_nobodys_orphan(opened: Opened) -> None:
    second = await opened()
    async with RedisStore(second.url, prefix=second.prefix) as leaving:
        for key in ("ended", "released", "goes on"):
            await leaving.open(record(key))
        await leaving.put(finished(accepted(record("ended"))))
        await leaving.coordinator.release(record("released"))
    assert await orphans(second.coordinator) == ["goes on"]
    assert sorted([each.key async for each in second.unfinished()]) == ["goes on", "released"]
    assert await second.coordinator.claim(record("released"))


async def test_a_left_job_is_an_orphan_at_once(opened: Opened) -> None:
    first, second = await opened(), await opened()
    await first.open(record())
    await first.coordinator.hand_over(record())
    assert await orphans(second.coordinator) == ["job-1"]
    assert not await first.coordinator.claim(record())


async def test_a_replica_that_was_away_finds_its_jobs_with_others_and_keeps_the_rest(opened: Opened) -> None:
    first, second = await opened(lease=0.4), await opened(lease=0.4)
    await first.open(record("old"))
    time.sleep(0.6)  # noqa: ASYNC251 - its loop stands still, heartbeat and all
    assert await orphans(second.coordinator) == ["old"]
    await first.open(record("new"))
    await asyncio.sleep(0.8)
    assert await orphans(second.coordinator) == []
    assert not await first.coordinator.claim(record("old"))
    assert not await second.coordinator.claim(record("new"))


async def test_jobs_of_another_account_are_left_alone(opened: Opened) -> None:
    second = await opened()
    async with RedisStore(second.url, prefix=second.prefix) as leaving:
        await leaving.open(record())
    assert await orphans(second.coordinator, "picwish-1") == []
    assert await orphans(second.coordinator) == ["job-1"]


# bells


async def test_a_callback_at_one_replica_rings_at_the_other(opened: Opened) -> None:
    first, second = await opened(), await opened()
    at_first: list[tuple[str, Delivery]] = []
    at_second: list[tuple[str, Delivery]] = []
    first.coordinator.subscribe(lambda *news: at_first.append(news))
    await heard(first, second)
    await heard(second, first)
    at_first.clear()
    second.coordinator.subscribe(lambda *news: at_second.append(news))
    await first.open(record(callback="c" * 32))
    body = bytes(range(256)) + b"\n\n"
    assert await second.coordinator.forward("c" * 32, Delivery(body, 'multipart/x; boundary="ä\n"'))
    await until(lambda: at_first)
    assert at_first == [("c" * 32, Delivery(body, 'multipart/x; boundary="ä\n"'))]
    assert at_second == []


async def test_a_callback_of_no_job_rings_nowhere(opened: Opened) -> None:
    first, second = await opened(), await opened()
    rung: list[str] = []
    await heard(second, first)
    first.coordinator.subscribe(lambda callback, _: rung.append(callback))
    await second.open(record(callback="c" * 32))
    assert not await second.coordinator.forward("d" * 32, Delivery(b"forged"))
    assert await second.coordinator.forward("c" * 32, Delivery(b""))
    await until(lambda: rung)
    assert rung == ["c" * 32]


async def test_a_body_that_is_too_large_is_left_out_and_rings_all_the_same(opened: Opened) -> None:
    first, second = await opened(), await opened()
    rung: list[Delivery] = []
    await heard(second, first)
    first.coordinator.subscribe(lambda _, delivery: rung.append(delivery))
    await first.open(record(callback="c" * 32))
    await second.coordinator.forward("c" * 32, Delivery(b"x" * (64 << 10)))
    await second.coordinator.forward("c" * 32, Delivery(b"x" * ((64 << 10) + 1)))
    await until(lambda: len(rung) == 2)
    assert [len(delivery.body) for delivery in rung] == [64 << 10, 0]


async def test_a_listener_that_fails_keeps_no_other_from_hearing(
    opened: Opened, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = await opened(), await opened()
    rung: list[Delivery] = []
    await heard(second, first)
    await first.open(record(callback="c" * 32))
    silent = first.coordinator.subscribe(lambda *_: 1 / 0)
    await second.coordinator.forward("c" * 32, Delivery(b"1"))
    await until(lambda: "could not be taken" in caplog.text)
    silent()
    first.coordinator.subscribe(lambda _, delivery: rung.append(delivery))
    await second.coordinator.forward("c" * 32, Delivery(b"2"))
    await until(lambda: rung)
    assert [delivery.body for delivery in rung] == [b"2"]


async def test_closing_the_store_lets_nobody_wait_on(opened: Opened, redis_server: RedisServer) -> None:
    holder: RedisStore = await opened()
    async with holder.coordinator.slot(ACCOUNT, 1):
        async with RedisStore(holder.url, prefix=holder.prefix) as leaving:
            waiting = asyncio.create_task(taken(leaving))
            await asyncio.sleep(0.05)
        with pytest.raises(StoreError, match="closed"):
            await waiting
