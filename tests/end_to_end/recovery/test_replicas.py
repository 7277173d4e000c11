"""Two replicas that share one Redis: callbacks are forwarded, jobs of a dead replica adopted, outages survived.

Replicas are clients in this process with a Redis store each, except in the kill test, where one is a process
(`replica.py`) that is killed with SIGKILL after its jobs were accepted. Its lease of half a second then expires on
Redis's clock, and the other replica must adopt the jobs and finish them without paying again. Redis is a real server
started for each test; it is persistent, so that it has its data again after a kill and a restart.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

import aiowatermark as aw
from aiowatermark.emulator import CallbackScript, Emulator
from tests.support.callback_server import serve_callbacks
from tests.support.images import make_jpeg
from tests.support.processes import start_python
from tests.support.redis_server import RedisServer

REPLICA = Path(__file__).with_name("replica.py")
FAST_POLLING = aw.Polling(0.05, 1.0, 0.1)


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    """A Redis that has its data again after a kill and a restart."""
    with RedisServer(persistent=True) as server:
        server.skip_quiet_time()
        yield server


@pytest.fixture
async def slow_emulator() -> AsyncIterator[Emulator]:
    """An emulator that processes a job in 1.5 seconds."""
    async with Emulator(restore=False, processing=1.5) as emulator:
        yield emulator


def create_client(emulator: Emulator, redis: RedisServer, **settings: Any) -> aw.Client:
    store = aw.RedisStore(redis.url, lease=0.5)
    return aw.Client(emulator.provider("gptge"), store=store, deadline=60, **settings)


@pytest.mark.slow
async def test_jobs_of_a_killed_replica_are_adopted_and_paid_once(slow_emulator: Emulator, redis: RedisServer) -> None:
    key = slow_emulator.keys["gptge"]
    assert isinstance(key, str)
    replica = await start_python(REPLICA, redis.url, slow_emulator.base_url, key, "6")
    await replica.wait_for_output("submitted")
    async with create_client(slow_emulator, redis) as other:
        await replica.kill()
        store = other._state.store
        async with asyncio.timeout(20):
            while [record async for record in store.unfinished()]:  # noqa: ASYNC110 - a store has no event to wait for
                await asyncio.sleep(0.05)
        records = [await store.get(f"job-{number}") for number in range(6)]
    assert [record.snapshot.status for record in records if record] == [aw.Status.SUCCEEDED] * 6
    assert slow_emulator.charged["gptge"] == 6


async def test_a_callback_received_by_one_replica_wakes_the_awaiter_at_another(redis: RedisServer) -> None:
    async with Emulator(restore=False, processing=0.3) as emulator:
        waiting = aw.CallbackReceiver("http://127.0.0.1:1")
        receiving = aw.CallbackReceiver("http://127.0.0.1:1")
        async with serve_callbacks(receiving):
            # the provider calls the replica that does not wait for the job
            waiting.public_url = receiving.public_url
            async with (
                create_client(emulator, redis, callbacks=waiting) as client,
                create_client(emulator, redis, callbacks=receiving),
            ):
                result = await client.remove(make_jpeg())
        assert result.url
        assert emulator.tasks[0].queries == 1
    assert receiving.counts["elsewhere"] == 1
    assert waiting.counts["from elsewhere"] == 1


async def test_closing_one_of_two_clients_on_a_receiver_leaves_the_forwarding_of_the_other(redis: RedisServer) -> None:
    async with Emulator(restore=False, processing=0.3) as emulator:
        waiting = aw.CallbackReceiver("http://127.0.0.1:1")
        shared = aw.CallbackReceiver("http://127.0.0.1:1")
        async with serve_callbacks(shared):
            waiting.public_url = shared.public_url
            async with (
                create_client(emulator, redis, callbacks=waiting) as client,
                create_client(emulator, redis, callbacks=shared),
            ):
                async with create_client(emulator, redis, callbacks=shared):
                    pass
                assert (await client.remove(make_jpeg())).url
        assert emulator.tasks[0].queries == 1
    assert shared.counts["elsewhere"] == 1
    assert shared.counts["unknown"] == 0


async def test_a_key_submitted_at_two_replicas_is_paid_once(slow_emulator: Emulator, redis: RedisServer) -> None:
    async with create_client(slow_emulator, redis) as first, create_client(slow_emulator, redis) as second:
        jobs = (client.remove(make_jpeg(), key="order-1") for client in (first, second))
        results = await asyncio.gather(*jobs)
    assert results[0].snapshot.task_id == results[1].snapshot.task_id
    assert slow_emulator.charged["gptge"] == 1


async def test_rate_limits_are_shared_by_all_replicas(redis: RedisServer) -> None:
    async with Emulator(restore=False, processing=0.0) as emulator:
        limits = aw.Limits(submissions=2, requests_per_second=20)
        loop = asyncio.get_running_loop()
        async with (
            create_client(emulator, redis, limits=limits, polling=FAST_POLLING) as first,
            create_client(emulator, redis, limits=limits, polling=FAST_POLLING) as second,
        ):
            started_at = loop.time()
            await asyncio.gather(*(client.remove(make_jpeg()) for client in (first, second) for _ in range(5)))
            seconds = loop.time() - started_at
        requests = len(emulator.tasks) + sum(task.queries for task in emulator.tasks)
    assert requests / seconds <= 20 * 1.25 + 1


@pytest.mark.slow
async def test_while_redis_is_down_nothing_new_is_paid_and_waiting_jobs_continue(
    slow_emulator: Emulator, redis: RedisServer
) -> None:
    slow_emulator.script(CallbackScript(lost=True), times=None)
    async with create_client(slow_emulator, redis, polling=FAST_POLLING) as client:
        handle = await client.submit(make_jpeg(), key="before")
        redis.kill()
        with pytest.raises(aw.StoreError):
            await client.submit(make_jpeg(), key="during")
        assert (await handle).url
        assert slow_emulator.charged["gptge"] == 1
        redis.start()
        async with asyncio.timeout(30):
            result = await _remove_when_redis_is_back(client, make_jpeg())
    assert result.url
    assert slow_emulator.charged["gptge"] == 2


async def _remove_when_redis_is_back(client: aw.Client, image: bytes) -> aw.Result:
    while True:
        try:
            return await client.remove(image, key="after")
        except aw.StoreError:
            await asyncio.sleep(0.1)
