"""Two replicas on one Redis: bells ring across, the dead are replaced, and an outage of Redis pays nothing twice."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import aiowatermark as aw
from aiowatermark.emulator import CallbackScript, Emulator
from tests.support.redis_server import RedisServer

ROOT = Path(__file__).parents[3]
QUICK = aw.Polling(0.05, 1.0, 0.1)


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with RedisServer(persistent=True) as server:
        yield server


@pytest.fixture
async def slow() -> AsyncIterator[Emulator]:
    async with Emulator(restore=False, processing=1.5) as emulator:
        yield emulator


def client(emulator: Emulator, redis: RedisServer, **settings: Any) -> aw.Client:
    store = aw.RedisStore(redis.url, lease=0.5)
    return aw.Client(emulator.provider("gptge"), store=store, deadline=60, **settings)


async def test_a_replica_killed_in_the_middle_is_replaced_and_pays_nothing_twice(
    slow: Emulator, redis: RedisServer
) -> None:
    key = slow.keys["gptge"]
    assert isinstance(key, str)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(Path(__file__).with_name("replica.py")),
        *(redis.url, slow.base_url, key, "6"),
        stdout=asyncio.subprocess.PIPE,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
    )
    assert process.stdout is not None
    assert await asyncio.wait_for(process.stdout.readline(), 30) == b"submitted\n"
    async with client(slow, redis) as other:
        process.kill()
        await process.wait()
        store = other._store
        async with asyncio.timeout(20):
            while [record async for record in store.unfinished()]:  # noqa: ASYNC110 - the store tells nobody
                await asyncio.sleep(0.05)
        records = [await store.get(f"job-{number}") for number in range(6)]
    assert [record.snapshot.status for record in records if record] == [aw.Status.SUCCEEDED] * 6
    assert slow.charged["gptge"] == 6


async def test_a_callback_at_one_replica_wakes_the_awaiter_at_another(
    redis: RedisServer, picture: Callable[..., bytes]
) -> None:
    async with Emulator(restore=False, processing=0.3) as emulator:
        here = aw.CallbackReceiver("http://127.0.0.1:1")
        there = aw.CallbackReceiver("http://127.0.0.1:1")
        async with aw.CallbackServer(there, port=0) as server:
            here.public_url = f"http://127.0.0.1:{server.port}"
            async with client(emulator, redis, callbacks=here) as first, client(emulator, redis, callbacks=there):
                result = await first.remove(picture())
        assert result.url
        assert emulator.tasks[0].queries == 1
    assert there.counts["elsewhere"] == 1
    assert here.counts["from elsewhere"] == 1


async def test_the_same_key_at_two_replicas_is_paid_once(
    slow: Emulator, redis: RedisServer, picture: Callable[..., bytes]
) -> None:
    async with client(slow, redis) as first, client(slow, redis) as second:
        both = (running.remove(picture(), key="order-1") for running in (first, second))
        results = await asyncio.gather(*both)
    assert results[0].snapshot.task_id == results[1].snapshot.task_id
    assert slow.charged["gptge"] == 1


async def test_limits_hold_for_all_replicas_together(redis: RedisServer, picture: Callable[..., bytes]) -> None:
    async with Emulator(restore=False, processing=0.0) as emulator:
        limits = aw.Limits(submissions=2, requests_per_second=20)
        loop = asyncio.get_running_loop()
        async with (
            client(emulator, redis, limits=limits, polling=QUICK) as first,
            client(emulator, redis, limits=limits, polling=QUICK) as second,
        ):
            began = loop.time()
            await asyncio.gather(*(running.remove(picture()) for running in (first, second) for _ in range(5)))
            spent = loop.time() - began
        requests = len(emulator.tasks) + sum(task.queries for task in emulator.tasks)
    assert requests / spent <= 20 * 1.25 + 1


async def test_while_redis_is_gone_nothing_new_is_paid_and_waiting_jobs_go_on(
    slow: Emulator, redis: RedisServer, picture: Callable[..., bytes]
) -> None:
    slow.script(CallbackScript(lost=True), times=None)
    async with client(slow, redis, polling=QUICK) as running:
        handle = await running.submit(picture(), key="before")
        redis.kill()
        with pytest.raises(aw.StoreError):
            await running.submit(picture(), key="during")
        assert (await handle).url
        assert slow.charged["gptge"] == 1
        redis.start()
        async with asyncio.timeout(30):
            result = await _once_it_is_back(running, picture())
    assert result.url
    assert slow.charged["gptge"] == 2


async def _once_it_is_back(running: aw.Client, picture: bytes) -> aw.Result:
    while True:
        try:
            return await running.remove(picture, key="after")
        except aw.StoreError:
            await asyncio.sleep(0.1)
