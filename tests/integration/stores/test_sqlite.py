"""The store in a file: what it survives, what it refuses, what it leaves behind."""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

import aiowatermark as aw
from aiowatermark.jobs import Status
from aiowatermark.media.memory import Bytes
from aiowatermark.stores.sqlite import worker as sqlite_thread
from aiowatermark.stores.sqlite.database import Database

from .conftest import finished, kept, read, record, refused

WRITER = Path(__file__).with_name("writer.py")
ROOT = Path(aw.__file__).parents[1]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "jobs.db"


def altered(monkeypatch: pytest.MonkeyPatch, statement: str) -> None:
    """Have a statement executed in every store that opens from now on."""
    opened = Database.open

    def with_statement(path: Path, patience: float) -> Database:
        table = opened(path, patience)
        table.connection.execute(statement)
        return table

    monkeypatch.setattr(Database, "open", with_statement)


# files that are no store


@pytest.mark.parametrize(
    "content", [b"x", b"x" * 511, b"x" * 512, b"no database, " * 1000, b"SQLite format 3\0" + b"\xff" * 4096]
)
async def test_a_file_that_is_no_store_is_refused_and_left_as_it_is(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    await refused(aw.SQLiteStore(path), "no store of aiowatermark")
    assert path.read_bytes() == content
    assert list(path.parent.iterdir()) == [path]


async def test_another_programs_database_is_refused_and_left_as_it_is(path: Path) -> None:
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE accounts (name TEXT)")
    other.close()
    before = path.read_bytes()
    await refused(aw.SQLiteStore(path), "another program's database")
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


async def test_a_newer_store_is_refused(path: Path) -> None:
    async with aw.SQLiteStore(path):
        pass
    with sqlite3.connect(path) as newer:
        newer.execute("PRAGMA user_version = 2")
    newer.close()
    await refused(aw.SQLiteStore(path), "format 2.*newer version")


async def test_a_folder_is_refused(tmp_path: Path) -> None:
    await refused(aw.SQLiteStore(tmp_path), "is a folder")


async def test_a_folder_that_is_missing_is_refused_and_not_made(tmp_path: Path) -> None:
    await refused(aw.SQLiteStore(tmp_path / "no" / "jobs.db"), "cannot be made: there is no folder")
    assert list(tmp_path.iterdir()) == []


async def test_an_empty_file_becomes_a_store(path: Path) -> None:
    path.touch()
    async with aw.SQLiteStore(path) as store:
        assert await store.open(record()) is None


async def test_a_damaged_store_says_so(path: Path) -> None:
    async with aw.SQLiteStore(path) as store:
        await asyncio.gather(*(store.open(record(f"order-{number}")) for number in range(200)))
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))
    async with aw.SQLiteStore(path) as store:
        with pytest.raises(aw.StoreError, match="damaged"):
            await store.get("order-1")


