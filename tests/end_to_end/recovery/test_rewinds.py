"""A Redis that forgets its latest writes while two clients ask for the same keys: each key is charged once.

The files of Redis are copied while jobs are being submitted and put back after a kill a moment later: that is an
append-only file whose last second was not written, an RDB file, or nothing at all. The first client lives on; the
second one is new and asks for all keys at once. Both try again whenever the store is unavailable, as a service would.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

import aiowatermark as aw
from aiowatermark.emulator import Emulator
from tests.support.images import make_jpeg
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until

JOBS = 48
LEASE = 2.0


def create_client(emulator: Emulator, server: RedisServer) -> aw.Client:
    store = aw.RedisStore(server.url, lease=LEASE)
    provider = aw.GptGe(str(emulator.keys["gptge"]), base_url=emulator.base_url, polling=aw.Polling(0.1, 1.0, 0.1))
    return aw.Client(provider, store=store, limits=aw.Limits(submissions=4), deadline=60)


async def remove(client: aw.Client, number: int) -> aw.Result:
    while True:
        try:
            return await client.remove(make_jpeg(padding=number), key=f"job-{number}")
        except aw.StoreError:
            await asyncio.sleep(0.05)


def remove_all(client: aw.Client) -> Sequence[asyncio.Task[aw.Result]]:
    return [asyncio.create_task(remove(client, number)) for number in range(JOBS)]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["append-only file", "RDB file", "nothing"])
async def test_every_key_is_charged_once_though_redis_forgets(kind: str) -> None:
    with RedisServer(persistent=kind == "append-only file") as server:
        server.skip_quiet_time()
        async with Emulator(restore=False, processing=0.2) as emulator, asyncio.timeout(60):
            async with create_client(emulator, server) as first:
                tasks = [*remove_all(first)]
                await wait_until(lambda: emulator.charged["gptge"] >= JOBS // 4)
                if kind == "RDB file":
                    server.execute("SAVE")
                copy = server.copy_files()
                # jobs that run, that have just ended and that are being submitted are forgotten
                await wait_until(lambda: emulator.charged["gptge"] >= JOBS // 2)
                server.restart(copy)
                async with create_client(emulator, server) as second:
                    tasks += remove_all(second)
                    results = await asyncio.gather(*tasks)
            tasks_of_first, tasks_of_second = results[:JOBS], results[JOBS:]
            assert [each.snapshot.task_id for each in tasks_of_first] == [
                each.snapshot.task_id for each in tasks_of_second
            ]
            assert emulator.charged["gptge"] == JOBS
