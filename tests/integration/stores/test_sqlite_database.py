"""Batches of changes: one statement if all are inserts or newer versions, else one by one; always all or nothing."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import aiowatermark as aw
from aiowatermark.errors import StoreError
from aiowatermark.jobs import Record, Snapshot, Status
from aiowatermark.stores.sqlite.database import Change, ChangeKind, ChangeResult, Database, RecordRow


def make_row(key: str, version: int = 0, ended: float | None = None, data: str | None = None) -> RecordRow:
    return RecordRow(key, None, None, 0, version, ended, True, "", data or f"{key} {version}")


DONE = ChangeResult(done=True)


def stays(data: str) -> ChangeResult:
    return ChangeResult(done=False, data=data)


def open_change(key: str, version: int = 0, **rest: Any) -> Change:
    return Change(ChangeKind.OPEN, make_row(key, version, **rest))


def put_change(key: str, version: int, **rest: Any) -> Change:
    return Change(ChangeKind.PUT, make_row(key, version, **rest))


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """An open file."""
    opened = Database.open(tmp_path / "jobs.db", 1.0)
    yield opened
    opened.close()


def trace_statements(database: Database) -> list[str]:
    statements: list[str] = []
    database.connection.set_trace_callback(statements.append)
    return statements


@pytest.mark.parametrize("count", [1, 2, 3, 7, 8, 100, 513, 5000])
def test_a_batch_of_inserts_or_of_newer_versions_takes_one_transaction(database: Database, count: int) -> None:
    statements = trace_statements(database)
    assert database.apply([open_change(f"key {number}") for number in range(count)]) == [DONE] * count
    assert database.apply([put_change(f"key {number}", 1) for number in range(count)]) == [DONE] * count
    assert statements.count("COMMIT") == 2
    assert "ROLLBACK" not in statements
    assert [database.by_key(f"key {number}") for number in range(count)] == [
        f"key {number} 1" for number in range(count)
    ]


def test_a_known_key_in_a_batch_is_returned_and_the_others_are_inserted(database: Database) -> None:
    database.apply([open_change("known")])
    results = database.apply(
        [open_change("a"), open_change("known", data="another's"), open_change("b"), put_change("c", 3)]
    )
    assert results == [DONE, stays("known 0"), DONE, DONE]
    assert [database.by_key(key) for key in ("a", "known", "b", "c")] == ["a 0", "known 0", "b 0", "c 3"]


def test_an_old_version_and_an_update_of_a_terminal_row_return_the_stored_data(database: Database) -> None:
    database.apply([put_change("late", 5), put_change("ended", 2, ended=1.0)])
    assert database.apply([put_change("late", 4), put_change("ended", 9), put_change("new", 1)]) == [
        stays("late 5"),
        stays("ended 2"),
        DONE,
    ]
    assert database.by_key("new") == "new 1"


def test_an_open_of_a_later_version_never_replaces_a_row(database: Database) -> None:
    database.apply([open_change("known")])
    assert database.apply([open_change("known", 7), open_change("other", 7)]) == [stays("known 0"), DONE]
    assert database.by_key("known") == "known 0"


def test_changes_of_one_key_are_made_in_their_order(database: Database) -> None:
    assert database.apply([open_change("a"), put_change("a", 1), open_change("a"), put_change("a", 1)]) == [
        DONE,
        DONE,
        stays("a 1"),
        stays("a 1"),
    ]
    forget = Change(ChangeKind.FORGET, make_row("a", 1))
    assert database.apply([forget, open_change("a")]) == [ChangeResult(done=True, data=""), DONE]


def test_a_batch_that_fails_writes_nothing(database: Database) -> None:
    invalid = Change(ChangeKind.OPEN, make_row("invalid")._replace(data=object()))  # type: ignore[arg-type]
    with pytest.raises((StoreError, sqlite3.Error)):
        database.apply([open_change("a"), invalid])
    assert database.by_key("a") is None


async def test_a_busy_store_gathers_calls_and_a_lone_write_does_not_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches: list[int] = []
    apply = Database.apply

    def count_changes(self: Database, changes: Sequence[Change]) -> list[ChangeResult]:
        batches.append(len(changes))
        return apply(self, changes)

    delays: list[float] = []
    loop = asyncio.get_running_loop()
    call_later = loop.call_later

    def note_delay(delay: float, *rest: Any) -> asyncio.TimerHandle:
        delays.append(delay)
        return call_later(delay, *rest)

    monkeypatch.setattr(Database, "apply", count_changes)
    monkeypatch.setattr(loop, "call_later", note_delay)

    async def run_job(store: aw.SQLiteStore, number: int) -> None:
        record = Record(f"key {number}", "kaze")
        assert await store.open(record) is None
        for status in (Status.QUEUED, Status.SUCCEEDED):
            record = record.advance(Snapshot("task", status))
            assert await store.put(record) is record

    async with aw.SQLiteStore(tmp_path / "jobs.db") as store:
        await run_job(store, -1)
        assert batches == [1, 1, 1]
        assert delays == []
        batches.clear()
        await asyncio.gather(*(run_job(store, number) for number in range(40)))
    assert sum(batches) == 120
    assert len(batches) <= 9
    assert delays
