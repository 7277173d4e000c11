"""Clients with a store in a file, against the five APIs: the same key is paid once, whoever asks, however often."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest

import aiowatermark as aw
from aiowatermark.emulator import Emulator

from .conftest import kept

Picture: TypeAlias = Callable[..., bytes]
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


def wanted(emulator: Emulator, name: str, data: bytes) -> dict[str, Any]:
    """What the provider takes: a link to a picture, and a mask where it needs one."""
    return {"media": emulator.host(data), "mask": emulator.host(data) if name == "photoeraser" else None}


@pytest.mark.parametrize("name", NAMES)
async def test_the_same_key_after_reopening_gives_the_same_result_and_is_paid_once(
    emulator: Emulator, tmp_path: Path, picture: Picture, name: str
) -> None:
    data = picture(300, 300, padding=300_001)
    job, path = wanted(emulator, name, data), tmp_path / "jobs.db"
    for _ in range(3):
        async with aw.Client(emulator.provider(name), store=aw.SQLiteStore(path)) as client:
            result = await client.remove(**job, key="order-4711")
            assert await result.read() == data
            saved = await result.save(tmp_path / "clean.jpg")
            assert saved.read_bytes() == data
    assert emulator.charged[name] == 1


async def test_a_result_that_came_as_bytes_is_a_file_of_the_store_and_not_in_its_database(
    emulator: Emulator, tmp_path: Path, picture: Picture
) -> None:
    data, path = picture(padding=100_000), tmp_path / "jobs.db"
    async with aw.Client(emulator.provider("dewatermark"), store=aw.SQLiteStore(path)) as client:
        await client.remove(data, key="order-4711")
    assert data in [file.read_bytes() for file in kept(path)]
    assert path.stat().st_size < len(data)


async def test_a_result_from_the_store_is_refined_as_a_fresh_one_is(
    emulator: Emulator, tmp_path: Path, picture: Picture
) -> None:
    path = tmp_path / "jobs.db"
    async with aw.Client(emulator.provider("dewatermark"), store=aw.SQLiteStore(path)) as client:
        await client.remove(picture(), key="order-4711")
    async with aw.Client(emulator.provider("dewatermark"), store=aw.SQLiteStore(path)) as client:
        result = await client.remove(picture(), key="order-4711")
        better = await client.refine(result, brush=picture(), key="order-4711, better")
        again = await client.refine(result, brush=picture(), key="order-4711, better")
        assert await better.read() == await again.read()
        session = again.snapshot.session
        assert session is not None
        assert session.refinements == 1
    assert emulator.charged["dewatermark"] == 2


async def test_a_used_key_for_another_picture_is_an_error_in_any_process(
    emulator: Emulator, tmp_path: Path, picture: Picture
) -> None:
    path = tmp_path / "jobs.db"
    async with aw.Client(emulator.provider("kaze"), store=aw.SQLiteStore(path)) as client:
        await client.remove(picture(), key="order-4711")
    async with aw.Client(emulator.provider("kaze"), store=aw.SQLiteStore(path)) as client:
        with pytest.raises(aw.InvalidInput, match="belongs to another job"):
            await client.remove(picture(padding=1), key="order-4711")
    assert emulator.charged["kaze"] == 1


async def test_no_api_key_stands_in_any_file_of_the_store(emulator: Emulator, tmp_path: Path, picture: Picture) -> None:
    path = tmp_path / "jobs.db"
    for name in NAMES:
        async with aw.Client(emulator.provider(name), store=aw.SQLiteStore(path)) as client:
            await client.remove(**wanted(emulator, name, picture(300, 300)), key=f"order-{name}")
            for file in tmp_path.rglob("*"):
                assert file.is_dir() or b"canary" not in file.read_bytes()


async def test_several_clients_of_one_loop_share_one_store(
    emulator: Emulator, tmp_path: Path, picture: Picture
) -> None:
    store = aw.SQLiteStore(tmp_path / "jobs.db")
    async with (
        aw.Client(emulator.provider("kaze"), store=store) as kaze,
        aw.Client(emulator.provider("picwish"), store=store) as picwish,
    ):
        await asyncio.gather(*(client.remove(picture(), key=client.provider.name) for client in (kaze, picwish)))
    assert (emulator.charged["kaze"], emulator.charged["picwish"]) == (1, 1)


async def begun(arguments: list[Any]) -> asyncio.subprocess.Process:
    """Another process with a client of its own, open and waiting for the word to go."""
    environment = {**os.environ, "PYTHONPATH": str(Path(aw.__file__).parents[1])}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        REMOVE,
        json.dumps(arguments),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=environment,
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"ready\n"
    return process


@pytest.mark.parametrize("name", ["picwish", "photoeraser", "dewatermark"])
async def test_processes_that_race_with_the_same_key_pay_once_and_all_get_the_result(
    emulator: Emulator, tmp_path: Path, picture: Picture, name: str
) -> None:
    data = picture(300, 300, padding=50_000)
    credential = emulator.keys[name]
    credentials = [credential] if isinstance(credential, str) else list(credential)
    job = wanted(emulator, name, data)
    arguments = [
        name,
        credentials,
        emulator.base_url,
        str(tmp_path / "jobs.db"),
        "order-4711",
        job["media"],
        job["mask"],
    ]
    racers = [await begun(arguments) for _ in range(3)]
    said = await asyncio.gather(*(racer.communicate(b"go\n") for racer in racers))
    assert [out for out, _ in said] == [f"{hashlib.sha256(data).hexdigest()}\n".encode()] * 3
    assert emulator.charged[name] == 1
