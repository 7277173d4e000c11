"""SQLiteStore: files it refuses, full disks, and other processes on the same file."""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

import aiowatermark as aw
from aiowatermark.jobs import Status
from aiowatermark.media.memory import Bytes
from aiowatermark.stores.sqlite import worker
from aiowatermark.stores.sqlite.database import Database
from tests.support.media_sources import read_media
from tests.support.processes import Running, run_python, start_python
from tests.support.records import finish, make_record
from tests.support.stores import assert_open_fails, get_record, list_result_files

WRITER = Path(__file__).with_name("writer.py")


def run_on_open(monkeypatch: pytest.MonkeyPatch, statement: str) -> None:
    """Execute a statement on every store that is opened from now on."""
    open_database = Database.open

    def open_with_statement(path: Path, lock_timeout: float) -> Database:
        database = open_database(path, lock_timeout)
        database.connection.execute(statement)
        return database

    monkeypatch.setattr(Database, "open", open_with_statement)


# files that are not a store


@pytest.mark.parametrize(
    "content", [b"x", b"x" * 511, b"x" * 512, b"no database, " * 1000, b"SQLite format 3\0" + b"\xff" * 4096]
)
async def test_a_file_that_is_not_a_store_is_refused_and_left_unchanged(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    await assert_open_fails(aw.SQLiteStore(path), "is not an aiowatermark store")
    assert path.read_bytes() == content
    assert list(path.parent.iterdir()) == [path]


async def test_the_database_of_another_program_is_refused_and_left_unchanged(path: Path) -> None:
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE accounts (name TEXT)")
    other.close()
    before = path.read_bytes()
    await assert_open_fails(aw.SQLiteStore(path), "database of another program")
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


async def test_a_newer_store_is_refused(path: Path) -> None:
    async with aw.SQLiteStore(path):
        pass
    with sqlite3.connect(path) as newer:
        newer.execute("PRAGMA user_version = 3")
    newer.close()
    await assert_open_fails(aw.SQLiteStore(path), "format 3.*newer version")


async def test_a_folder_is_refused(tmp_path: Path) -> None:
    await assert_open_fails(aw.SQLiteStore(tmp_path), "is a folder")


async def test_a_file_in_a_missing_folder_is_refused_and_the_folder_is_not_created(tmp_path: Path) -> None:
    await assert_open_fails(
        aw.SQLiteStore(tmp_path / "no" / "jobs.db"), "cannot be created: the folder .* does not exist"
    )
    assert list(tmp_path.iterdir()) == []


async def test_an_empty_file_becomes_a_store(path: Path) -> None:
    path.touch()
    async with aw.SQLiteStore(path) as store:
        assert await store.open(make_record()) is None


async def test_reading_a_damaged_store_raises(path: Path) -> None:
    async with aw.SQLiteStore(path) as store:
        await asyncio.gather(*(store.open(make_record(f"job-{number}")) for number in range(200)))
    content = path.read_bytes()
    path.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))
    async with aw.SQLiteStore(path) as store:
        with pytest.raises(aw.StoreError, match="damaged"):
            await store.get("job-1")


