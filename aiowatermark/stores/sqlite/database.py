"""Database: one SQLite file with a table of records; reads single rows, writes batches in one transaction.

    column    meaning
    id        number of the row; grows with time, so it orders records by age
    key       the job's key, unique
    callback  hash of the callback key, or NULL
    task      the account and the provider's task id, or NULL while there is none
    epoch     the record's epoch
    version   the record's version
    ended     time at which the record became terminal, on the store's own clock; NULL while it is unfinished
    taken     whether the result was acknowledged; 1 in rows of earlier versions
    parts     names of its result files, separated by spaces; those of earlier versions too
    data      the record as JSON

`apply` makes a batch of changes in one transaction, all or none. It first tries to write all rows with one statement
(`executemany`). That is possible if no two changes have the same key and each would be an insert or a newer version.
"Newer" is `Record.replaceable_by`: a later version of this epoch, or a later epoch made of this very version.

    change                         row with the key                result
    OPEN                           none                            inserted
    OPEN                           any                             unchanged; its data is returned
    PUT                            none                            inserted (1)
    UPDATE                         none                            nothing; None is returned
    PUT, UPDATE                    older                           replaced (1)
    PUT, UPDATE                    any other                       unchanged; its data is returned
    FORGET                         this epoch and version          deleted; its parts are returned
    FORGET                         none, or any other              unchanged; its data is returned
    ACKNOWLEDGE                    ended, and of this epoch        marked as taken
    NOTE                           this epoch and version          its history is replaced

(1) The data of an older row that has its task is returned, if there is one.

For a row that must stay unchanged the statement sets its data to NULL, which the table forbids: the transaction is
rolled back, and `apply` starts again with a statement of its own for each change.

Invariants: a terminal row changes only by a later epoch; a version never decreases; a commit is on the disk when it
returns (WAL with synchronous=FULL). A file that is not an aiowatermark store is refused and left unchanged.

Concurrency: an instance is used by one thread. Other processes may use the same file: SQLite's locks order the
transactions, and each waits up to `lock_timeout` seconds for the lock. Failure: every sqlite3 error is raised as a
StoreError that names the file and the cause; a failed transaction is rolled back, and a file that could not be
initialised is removed if it is new and empty.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple

from attrs import define, field

from .clock import StoreClock
from .opening import open_database, store_errors
from .reading import open_for_reading

_INSERT = "INSERT INTO records (key, callback, task, epoch, version, ended, taken, parts, data) "
_VALUES = "(?, ?, ?, ?, ?, ?, ?, ?, ?)"
# `Record.replaceable_by`
_REPLACEABLE = """CASE WHEN excluded.epoch = epoch THEN ended IS NULL AND excluded.version > version
    ELSE excluded.epoch > epoch AND excluded.version = version + 1 END"""
# parts are added up: a newer record may still refer to the files of an older one
_UPDATE = """ ON CONFLICT (key) DO UPDATE SET callback = excluded.callback, task = excluded.task,
    epoch = excluded.epoch, version = excluded.version, ended = excluded.ended, taken = excluded.taken,
    parts = trim(parts || ' ' || excluded.parts), data = """
_UPDATE_NEWER = f"{_UPDATE}excluded.data WHERE {_REPLACEABLE}"
# a row that must stay gets NULL as its data; the table refuses that, and with it the whole batch
_UPDATE_ALL = f"{_UPDATE}CASE WHEN {_REPLACEABLE} THEN excluded.data END"
_IGNORE = " ON CONFLICT (key) DO NOTHING"
_SHARED_TASKS = """SELECT 1 FROM records WHERE task IN (SELECT value FROM json_each(?)) GROUP BY task
    HAVING count(*) > 1 LIMIT 1"""
_SAME_TASK = """SELECT data FROM records WHERE task = ? AND id < (SELECT id FROM records WHERE key = ?)
    ORDER BY id LIMIT 1"""
_NOTE = """UPDATE records SET data = json_set(data, '$.history', json_extract(?, '$.history'))
    WHERE key = ? AND epoch = ? AND version = ?"""
_TAKE = """UPDATE records SET taken = 1, data = json_set(data, '$.acknowledged', json('true'))
    WHERE key = ? AND epoch = ? AND ended IS NOT NULL"""


class ChangeKind(Enum):
    """What a change does; see the table at the head of this module."""

    OPEN = "open"
    PUT = "put"
    UPDATE = "update"
    FORGET = "forget"
    ACKNOWLEDGE = "acknowledge"
    NOTE = "note"


class RecordRow(NamedTuple):
    """A record as a row; `parts` are names of files, separated by spaces."""

    key: str
    callback: str | None
    task: str | None
    epoch: int
    version: int
    ended: float | None
    taken: bool
    parts: str
    data: str


@define(eq=False)  # not frozen: creating a frozen instance takes a microsecond longer
class Change:
    """One change to the row of a key; FORGET uses only its key, epoch and version."""

    kind: ChangeKind
    row: RecordRow

    @property
    def batchable(self) -> bool:
        """Whether the batch statement, which inserts or updates, does the same as this change by itself."""
        # an OPEN must never update; with version 0 it cannot, because no stored version is older
        return self.kind is ChangeKind.PUT or (self.kind is ChangeKind.OPEN and self.row.version == 0)


class ChangeResult(NamedTuple):
    """Whether a change was made, or had nothing to do, and the stored data if not.

    If so, the data is that of another row with this task; for FORGET the row's parts.
    """

    done: bool
    data: str | None = None


DONE = ChangeResult(done=True)


@define(eq=False)
class Database:
    """An open file, used by one thread."""

    path: Path
    connection: sqlite3.Connection
    clock: StoreClock = field(factory=StoreClock, init=False)

    @classmethod
    def open(cls, path: Path, lock_timeout: float) -> Database:
        """Open or create a store, waiting up to `lock_timeout` seconds for other processes; raises StoreError."""
        return cls(path, open_database(path, lock_timeout))

    @classmethod
    def read(cls, path: Path, lock_timeout: float) -> Database:
        """Open a store that exists and write nothing, like `open`."""
        return cls(path, open_for_reading(path, lock_timeout))

    def close(self) -> None:
        """Close the file; the last process to close it also removes the write-ahead log."""
        with store_errors(self.path):
            self.connection.close()

    def apply(self, changes: Sequence[Change]) -> list[ChangeResult]:
        """Make all changes durably and return their results; raises StoreError and makes none."""
        rows = [change.row for change in changes if change.batchable]
        taken = [(change.row.key, change.row.epoch) for change in changes if change.kind is ChangeKind.ACKNOWLEDGE]
        with store_errors(self.path):
            if len(rows) + len(taken) == len({change.row.key for change in changes}) == len(changes):
                with suppress(sqlite3.IntegrityError), self._transaction():
                    self.connection.executemany(f"{_INSERT}VALUES {_VALUES}{_UPDATE_ALL}", rows)
                    self.connection.executemany(_TAKE, taken)
                    return self._all_written(changes)
            with self._transaction():
                return [self._apply_one(change) for change in changes]

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Commit at the end, or roll back and raise."""
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self.connection.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                self.connection.execute("ROLLBACK")
            raise

    def _apply_one(self, change: Change) -> ChangeResult:
        kind, row = change.kind, change.row
        if kind is ChangeKind.FORGET:
            return self._delete(row)
        if kind is ChangeKind.ACKNOWLEDGE:
            self.connection.execute(_TAKE, (row.key, row.epoch))
            return DONE
        if kind is ChangeKind.NOTE:
            self.connection.execute(_NOTE, (row.data, row.key, row.epoch, row.version))
            return DONE
        if kind is ChangeKind.UPDATE and self.by_key(row.key) is None:
            return ChangeResult(done=False)
        conflict = _IGNORE if kind is ChangeKind.OPEN else _UPDATE_NEWER
        written = self.connection.execute(f"{_INSERT}VALUES {_VALUES}{conflict}", row).rowcount
        return self._written(change) if written else ChangeResult(done=False, data=self.by_key(row.key))

    def _all_written(self, changes: Sequence[Change]) -> list[ChangeResult]:
        """Return the results of a batch that was made, with one statement if each task has one row."""
        tasks = [change.row.task for change in changes if change.kind is ChangeKind.PUT]
        if tasks and self.connection.execute(_SHARED_TASKS, (json.dumps(tasks),)).fetchone() is not None:
            return [self._written(change) for change in changes]
        return [DONE] * len(changes)

    def _written(self, change: Change) -> ChangeResult:
        """Return the result of a change that was made."""
        if change.kind is not ChangeKind.PUT or change.row.task is None:
            return DONE
        other = self.connection.execute(_SAME_TASK, (change.row.task, change.row.key)).fetchone()
        return DONE if other is None else ChangeResult(done=True, data=other[0])

    def _delete(self, row: RecordRow) -> ChangeResult:
        version = (row.key, row.epoch, row.version)
        where = "WHERE key = ? AND epoch = ? AND version = ?"
        parts = self._value(f"SELECT parts FROM records {where}", *version)  # noqa: S608 - a constant
        if parts is None:
            stored = self.by_key(row.key)
            return ChangeResult(done=stored is None)
        self.connection.execute(f"DELETE FROM records {where}", version)  # noqa: S608 - a constant
        return ChangeResult(done=True, data=parts)

    def _value(self, statement: str, *values: Any) -> Any:
        with store_errors(self.path):
            row = self.connection.execute(statement, values).fetchone()
        return None if row is None else row[0]

    def by_key(self, key: str) -> str | None:
        """Return the data of the record with that key, or None."""
        data: str | None = self._value("SELECT data FROM records WHERE key = ?", key)
        return data

    def by_callback(self, callback: str) -> str | None:
        """Return the data of the record whose callback key has the hash `callback`, or None."""
        data: str | None = self._value("SELECT data FROM records WHERE callback = ?", callback)
        return data

    def by_task(self, task: str) -> str | None:
        """Return the data of the oldest record with that task (see the head of this module), or None."""
        data: str | None = self._value("SELECT data FROM records WHERE task = ? ORDER BY id LIMIT 1", task)
        return data

    def secret(self) -> bytes:
        """Return what the keys of callbacks are signed with."""
        return bytes(self._value("SELECT value FROM secret"))

    def newest(self) -> int:
        """Return the id of the newest row, 0 if there is none."""
        return self._value("SELECT max(id) FROM records") or 0

    def page(self, after: int, until: int, count: int, *, ended: bool) -> list[tuple[int, str, str]]:
        """Return id, key and data of at most `count` records with after < id <= until, oldest first.

        Of those that are unfinished, or those that ended and whose result was not taken.
        """
        which = "ended IS NOT NULL AND NOT taken" if ended else "ended IS NULL"
        with store_errors(self.path):
            return self.connection.execute(
                f"SELECT id, key, data FROM records WHERE {which} AND id > ? AND id <= ? ORDER BY id LIMIT ?",  # noqa: S608
                (after, until, count),
            ).fetchall()

    def parts(self) -> Iterator[str]:
        """Yield the names of all parts."""
        with store_errors(self.path):
            for (parts,) in self.connection.execute("SELECT parts FROM records WHERE parts <> ''"):
                yield from parts.split()

    def tick(self) -> None:
        """Continue the store's clock."""
        with store_errors(self.path), self._transaction():
            stored = self.connection.execute("SELECT time, wall FROM clock").fetchone()
            self.connection.execute("UPDATE clock SET time = ?, wall = ?", self.clock.tick(*stored))

    def expire(self, keep: float, count: int) -> tuple[list[str], list[str]]:
        """Delete at most `count` records that ended more than `keep` seconds ago; return the parts of each row.

        A result not acknowledged is dropped and its key stays known for as long again; returns those keys, too.
        """
        now = self.clock.now()
        with store_errors(self.path), self._transaction():
            rows = self.connection.execute(
                "SELECT id, key, taken, parts FROM records WHERE ended < ? ORDER BY ended LIMIT ?", (now - keep, count)
            ).fetchall()
            dropped = [(now, row_id) for row_id, _, taken, _ in rows if not taken]
            self.connection.executemany("UPDATE records SET taken = 1, parts = '', ended = ? WHERE id = ?", dropped)
            deleted = [(row_id,) for row_id, _, taken, _ in rows if taken]
            self.connection.executemany("DELETE FROM records WHERE id = ?", deleted)
        return [parts for *_, parts in rows], [key for _, key, taken, _ in rows if not taken]
