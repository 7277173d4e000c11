"""SQLiteStore(read_only=True): whatever is there is read, consistently, and nothing of it or beside it changes."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import TypeAlias

import pytest

import aiowatermark as aw
from aiowatermark.media.memory import Bytes
from aiowatermark.stores.sqlite import opening
from aiowatermark.stores.sqlite.owners import LockedOwners
from aiowatermark.stores.sqlite.reading import open_for_reading
from tests.support.files import list_names
from tests.support.processes import run_python
from tests.support.records import accept, finish, make_record

Make: TypeAlias = Callable[[Path], Awaitable[list[str]]]
"""Writes a store to a path and returns the keys of its jobs."""
KEYS = [f"job-{number}" for number in range(600)]
"""More jobs than the store reads at once."""


async def open_all(store: aw.SQLiteStore, keys: list[str]) -> None:
    await asyncio.gather(*(store.open(make_record(key)) for key in keys))


async def make_closed(path: Path) -> list[str]:
    """A store that no process has open."""
    async with aw.SQLiteStore(path) as store:
        await open_all(store, KEYS)
    return KEYS


async def make_copied(path: Path) -> list[str]:
    """A store that was copied with its log while it was open; one of its jobs is in the log only."""
    return await _copy_open_store(path, ("", "-wal"))


async def make_killed(path: Path) -> list[str]:
    """A store whose process was killed: all its files are still there."""
    return await _copy_open_store(path, ("", "-wal", "-shm"))


async def make_empty(path: Path) -> list[str]:
    """An empty file, which SQLite takes for an empty database."""
    path.touch()
    return []


async def make_earlier(path: Path) -> list[str]:
    """A store of format 1."""
    await make_closed(path)
    with closing(sqlite3.connect(path)) as database:
        rows = database.execute("SELECT id, key, data FROM records").fetchall()
    path.unlink()
    with closing(sqlite3.connect(path)) as database:
        for statement in (*opening._SCHEMA, "PRAGMA user_version = 1"):
            database.execute(statement)
        database.executemany("INSERT INTO records VALUES (?, ?, NULL, 0, NULL, '', ?)", rows)
        database.commit()
    return KEYS


async def make_interrupted(path: Path) -> list[str]:
    """A store without a write-ahead log whose process was killed while it wrote: the change must be rolled back."""
    origin = path.with_name("origin") / path.name
    origin.parent.mkdir()
    await make_closed(origin)
    with closing(sqlite3.connect(origin, isolation_level=None)) as database:
        for statement in ("PRAGMA journal_mode = DELETE", "PRAGMA cache_size = 1", "BEGIN", "DELETE FROM records"):
            database.execute(statement).fetchall()
        database.execute("CREATE TABLE large AS SELECT randomblob(100000)")
        for suffix in ("", "-journal"):
            shutil.copyfile(f"{origin}{suffix}", f"{path}{suffix}")
    shutil.rmtree(origin.parent)
    return KEYS


async def make_half_applied(path: Path) -> list[str]:
    """A store whose log was half applied when it was copied: the file is shorter than its first page says."""
    keys = await make_copied(path)
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA wal_checkpoint").fetchall()
        ((page, count),) = database.execute("SELECT page_size, page_count FROM pragma_page_size, pragma_page_count")
        size = page * (count - 1)
        shutil.copyfile(f"{path}-wal", f"{path}-kept")
    os.truncate(path, size)
    Path(f"{path}-kept").rename(f"{path}-wal")
    return keys


async def _copy_open_store(path: Path, suffixes: tuple[str, ...]) -> list[str]:
    origin = path.with_name("origin") / path.name
    origin.parent.mkdir()
    async with aw.SQLiteStore(origin) as store:
        await open_all(store, KEYS)
        for suffix in suffixes:
            shutil.copyfile(f"{origin}{suffix}", f"{path}{suffix}")
    shutil.rmtree(origin.parent)
    return KEYS


KINDS = [make_closed, make_copied, make_killed, make_empty, make_earlier, make_interrupted, make_half_applied]


def contents(folder: Path) -> dict[str, bytes]:
    """All files of a folder, but SQLite's shared memory, which is no part of what was written."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.endswith("-shm")}


