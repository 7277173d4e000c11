"""Stores that an earlier version wrote, or still has open: format 1 had no epoch and no task column."""

from __future__ import annotations

import json
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest

import aiowatermark as aw
from aiowatermark.jobs import Record, Snapshot, Status
from aiowatermark.stores.records.dump import dump
from aiowatermark.stores.redis.keys import digest
from tests.support.records import finish, make_record
from tests.support.redis_server import RedisServer
from tests.support.stores import OpenStore, get_record, put_record

SCHEMA = (
    """CREATE TABLE records (
        id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, callback TEXT, version INTEGER NOT NULL, ended REAL,
        parts TEXT NOT NULL, data TEXT NOT NULL
    )""",
    "CREATE INDEX by_callback ON records (callback) WHERE callback IS NOT NULL",
    "CREATE INDEX by_end ON records (ended)",
    f"PRAGMA application_id = {0x61776D31}",
    "PRAGMA user_version = 1",
)
INSERT = """INSERT INTO records (key, callback, version, ended, parts, data) VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT (key) DO UPDATE SET callback = excluded.callback, version = excluded.version, ended = excluded.ended,
    parts = trim(parts || ' ' || excluded.parts), data = excluded.data
    WHERE ended IS NULL AND excluded.version > version"""


def old_json(record: Record) -> str:
    """The record as format 1 stored it."""
    data, _ = dump(record)
    return json.dumps({name: value for name, value in data.items() if name != "epoch"} | {"v": 1})


def write_old(connection: sqlite3.Connection, record: Record) -> None:
    ended = time.time() if record.snapshot.status.terminal else None
    connection.execute(INSERT, (record.key, record.callback, record.version, ended, "", old_json(record)))
    connection.commit()


def old_record(key: str = "job-1", **fields: Any) -> Record:
    return make_record(key, owner="0123456789abcdef@host:7", **fields)


@pytest.fixture
def old_store(path: Path) -> sqlite3.Connection:
    """A file of format 1, open in an earlier version."""
    connection = sqlite3.connect(path)
    for statement in SCHEMA:
        connection.execute(statement)
    write_old(connection, old_record("running", snapshot=Snapshot("task-1", Status.RUNNING)))
    write_old(connection, old_record("in-doubt"))
    write_old(connection, finish(old_record("finished")))
    return connection


async def test_a_file_of_an_earlier_version_is_migrated_and_keeps_its_records(
    path: Path, old_store: sqlite3.Connection
) -> None:
    old_store.close()
    async with aw.SQLiteStore(path) as store:
        assert [record.key async for record in store.unfinished()] == ["running", "in-doubt"]
        running = await get_record(store, "running")
        assert await store.by_task(running.account, "task-1") == running
        assert running.epoch == 0
        assert (await put_record(store, finish(running))).snapshot.status is Status.SUCCEEDED
        assert (await get_record(store, "finished")).snapshot.status is Status.SUCCEEDED
        assert await store.forget(await get_record(store, "in-doubt"))
    async with aw.SQLiteStore(path) as store:  # once more: the file is of format 2 now
        assert [record.key async for record in store.unfinished()] == []


async def test_an_earlier_version_that_has_the_file_open_goes_on_with_its_own_jobs(
    path: Path, old_store: sqlite3.Connection
) -> None:
    async with aw.SQLiteStore(path) as store:
        record = old_record("from-the-old-one")
        write_old(old_store, record)
        assert await store.open(make_record("from-the-old-one", epoch=7)) == record
        accepted = record.advance(Snapshot("task-9", Status.QUEUED))
        write_old(old_store, accepted)
        assert await get_record(store, record.key) == accepted
        # this version continues the job, and the earlier one's older state does not come back
        await put_record(store, finish(accepted))
        write_old(old_store, accepted)
        assert (await get_record(store, record.key)).snapshot.status is Status.SUCCEEDED
    old_store.close()


async def test_records_of_an_earlier_version_in_redis_are_read_and_continued(
    open_store: OpenStore, redis_server: RedisServer
) -> None:
    store = await open_store()
    record = old_record(snapshot=Snapshot("task-1", Status.RUNNING))
    await store.open(record)
    name = store._keys.job(digest(record.key)).record
    await store._connection.redis.hset(name, "record", old_json(record))
    await store._connection.redis.hdel(name, "epoch")
    known = await get_record(store, record.key)
    assert known == record
    assert (await put_record(store, finish(known))).snapshot.status is Status.SUCCEEDED
    assert await store.forget(await get_record(store, record.key))
