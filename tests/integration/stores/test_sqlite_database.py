"""Many changes at once: one statement where all are news, one by one where they meet, and always all or nothing."""

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


def row(key: str, version: int = 0, ended: float | None = None, data: str | None = None) -> RecordRow:
    return RecordRow(key, None, version, ended, "", data or f"{key} {version}")


def opening(key: str, version: int = 0, **rest: Any) -> Change:
    return Change(ChangeKind.OPEN, key, row(key, version, **rest))


def news(key: str, version: int, **rest: Any) -> Change:
    return Change(ChangeKind.PUT, key, row(key, version, **rest))


@pytest.fixture
def table(tmp_path: Path) -> Iterator[Database]:
    """An open file."""
    opened = Database.open(tmp_path / "jobs.db", 1.0)
    yield opened
    opened.close()


def statements(table: Database) -> list[str]:
    said: list[str] = []
    table.connection.set_trace_callback(said.append)
    return said


@pytest.mark.parametrize("many", [1, 2, 3, 7, 8, 100, 513])
def test_what_is_all_news_takes_one_statement(table: Database, many: int) -> None:
    said = statements(table)
    assert table.apply([opening(f"key {number}") for number in range(many)]) == [None] * many
    assert table.apply([news(f"key {number}", 1) for number in range(many)]) == [None] * many
    assert len(said) == 2
    assert [table.by_key(f"key {number}") for number in range(many)] == [f"key {number} 1" for number in range(many)]


def test_a_known_key_among_new_ones_is_told_and_the_others_are_taken(table: Database) -> None:
    table.apply([opening("known")])
    outcomes = table.apply([opening("a"), opening("known", data="another's"), opening("b"), news("c", 3)])
    assert outcomes == [None, "known 0", None, None]
    assert [table.by_key(key) for key in ("a", "known", "b", "c")] == ["a 0", "known 0", "b 0", "c 3"]


def test_old_news_and_news_of_what_has_ended_are_told_what_stands(table: Database) -> None:
    table.apply([news("late", 5), news("ended", 2, ended=1.0)])
    assert table.apply([news("late", 4), news("ended", 9), news("new", 1)]) == ["late 5", "ended 2", None]
    assert table.by_key("new") == "new 1"


def test_an_opening_of_a_later_version_never_replaces_what_is_known(table: Database) -> None:
    table.apply([opening("known")])
    assert table.apply([opening("known", 7), opening("other", 7)]) == ["known 0", None]
    assert table.by_key("known") == "known 0"


def test_two_changes_of_one_key_happen_in_their_order(table: Database) -> None:
    assert table.apply([opening("a"), news("a", 1), opening("a"), news("a", 1)]) == [None, None, "a 1", "a 1"]
    assert table.apply([Change(ChangeKind.FORGET, "a"), opening("a")]) == ["", None]


def test_more_rows_than_this_sqlite_takes_values_are_taken_one_by_one(table: Database) -> None:
    table.max_batch = 4
    assert table.apply([opening(f"key {number}") for number in range(9)]) == [None] * 9


def test_a_batch_that_fails_leaves_nothing_of_itself(table: Database) -> None:
    spoiled = Change(ChangeKind.OPEN, "spoiled", row("spoiled")._replace(data=object()))  # type: ignore[arg-type]
    with pytest.raises((StoreError, sqlite3.Error)):
        table.apply([opening("a"), spoiled])
    assert table.by_key("a") is None


async def test_a_busy_store_gathers_and_a_lone_write_does_not_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches: list[int] = []
    change = Database.apply

    def counted(self: Database, changes: Sequence[Change]) -> list[ChangeResult]:
        batches.append(len(changes))
        return change(self, changes)

    pauses: list[float] = []
    loop = asyncio.get_running_loop()
    call_later = loop.call_later

    def noted(delay: float, *rest: Any) -> asyncio.TimerHandle:
        pauses.append(delay)
        return call_later(delay, *rest)

    monkeypatch.setattr(Database, "apply", counted)
    monkeypatch.setattr(loop, "call_later", noted)

    async def life(store: aw.SQLiteStore, number: int) -> None:
        record = Record(f"key {number}", "kaze")
        assert await store.open(record) is None
        for status in (Status.QUEUED, Status.SUCCEEDED):
            record = record.advance(Snapshot("task", status))
            assert await store.put(record) is record

    async with aw.SQLiteStore(tmp_path / "jobs.db") as store:
        await life(store, -1)
        assert batches == [1, 1, 1]
        assert pauses == []
        batches.clear()
        await asyncio.gather(*(life(store, number) for number in range(40)))
    assert sum(batches) == 120
    assert len(batches) <= 9
    assert pauses