async def read_keys(store: aw.SQLiteStore) -> list[str]:
    return [record.key async for record in store.unfinished()]


WRITES: dict[str, Callable[[aw.SQLiteStore], Awaitable[object]]] = {
    "open": lambda store: store.open(make_record("new")),
    "open with media": lambda store: store.open(finish(make_record("new"), Bytes(b"content"))),
    "put": lambda store: store.put(accept(make_record("job-1"))),
    "put with media": lambda store: store.put(finish(make_record("job-1"), Bytes(b"content"))),
    "forget": lambda store: store.forget(make_record("job-1")),
    "acknowledge": lambda store: store.acknowledge([make_record("job-1")]),
    "register an owner": lambda store: store.owners.register("me"),
}


@pytest.mark.parametrize("make", KINDS)
async def test_every_kind_of_store_is_read_and_left_as_it_is(path: Path, make: Make) -> None:
    keys = await make(path)
    names, before = list_names(path.parent), contents(path.parent)
    async with aw.SQLiteStore(path, read_only=True) as store:
        assert await read_keys(store) == keys
        assert list_names(path.parent) == names
    assert list_names(path.parent) == names
    assert contents(path.parent) == before


@pytest.mark.parametrize("make", KINDS)
@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
async def test_nothing_can_be_written(
    path: Path, make: Make, write: Callable[[aw.SQLiteStore], Awaitable[object]]
) -> None:
    keys = await make(path)
    before = contents(path.parent)
    async with aw.SQLiteStore(path, read_only=True) as store:
        with pytest.raises(aw.StoreError, match="read_only=True"):
            await write(store)
        assert await read_keys(store) == keys
    assert contents(path.parent) == before


@pytest.mark.parametrize("make", KINDS)
async def test_no_statement_can_write_through_the_connection(path: Path, make: Make) -> None:
    await make(path)
    with closing(open_for_reading(path, 1.0)) as connection, pytest.raises(sqlite3.OperationalError, match="readonly"):
        connection.execute("DELETE FROM records")


@pytest.mark.parametrize("make", KINDS)
async def test_a_client_refuses_it_before_anything_is_sent(path: Path, make: Make) -> None:
    await make(path)
    with pytest.raises(aw.StoreError, match="read_only=True"):
        await aw.Client(aw.Kaze(api_key="key"), store=aw.SQLiteStore(path, read_only=True)).__aenter__()
    assert not Path(f"{path}-owners").exists()


async def test_a_channel_for_callbacks_is_refused(path: Path) -> None:
    await make_closed(path)
    async with aw.SQLiteStore(path, read_only=True) as store:
        with pytest.raises(aw.StoreError, match="read_only=True"):
            store.delivery_channel(lambda *_: None)
    assert list_names(path.parent) == [path.name]


async def test_the_files_of_owners_that_are_gone_stay(path: Path) -> None:
    await make_closed(path)
    owners = LockedOwners(Path(f"{path}-owners"))
    owners.folder.mkdir()
    owners._path("dead").touch()
    async with aw.SQLiteStore(path, read_only=True) as store:
        assert await store.owners.is_gone(make_record(owner="dead"))
    assert len(list_names(owners.folder)) == 1


async def test_expired_records_stay(path: Path) -> None:
    async with aw.SQLiteStore(path) as store:
        await store.open(record := make_record("job-1"))
        await store.put(finish(record))
    async with aw.SQLiteStore(path, keep=0, read_only=True) as store:
        assert await store.get("job-1") is not None
        assert [record.key async for record in store.unacknowledged()] == ["job-1"]