async def test_one_damaged_record_does_not_hide_the_others(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with aw.SQLiteStore(path) as store:
        for number in range(3):
            await store.open(make_record(f"job-{number}"))
        with sqlite3.connect(path) as other:
            other.execute("UPDATE records SET data = 'x' WHERE key = 'job-1'")
        other.close()
        assert [each.key async for each in store.unfinished()] == ["job-0", "job-2"]
        assert "job-1 cannot be recovered" in caplog.text
        with pytest.raises(aw.StoreError, match="damaged"):
            await store.get("job-1")
        assert await store.get("job-2") == make_record("job-2")


def test_an_invalid_keep_is_refused(path: Path) -> None:
    invalid: list[Any] = [-1, float("nan"), True, "a month"]
    for keep in invalid:
        with pytest.raises(aw.InvalidInput, match="keep must be a number of seconds"):
            aw.SQLiteStore(path, keep=keep)


# disks that cannot be written


async def test_a_store_that_cannot_be_created_on_a_full_disk_leaves_no_file(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = sqlite3.connect

    def connect_limited(*args: Any, **options: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*args, **options)
        connection.execute("PRAGMA max_page_count = 2")
        return connection

    monkeypatch.setattr(sqlite3, "connect", connect_limited)
    await assert_open_fails(aw.SQLiteStore(path), "the disk is full")
    assert list(path.parent.iterdir()) == []


async def test_a_full_disk_raises_and_what_was_written_stays(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_on_open(monkeypatch, "PRAGMA max_page_count = 34")
    async with aw.SQLiteStore(path) as store:
        written: list[str] = []

        async def fill() -> None:
            while True:
                await store.open(make_record(key := f"job-{len(written)}"))
                written.append(key)

        with pytest.raises(aw.StoreError, match="the disk is full"):
            await fill()
        assert await store.get("job-0") == make_record("job-0")
        for number in range(50):  # frees pages of the file
            await store.forget(make_record(f"job-{number}"))
            written.remove(f"job-{number}")
        assert await store.open(make_record("another")) is None
    monkeypatch.undo()
    async with aw.SQLiteStore(path) as store:
        assert {each.key async for each in store.unfinished()} == {*written, "another"}


async def test_a_disk_that_became_read_only_raises(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_on_open(monkeypatch, "PRAGMA query_only = ON")
    async with aw.SQLiteStore(path) as store:
        with pytest.raises(aw.StoreError, match="read-only"):
            await store.open(make_record())
        assert await store.get("job-1") is None


OPEN_IT = """
import asyncio, os, aiowatermark as aw
_ = aw.SQLiteStore, aw.StoreError  # import them while this user may still read the files
if os.geteuid() == 0:
    os.seteuid(65534)  # as root, no file would be read-only
async def main():
    try:
        await aw.SQLiteStore("jobs.db").__aenter__()
    except aw.StoreError as error:
        print(error)
asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs Unix file permissions")
@pytest.mark.parametrize("exists", [True, False])
async def test_a_file_or_folder_without_write_permission_is_refused(exists: bool) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if exists:
            async with aw.SQLiteStore(folder / "jobs.db"):
                pass
            (folder / "jobs.db").chmod(0o444)
        folder.chmod(0o555)
        finished = await run_python("-c", OPEN_IT, folder=folder, variables={"PYTHONDONTWRITEBYTECODE": "1"})
        folder.chmod(0o755)
        assert ("read-only" if exists else "permissions of the file or its folder") in finished.out, finished.err


async def test_a_result_that_cannot_be_written_raises_and_its_record_stays_unchanged(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    async with aw.SQLiteStore(path) as store:
        await store.open(record := make_record())
        monkeypatch.setattr(os, "fsync", fail)
        with pytest.raises(aw.StoreError, match="No space left on device"):
            await store.put(finish(record, Bytes(b"image")))
        monkeypatch.undo()
        assert list_result_files(path) == []
        assert await store.get("job-1") == record


# other processes


async def start_writer(path: Path, prefix: str, owner: str, count: int) -> Running:
    return await start_python(WRITER, path, prefix, owner, str(count))


async def read_lines(writer: Running, count: int) -> list[bytes]:
    """Return the next complete lines that it prints, at most `count`."""
    assert writer.process.stdout is not None
    lines: list[bytes] = []
    while len(lines) < count and (line := await writer.process.stdout.readline()).endswith(b"\n"):
        lines.append(line)
    return lines


@pytest.mark.slow
async def test_a_process_that_is_killed_while_writing_loses_no_acknowledged_record(path: Path) -> None:
    for attempt in range(10):
        writer = await start_writer(path, f"attempt{attempt}", "one", 100_000)
        printed = await read_lines(writer, random.randint(1, 1500))  # noqa: S311 - kill it at any moment
        writer.process.kill()
        printed += await read_lines(writer, 1_000_000)
        await writer.process.wait()
        acknowledged: dict[str, int] = {}
        for line in printed:
            key, number = line.decode().split()
            acknowledged[key] = max(int(number), acknowledged.get(key, 0))
        async with aw.SQLiteStore(path) as store:
            for key, version in acknowledged.items():
                known = await get_record(store, key)
                assert known.version >= version
                for output in known.snapshot.outputs:
                    assert await read_media(output.media) == key.encode()


async def test_of_two_processes_that_open_the_same_keys_exactly_one_inserts_each(path: Path) -> None:
    writers = [await start_writer(path, "job", owner, 500) for owner in ("one", "two")]
    printed = await asyncio.gather(*(read_lines(writer, 1_000_000) for writer in writers))
    assert [await writer.process.wait() for writer in writers] == [0, 0]
    # version 0: this process has inserted the record
    inserted = [[line.split()[0] for line in lines if line.endswith(b" 0\n")] for lines in printed]
    assert sorted(inserted[0] + inserted[1]) == sorted(b"job-%d" % number for number in range(500))
    async with aw.SQLiteStore(path) as store:
        for owner, keys in zip(("one", "two"), inserted, strict=True):
            for key in keys:
                known = await get_record(store, key.decode())
                assert (known.owner, known.snapshot.status) == (owner, Status.SUCCEEDED)


async def test_a_store_that_another_program_locks_for_too_long_raises(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "_LOCK_TIMEOUT", 0.01)
    async with aw.SQLiteStore(path) as store:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(aw.StoreError, match="locked by another program"):
            await store.open(make_record())
        other.close()
        assert await store.open(make_record()) is None
