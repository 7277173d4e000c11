"""A Redis that forgets its latest writes while two clients ask for the same keys: each key is charged once.

The files of Redis are copied early and put back after a kill, so that jobs that have just ended and jobs that run are
forgotten: an append-only file whose last second was not written, an RDB file, or nothing at all. The first client lives
on and polls its jobs; the second one is new and asks for all keys at once, before the first one talks to Redis again.
"""

from __future__ import annotations

import asyncio

import pytest

import aiowatermark as aw
from aiowatermark.emulator import Emulator
from tests.support.images import make_jpeg
from tests.support.redis_server import RedisServer

JOBS = 16
LEASE = 2.0


def create_client(emulator: Emulator, server: RedisServer) -> aw.Client:
    store = aw.RedisStore(server.url, lease=LEASE)
    provider = aw.GptGe(str(emulator.keys["gptge"]), base_url=emulator.base_url, polling=aw.Polling(0.1, 1.0, 0.1))
    return aw.Client(provider, store=store, deadline=60)


async def remove(client: aw.Client, key: str) -> str | None:
    """Return the task id of a job; try again while the store is unavailable, as a service would."""
    while True:
        try:
            return (await client.remove(make_jpeg(), key=key)).snapshot.task_id
        except aw.StoreError:
            await asyncio.sleep(0.05)


async def remove_all(client: aw.Client, *kinds: str) -> list[str | None]:
    keys = [f"{kind}-{number}" for kind in kinds for number in range(JOBS)]
    return await asyncio.gather(*(remove(client, key) for key in keys))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["append-only file", "RDB file", "nothing"])
async def test_every_key_is_charged_once_though_redis_forgets(kind: str) -> None:
    with RedisServer(persistent=kind == "append-only file") as server:
        server.skip_quiet_time()
        async with (
            Emulator(restore=False, processing=0.5) as emulator,
            create_client(emulator, server) as first,
            asyncio.timeout(60),
        ):
            await remove_all(first, "known")
            if kind == "RDB file":
                server.execute("SAVE")
            copy = server.copy_files()
            ended = await remove_all(first, "ended")
            for number in range(JOBS):
                await first.submit(make_jpeg(), key=f"running-{number}")
            server.restart(copy)
            async with create_client(emulator, server) as second:
                of_second = await remove_all(second, "ended", "running", "new")
                of_first = await remove_all(first, "running", "new")
        assert of_second == ended + of_first
        assert emulator.charged["gptge"] == 4 * JOBS
