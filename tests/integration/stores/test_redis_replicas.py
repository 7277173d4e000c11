"""What replicas on one Redis share: rate limit, submit slots, leases and callbacks; and what happens when one dies."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from aiowatermark import Delivery, RedisStore, StoreError
from aiowatermark.stores.coordination import Coordinator
from tests.support.processes import Running, running_python
from tests.support.records import ACCOUNT, accept, finish, make_record
from tests.support.redis_server import RedisServer
from tests.support.stores import OpenStore, get_record, list_keys, use_slot
from tests.support.waiting import wait_until

CHILD = Path(__file__).with_name("redis_child.py")


@asynccontextmanager
async def child_replica(store: RedisStore, mode: str, count: int = 0) -> AsyncIterator[Running]:
    """Run another replica, in another process; see redis_child.py."""
    arguments = (store.url, store.prefix, str(store.lease), mode, str(count))
    async with running_python(CHILD, *arguments) as child:
        await child.wait_for_output("ready")
        yield child


async def list_orphans(coordinator: Coordinator, account: str = ACCOUNT) -> list[str]:
    return await list_keys(coordinator.orphans(account))


# keys


async def test_of_two_processes_that_open_a_key_exactly_one_inserts(open_store: OpenStore) -> None:
    store = await open_store()
    async with child_replica(store, "open", 300) as other:
        other.write_line("go")
        known = await asyncio.gather(*(store.open(make_record(f"job-{number}")) for number in range(300)))
        theirs = (await other.read_line()).split(",")
    ours = [f"job-{number}" for number in range(300) if known[number] is None]
    assert sorted([*ours, *filter(None, theirs)]) == sorted(f"job-{number}" for number in range(300))


# rate limit


async def record_request_times(open_store: OpenStore) -> list[float]:
    """Make 60 requests at 100 per second, from two replicas with two tasks each; returns when each was admitted."""
    stores = [await open_store(), await open_store()]
    times: list[float] = []

    async def send_requests(store: RedisStore) -> None:
        for _ in range(15):
            await store.coordinator.acquire(ACCOUNT, 100.0, is_submission=True)
            times.append(time.monotonic())

    await asyncio.gather(*(send_requests(store) for store in stores for _ in range(2)))
    assert len(times) == 60
    return sorted(times)


async def test_two_replicas_together_never_exceed_the_rate_limit(open_store: OpenStore) -> None:
    times = await record_request_times(open_store)
    # a busy machine can only delay a request: the time since the first one has this lower bound on every machine
    for number, admitted in enumerate(times):
        assert admitted - times[0] >= (number - 1) / 100.0 - 0.01


@pytest.mark.benchmark
async def test_ten_requests_of_two_replicas_take_a_tenth_of_a_second(open_store: OpenStore) -> None:
    times = await record_request_times(open_store)
    for first, eleventh in zip(times, times[10:], strict=False):
        assert eleventh - first >= 0.1 - 0.03


async def test_concurrent_requests_are_reserved_in_one_round_trip(open_store: OpenStore) -> None:
    store = await open_store()
    before = store.round_trips
    await asyncio.gather(*(store.coordinator.acquire(ACCOUNT, 10_000.0, is_submission=True) for _ in range(500)))
    assert store.round_trips - before <= 3


async def test_without_a_rate_limit_no_round_trip_is_made(open_store: OpenStore) -> None:
    store = await open_store()
    before = store.round_trips
    for _ in range(100):
        await store.coordinator.acquire(ACCOUNT, None, is_submission=True)
    assert store.round_trips == before


@pytest.mark.parametrize("rate", [None, 1000.0])
async def test_a_pause_that_the_provider_demands_applies_to_all_replicas(
    open_store: OpenStore, rate: float | None
) -> None:
    first, second = await open_store(), await open_store()
    for store in (first, second):
        store.coordinator.subscribe(lambda *_: None)
        await store.coordinator.acquire(ACCOUNT, rate, is_submission=True)
    await wait_for_pubsub(first, second)
    before = time.monotonic()
    await first.coordinator.pause(ACCOUNT, 0.3)
    if rate is None:
        # messages of one replica arrive in order: after this one, the other replica knows the pause
        await wait_for_pubsub(first, second)
    await asyncio.gather(*(store.coordinator.acquire(ACCOUNT, rate, is_submission=False) for store in (first, second)))
    assert time.monotonic() - before >= 0.29


async def wait_for_pubsub(sender: RedisStore, receiver: RedisStore) -> None:
    """Wait until messages of one replica arrive at the other."""
    callback, received = "hello" * 6, []
    await sender.open(record := make_record("hello", callback=callback))
    unsubscribe = receiver.coordinator.subscribe(lambda *arguments: received.append(arguments))
    async with asyncio.timeout(30):
        while not received:
            await sender.coordinator.forward(callback, Delivery(b""))
            await asyncio.sleep(0.01)
    unsubscribe()
    await sender.forget(record)


# submit slots


async def test_all_replicas_together_never_use_more_slots_than_the_limit(open_store: OpenStore) -> None:
    stores = [await open_store(), await open_store(), await open_store()]
    used = peak = 0

    async def submit(store: RedisStore) -> None:
        nonlocal used, peak
        async with store.coordinator.slot(ACCOUNT, 4):
            used += 1
            peak = max(peak, used)
            await asyncio.sleep(0.002)
            used -= 1

    await asyncio.gather(*(submit(store) for _ in range(40) for store in stores))
    assert (used, peak) == (0, 4)


async def test_a_lone_replica_needs_one_request_for_many_submissions(open_store: OpenStore) -> None:
    store = await open_store()
    before = store.round_trips
    for _ in range(100):
        async with store.coordinator.slot(ACCOUNT, 4):
            await asyncio.sleep(0)
    assert store.round_trips - before <= 2


async def test_a_busy_replica_does_not_starve_another_one(open_store: OpenStore) -> None:
    busy, other = await open_store(), await open_store()
    done: list[str] = []

    async def submit(store: RedisStore, name: str) -> None:
        async with store.coordinator.slot(ACCOUNT, 1):
            await asyncio.sleep(0.01)
            done.append(name)

    tasks = [asyncio.create_task(submit(busy, "busy")) for _ in range(50)]
    await wait_until(lambda: done)
    await submit(other, "other")
    assert len(done) < 45
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_unused_slots_go_to_the_replica_that_waits(open_store: OpenStore) -> None:
    # a lease so long that neither its end nor a heartbeat can return the slot
    first, second = await open_store(lease=600.0), await open_store(lease=600.0)
    async with first.coordinator.slot(ACCOUNT, 1):
        pass
    async with asyncio.timeout(30), second.coordinator.slot(ACCOUNT, 1):
        pass
    async with asyncio.timeout(30), first.coordinator.slot(ACCOUNT, 1):
        pass


async def test_a_replica_that_stops_waiting_for_a_slot_blocks_no_other(open_store: OpenStore) -> None:
    first, second, third = [await open_store(lease=600.0) for _ in range(3)]
    async with first.coordinator.slot(ACCOUNT, 1):
        waiting = asyncio.create_task(second.coordinator.slot(ACCOUNT, 1).__aenter__())
        await asyncio.sleep(0.1)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    async with asyncio.timeout(30), third.coordinator.slot(ACCOUNT, 1):
        pass


@pytest.mark.slow
async def test_the_slots_of_a_killed_replica_become_free(open_store: OpenStore) -> None:
    store = await open_store(lease=2.0)
    async with child_replica(store, "slot", 1) as other:
        waiting = asyncio.create_task(use_slot(store, 1))
        done, _ = await asyncio.wait({waiting}, timeout=2.5)
        assert not done
        other.process.kill()
        await asyncio.wait_for(waiting, 30)


# leases: where a living replica has to renew one, it lasts two seconds, which even a busy machine keeps


@pytest.mark.slow
async def test_a_job_that_is_leased_to_a_living_replica_cannot_be_claimed(open_store: OpenStore) -> None:
    first, second = await open_store(lease=2.0), await open_store(lease=2.0)
    record = make_record()
    await first.open(record)
    await asyncio.sleep(3.0)
    assert not await second.coordinator.claim(record)
    assert await first.coordinator.claim(record)
    assert await list_orphans(second.coordinator) == []


@pytest.mark.slow
async def test_another_replica_adopts_the_jobs_of_a_killed_one(open_store: OpenStore) -> None:
    store = await open_store(lease=2.0)
    async with child_replica(store, "watch", 25) as other:
        await asyncio.sleep(2.5)
        assert await list_orphans(store.coordinator) == []
        other.process.kill()
        found: list[str] = []
        async with asyncio.timeout(30):
            while len(found) < 25:
                found += await list_orphans(store.coordinator)
                await asyncio.sleep(0.02)
    assert sorted(found) == sorted(f"job-{number}" for number in range(25))
    assert (await get_record(store, "job-7")).snapshot.task_id == "task-7"
    assert await list_orphans(store.coordinator) == []


async def test_two_replicas_adopt_the_jobs_of_a_third_and_none_twice(
    open_store: OpenStore, redis_server: RedisServer
) -> None:
    first, second = await open_store(), await open_store()
    async with RedisStore(first.url, prefix=first.prefix) as leaving:
        for number in range(250):
            await leaving.open(make_record(f"job-{number}"))
    adopted = await asyncio.gather(list_orphans(first.coordinator), list_orphans(second.coordinator))
    assert sorted([*adopted[0], *adopted[1]]) == sorted(f"job-{number}" for number in range(250))


async def test_orphans_that_are_not_fetched_are_left_to_other_replicas(open_store: OpenStore) -> None:
    first, second = await open_store(lease=0.2), await open_store()
    async with RedisStore(first.url, prefix=first.prefix) as leaving:
        for number in range(5):
            await leaving.open(make_record(f"job-{number}"))
    iterator = first.coordinator.orphans(ACCOUNT)
    fetched = (await anext(iterator)).key
    assert isinstance(iterator, AsyncGenerator)
    await iterator.aclose()
    rest: list[str] = []
    async with asyncio.timeout(30):
        while len(rest) < 4:
            rest += await list_orphans(second.coordinator)
            await asyncio.sleep(0.02)
    assert sorted([fetched, *rest]) == [f"job-{number}" for number in range(5)]


async def test_released_jobs_and_results_that_were_taken_are_not_orphans(open_store: OpenStore) -> None:
    second = await open_store()
    async with RedisStore(second.url, prefix=second.prefix) as leaving:
        for key in ("finished", "released", "unfinished"):
            await leaving.open(make_record(key))
        await leaving.put(done := finish(accept(make_record("finished"))))
        await leaving.acknowledge([done])
        await leaving.coordinator.release(make_record("released"))
    assert await list_orphans(second.coordinator) == ["unfinished"]
    assert sorted([each.key async for each in second.unfinished()]) == ["released", "unfinished"]
    assert await second.coordinator.claim(make_record("released"))


async def test_a_result_that_nobody_took_is_an_orphan(open_store: OpenStore) -> None:
    second = await open_store()
    async with RedisStore(second.url, prefix=second.prefix) as leaving:
        await leaving.open(make_record("finished"))
        await leaving.put(finish(accept(make_record("finished"))))
    assert await list_orphans(second.coordinator) == ["finished"]


async def test_a_job_that_is_handed_over_is_an_orphan_immediately(open_store: OpenStore) -> None:
    first, second = await open_store(), await open_store()
    await first.open(make_record())
    await first.coordinator.hand_over(make_record())
    assert await list_orphans(second.coordinator) == ["job-1"]
    assert not await first.coordinator.claim(make_record())


@pytest.mark.slow
async def test_a_replica_that_stood_still_loses_adopted_jobs_and_keeps_new_ones(open_store: OpenStore) -> None:
    first, second = await open_store(lease=2.0), await open_store(lease=2.0)
    await first.open(make_record("old"))
    time.sleep(2.5)  # noqa: ASYNC251 - blocks the event loop, so that no heartbeat is sent
    assert await list_orphans(second.coordinator) == ["old"]
    await first.open(make_record("new"))
    await asyncio.sleep(3.0)
    assert await list_orphans(second.coordinator) == []
    assert not await first.coordinator.claim(make_record("old"))
    assert not await second.coordinator.claim(make_record("new"))


async def test_jobs_of_another_account_are_left_alone(open_store: OpenStore) -> None:
    second = await open_store()
    async with RedisStore(second.url, prefix=second.prefix) as leaving:
        await leaving.open(make_record())
    assert await list_orphans(second.coordinator, "picwish-1") == []
    assert await list_orphans(second.coordinator) == ["job-1"]


# callbacks


async def test_a_callback_at_one_replica_is_forwarded_to_the_other(open_store: OpenStore) -> None:
    first, second = await open_store(), await open_store()
    in_first: list[tuple[str, Delivery]] = []
    in_second: list[tuple[str, Delivery]] = []
    first.coordinator.subscribe(lambda *arguments: in_first.append(arguments))
    await wait_for_pubsub(first, second)
    await wait_for_pubsub(second, first)
    in_first.clear()
    second.coordinator.subscribe(lambda *arguments: in_second.append(arguments))
    await first.open(make_record(callback="c" * 32))
    body = bytes(range(256)) + b"\n\n"
    assert await second.coordinator.forward("c" * 32, Delivery(body, 'multipart/x; boundary="ä\n"'))
    await wait_until(lambda: in_first)
    assert in_first == [("c" * 32, Delivery(body, 'multipart/x; boundary="ä\n"'))]
    assert in_second == []


async def test_a_callback_of_an_unknown_job_is_not_forwarded(open_store: OpenStore) -> None:
    first, second = await open_store(), await open_store()
    received: list[str] = []
    await wait_for_pubsub(second, first)
    first.coordinator.subscribe(lambda callback, _: received.append(callback))
    await second.open(make_record(callback="c" * 32))
    assert not await second.coordinator.forward("d" * 32, Delivery(b"forged"))
    assert await second.coordinator.forward("c" * 32, Delivery(b""))
    await wait_until(lambda: received)
    assert received == ["c" * 32]


async def test_a_callback_with_a_large_body_is_forwarded_without_it(open_store: OpenStore) -> None:
    first, second = await open_store(), await open_store()
    received: list[Delivery] = []
    await wait_for_pubsub(second, first)
    first.coordinator.subscribe(lambda _, delivery: received.append(delivery))
    await first.open(make_record(callback="c" * 32))
    await second.coordinator.forward("c" * 32, Delivery(b"x" * (64 << 10)))
    await second.coordinator.forward("c" * 32, Delivery(b"x" * ((64 << 10) + 1)))
    await wait_until(lambda: len(received) == 2)
    assert [len(delivery.body) for delivery in received] == [64 << 10, 0]


async def test_a_listener_that_raises_does_not_end_the_subscription(
    open_store: OpenStore, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = await open_store(), await open_store()
    received: list[Delivery] = []
    await wait_for_pubsub(second, first)
    await first.open(make_record(callback="c" * 32))
    unsubscribe = first.coordinator.subscribe(lambda *_: 1 / 0)
    await second.coordinator.forward("c" * 32, Delivery(b"1"))
    await wait_until(lambda: "could not be processed" in caplog.text)
    unsubscribe()
    first.coordinator.subscribe(lambda _, delivery: received.append(delivery))
    await second.coordinator.forward("c" * 32, Delivery(b"2"))
    await wait_until(lambda: received)
    assert [delivery.body for delivery in received] == [b"2"]


async def test_a_listener_that_raises_keeps_no_later_listener_from_being_called(
    open_store: OpenStore, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = await open_store(), await open_store()
    received: list[bytes] = []
    await wait_for_pubsub(second, first)
    await first.open(make_record(callback="c" * 32))
    first.coordinator.subscribe(lambda *_: 1 / 0)
    first.coordinator.subscribe(lambda _, delivery: received.append(delivery.body))
    await second.coordinator.forward("c" * 32, Delivery(b"1"))
    await wait_until(lambda: received or "could not be processed" in caplog.text)
    assert received == [b"1"]
    assert "ZeroDivisionError" in caplog.text


async def test_closing_the_store_fails_the_tasks_that_wait_for_a_slot(
    open_store: OpenStore, redis_server: RedisServer
) -> None:
    holder = await open_store()
    async with holder.coordinator.slot(ACCOUNT, 1):
        async with RedisStore(holder.url, prefix=holder.prefix) as leaving:
            waiting = asyncio.create_task(use_slot(leaving, 1))
            await asyncio.sleep(0.05)
        with pytest.raises(StoreError, match="closed"):
            await waiting