@pytest.mark.parametrize("make", [make_closed, make_copied, make_killed, make_earlier])
async def test_a_process_that_begins_to_write_during_the_reading_damages_nothing(path: Path, make: Make) -> None:
    keys = await make(path)
    found: list[str] = []
    async with aw.SQLiteStore(path, read_only=True) as reader:
        async for record in reader.unfinished():
            found.append(record.key)
            if len(found) == 1:
                async with aw.SQLiteStore(path) as writer:
                    await asyncio.gather(*(writer.forget(make_record(key)) for key in keys[:550]))
                    await open_all(writer, [f"{'other' * 30}-{number}" for number in range(800)])
    # beside other processes it is read page by page, each as it is then
    assert found == ([*keys[:500], *keys[550:]] if make is make_killed else keys)


async def test_a_store_that_is_open_elsewhere_is_read_as_it_is_now(path: Path) -> None:
    async with aw.SQLiteStore(path) as writer, aw.SQLiteStore(path, read_only=True) as reader:
        await writer.open(make_record("job-1"))
        assert await read_keys(reader) == ["job-1"]


async def test_the_locks_of_other_connections_of_this_process_stay(path: Path) -> None:
    await make_interrupted(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        open_for_reading(path, 1.0).close()
        connect = "sqlite3.connect(sys.argv[1], timeout=0, isolation_level=None)"
        code = f"import sqlite3, sys; {connect}.execute('BEGIN IMMEDIATE')"
        other = await run_python("-c", code, path)
    assert "database is locked" in other.err


async def test_a_link_to_a_store_is_read_with_the_log_beside_the_store(path: Path) -> None:
    keys = await make_copied(path)
    (path.parent / "links").mkdir()
    link = path.parent / "links" / "store"
    link.symlink_to(path)
    async with aw.SQLiteStore(link, read_only=True) as store:
        assert await read_keys(store) == keys


def _write_during_copies(path: Path, monkeypatch: pytest.MonkeyPatch, times: int) -> list[None]:
    """Change a file during so many copies of it; return what becomes a list of all copies."""
    copies: list[None] = []
    copy = shutil.copyfile

    def copy_and_write(source: Path, target: Path) -> Path | str:
        copies.append(None)
        if len(copies) <= times:
            os.utime(path, ns=(len(copies), len(copies)))
        return copy(source, target)

    monkeypatch.setattr(shutil, "copyfile", copy_and_write)
    return copies


async def test_a_copy_of_a_store_that_changed_meanwhile_is_made_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = await make_copied(path)
    copies = _write_during_copies(path, monkeypatch, times=2)
    async with aw.SQLiteStore(path, read_only=True) as store:
        assert await read_keys(store) == keys
    assert len(copies) == 3


async def test_a_store_that_changes_all_the_time_is_an_error_that_says_so(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make_copied(path)
    copies = _write_during_copies(path, monkeypatch, times=1000)
    with pytest.raises(aw.StoreError, match="changed all the time: try again"):
        await aw.SQLiteStore(path, read_only=True).__aenter__()
    assert len(copies) < 20


async def test_a_log_that_is_removed_during_a_copy_is_no_error(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = await make_copied(path)
    real = shutil.copyfile

    def remove(source: Path, target: Path) -> Path | str:
        # as the last process does that closes a store
        with closing(sqlite3.connect(path)) as database:
            database.execute("SELECT 1 FROM records").fetchall()
        return real(source, target)

    monkeypatch.setattr(shutil, "copyfile", remove)
    async with aw.SQLiteStore(path, read_only=True) as store:
        assert await read_keys(store) == keys


@pytest.mark.parametrize("name", ["none.db", "none/none.db"])
async def test_a_store_that_does_not_exist_is_said_to_be_missing(tmp_path: Path, name: str) -> None:
    with pytest.raises(aw.StoreError, match=r"none\.db does not exist$"):
        await aw.SQLiteStore(tmp_path / name, read_only=True).__aenter__()
    assert list_names(tmp_path) == []