async def test_one_damaged_record_does_not_hide_the_others(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with aw.SQLiteStore(path) as store:
        for number in range(3):
            await store.open(record(f"order-{number}"))
        with sqlite3.connect(path) as other:
            other.execute("UPDATE records SET data = 'x' WHERE key = 'order-1'")
        other.close()
        assert [each.key async for each in store.unfinished()] == ["order-0", "order-2"]
        assert "order-1 cannot be recovered" in caplog.text
        with pytest.raises(aw.StoreError, match="damaged"):
            await store.get("order-1")
        assert await store.get("order-2") == record("order-2")


def test_keep_is_a_number_of_seconds(path: Path) -> None:
    for wrong in (-1, float("nan"), True, "a month"):
        with pytest.raises(aw.InvalidInput, match="keep is a number of seconds"):
            aw.SQLiteStore(path, keep=wrong)


# disks that do not take it


async def test_a_store_on_a_disk_too_full_to_begin_leaves_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connect = sqlite3.connect

    def small(*args: Any, **options: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*args, **options)
        connection.execute("PRAGMA max_page_count = 2")
        return connection

    monkeypatch.setattr(sqlite3, "connect", small)
    await refused(aw.SQLiteStore(path), "the disk is full")
    assert list(path.parent.iterdir()) == []


async def test_a_disk_that_fills_up_is_told_and_what_was_written_stays(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    altered(monkeypatch, "PRAGMA max_page_count = 30")
    async with aw.SQLiteStore(path) as store:
        written: list[str] = []

        async def fill() -> None:
            while True:
                await store.open(record(key := f"order-{len(written)}"))
                written.append(key)

        with pytest.raises(aw.StoreError, match="the disk is full"):
            await fill()
        assert await store.get("order-0") == record("order-0")
        for number in range(50):  # room is made
            await store.forget(f"order-{number}")
            written.remove(f"order-{number}")
        assert await store.open(record("another")) is None
    monkeypatch.undo()
    async with aw.SQLiteStore(path) as store:
        assert {each.key async for each in store.unfinished()} == {*written, "another"}


async def test_a_disk_that_became_read_only_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    altered(monkeypatch, "PRAGMA query_only = ON")
    async with aw.SQLiteStore(path) as store:
        with pytest.raises(aw.StoreError, match="read-only"):
            await store.open(record())
        assert await store.get("order-1") is None


OPEN_IT = """
import asyncio, os, aiowatermark as aw
_ = aw.SQLiteStore, aw.StoreError  # loaded before the right to read them is given up
if os.geteuid() == 0:
    os.seteuid(65534)  # root may write everywhere
async def main():
    try:
        await aw.SQLiteStore("jobs.db").__aenter__()
    except aw.StoreError as error:
        print(error)
asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="permissions of files are Unix's")
@pytest.mark.parametrize("there", [True, False])
async def test_a_file_and_a_folder_one_may_not_write_are_refused(there: bool) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if there:
            async with aw.SQLiteStore(folder / "jobs.db"):
                pass
            (folder / "jobs.db").chmod(0o444)
        folder.chmod(0o555)
        said = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-c", OPEN_IT],
            cwd=folder,
            env={"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        folder.chmod(0o755)
        assert ("read-only" if there else "permissions do not allow it") in said.stdout, said.stderr


async def test_a_result_that_cannot_be_kept_is_told_and_no_record_speaks_of_it(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    async with aw.SQLiteStore(path) as store:
        await store.open(mine := record())
        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(aw.StoreError, match="No space left on device"):
            await store.put(finished(mine, Bytes(b"picture")))
        monkeypatch.undo()
        assert kept(path) == []
        assert await store.get("order-1") == mine


# other processes


async def writer(path: Path, prefix: str, owner: str, count: int) -> asyncio.subprocess.Process:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = (sys.executable, str(WRITER), str(path), prefix, owner, str(count))
    return await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, env=environment)


async def lines(process: asyncio.subprocess.Process, count: int) -> list[bytes]:
    """The next lines it says, at most so many."""
    assert process.stdout is not None
    said: list[bytes] = []
    while len(said) < count and (line := await process.stdout.readline()).endswith(b"\n"):
        said.append(line)
    return said


async def test_killed_in_the_middle_of_writing_it_keeps_all_that_was_acknowledged(path: Path) -> None:
    for turn in range(10):
        process = await writer(path, f"turn{turn}", "one", 100_000)
        said = await lines(process, random.randint(1, 1500))  # noqa: S311 - any moment will do
        process.kill()
        said += await lines(process, 1_000_000)
        await process.wait()
        acknowledged: dict[str, int] = {}
        for line in said:
            key, number = line.decode().split()
            acknowledged[key] = max(int(number), acknowledged.get(key, 0))
        async with aw.SQLiteStore(path) as store:
            for key, version in acknowledged.items():
                known = await store.get(key)
                assert known is not None
                assert known.version >= version
                for output in known.snapshot.outputs:
                    assert await read(output.media) == key.encode()


async def test_two_processes_that_race_for_the_same_keys_never_both_win(path: Path) -> None:
    racers = [await writer(path, "order", owner, 500) for owner in ("one", "two")]
    said = await asyncio.gather(*(lines(racer, 1_000_000) for racer in racers))
    assert [await racer.wait() for racer in racers] == [0, 0]
    won = [[line.split()[0] for line in each if line.endswith(b" 0\n")] for each in said]
    assert sorted(won[0] + won[1]) == sorted(b"order-%d" % number for number in range(500))
    async with aw.SQLiteStore(path) as store:
        for owner, keys in zip(("one", "two"), won, strict=True):
            for key in keys:
                known = await store.get(key.decode())
                assert known is not None
                assert (known.owner, known.snapshot.status) == (owner, Status.SUCCEEDED)


async def test_a_store_another_program_holds_for_too_long_says_so(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_thread, "_LOCK_TIMEOUT", 0.01)
    async with aw.SQLiteStore(path) as store:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(aw.StoreError, match="held by another program"):
            await store.open(record())
        other.close()
        assert await store.open(record()) is None
