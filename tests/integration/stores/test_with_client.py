"""Clients with a SQLiteStore against the five APIs: a key is paid once, in however many clients and processes."""

from __future__ import annotations

import asyncio
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

import aiowatermark as aw
from aiowatermark.emulator import Emulator
from tests.support.images import make_jpeg, make_mask
from tests.support.media_sources import stream_of
from tests.support.processes import Running, start_python
from tests.support.stores import list_result_files

NAMES = ["gptge", "picwish", "kaze", "photoeraser", "dewatermark"]
REMOVE = """
import asyncio, hashlib, json, sys
import aiowatermark as aw
async def main(name, credentials, base_url, store, key, media, mask):
    provider = aw.provider_class(name)(*credentials, base_url=base_url, polling=aw.Polling(0.05, 1, 1))
    async with aw.Client(provider, store=aw.SQLiteStore(store)) as client:
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        result = await client.remove(media, mask=mask, key=key)
        print(hashlib.sha256(await result.read()).hexdigest(), flush=True)
asyncio.run(main(*json.loads(sys.argv[1])))
"""


def make_job(emulator: Emulator, name: str, data: bytes) -> dict[str, Any]:
    """Arguments of `remove` that the provider accepts: a link to an image, and a mask if it requires one."""
    return {"media": emulator.host(data), "mask": emulator.host(data) if name == "photoeraser" else None}


@pytest.mark.parametrize("name", NAMES)
async def test_the_same_key_after_reopening_gives_the_same_result_and_is_paid_once(
    emulator: Emulator, tmp_path: Path, name: str
) -> None:
    data = make_jpeg(300, 300, padding=300_001)
    job, path = make_job(emulator, name, data), tmp_path / "jobs.db"
    for _ in range(3):
        async with aw.Client(emulator.provider(name), store=aw.SQLiteStore(path)) as client:
            result = await client.remove(**job, key="order-4711")
            assert await result.read() == data
            saved = await result.save(tmp_path / "clean.jpg")
            assert saved.read_bytes() == data
    assert emulator.charged[name] == 1


async def test_a_result_that_came_as_bytes_is_a_file_and_not_in_the_database(
    emulator: Emulator, tmp_path: Path
) -> None:
    data, path = make_jpeg(padding=100_000), tmp_path / "jobs.db"
    async with aw.Client(emulator.provider("dewatermark"), store=aw.SQLiteStore(path)) as client:
        await client.remove(data, key="order-4711")
    assert data in [file.read_bytes() for file in list_result_files(path)]
    assert path.stat().st_size < len(data)


async def test_a_result_from_the_store_can_be_refined(emulator: Emulator, tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    async with aw.Client(emulator.provider("dewatermark"), store=aw.SQLiteStore(path)) as client:
        await client.remove(make_jpeg(), key="order-4711")
    async with aw.Client(emulator.provider("dewatermark"), store=aw.SQLiteStore(path)) as client:
        result = await client.remove(make_jpeg(), key="order-4711")
        better = await client.refine(result, brush=make_mask(), key="order-4711, better")
        again = await client.refine(result, brush=make_mask(), key="order-4711, better")
        assert await better.read() == await again.read()
        session = again.snapshot.session
        assert session is not None
        assert session.refinements == 1
    assert emulator.charged["dewatermark"] == 2


async def test_a_used_key_with_another_image_raises_after_reopening(emulator: Emulator, tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    async with aw.Client(emulator.provider("kaze"), store=aw.SQLiteStore(path)) as client:
        await client.remove(make_jpeg(), key="order-4711")
    async with aw.Client(emulator.provider("kaze"), store=aw.SQLiteStore(path)) as client:
        with pytest.raises(aw.InvalidInput, match="belongs to another job"):
            await client.remove(make_jpeg(padding=1), key="order-4711")
    assert emulator.charged["kaze"] == 1


async def test_the_digest_of_a_stream_is_stored_once_it_was_sent(emulator: Emulator, store: aw.JobStore) -> None:
    photo, other = make_jpeg(padding=1000), make_jpeg(width=33, padding=1000)
    async with aw.Client(emulator.provider("kaze"), store=store) as client:
        await client.remove(stream_of(photo), key="order-4711, streamed")
        await client.remove(photo, key="order-4711, streamed")
        with pytest.raises(aw.InvalidInput, match="belongs to another job"):
            await client.remove(other, key="order-4711, streamed")
    assert emulator.charged["kaze"] == 1


async def test_no_file_of_the_store_contains_an_api_key(emulator: Emulator, tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    for name in NAMES:
        async with aw.Client(emulator.provider(name), store=aw.SQLiteStore(path)) as client:
            await client.remove(**make_job(emulator, name, make_jpeg(300, 300)), key=f"order-{name}")
            for file in tmp_path.rglob("*"):
                assert file.is_dir() or b"canary" not in file.read_bytes()


async def test_several_clients_of_one_loop_share_one_store(emulator: Emulator, tmp_path: Path) -> None:
    store = aw.SQLiteStore(tmp_path / "jobs.db")
    async with (
        aw.Client(emulator.provider("kaze"), store=store) as kaze,
        aw.Client(emulator.provider("picwish"), store=store) as picwish,
    ):
        await asyncio.gather(*(client.remove(make_jpeg(), key=client.provider.name) for client in (kaze, picwish)))
    assert (emulator.charged["kaze"], emulator.charged["picwish"]) == (1, 1)


async def start_client(arguments: list[str | list[str] | None]) -> Running:
    """Start another process with an open client, which calls `remove` after a line on its stdin."""
    running = await start_python("-c", REMOVE, json.dumps(arguments))
    await running.wait_for_output("ready")
    return running


@pytest.mark.parametrize("name", ["picwish", "photoeraser", "dewatermark"])
async def test_processes_that_race_with_one_key_pay_once_and_all_get_the_result(
    emulator: Emulator, tmp_path: Path, name: str
) -> None:
    data = make_jpeg(300, 300, padding=50_000)
    credential = emulator.keys[name]
    credentials = [credential] if isinstance(credential, str) else list(credential)
    job = make_job(emulator, name, data)
    arguments: list[str | list[str] | None] = [
        name,
        credentials,
        emulator.base_url,
        str(tmp_path / "jobs.db"),
        "order-4711",
        job["media"],
        job["mask"],
    ]
    clients = [await start_client(arguments) for _ in range(3)]
    finished = await asyncio.gather(*(client.finish("go\n") for client in clients))
    assert [each.out for each in finished] == [f"{hashlib.sha256(data).hexdigest()}\n"] * 3
    assert emulator.charged[name] == 1
