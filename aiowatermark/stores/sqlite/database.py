"""Database: one SQLite file with a table of records; reads single rows, writes batches in one transaction.

    column    meaning
    id        number of the row; grows with time, so it orders records by age
    key       the job's key, unique
    callback  hash of the callback key, or NULL
    task      the account and the provider's task id, or NULL while there is none
    epoch     the record's epoch
    version   the record's version
    ended     time at which the record became terminal, on the store's own clock; NULL while it is unfinished
    parts     names of its result files, separated by spaces; those of earlier versions too
    data      the record as JSON

`apply` makes a batch of changes in one transaction, all or none. It first tries to write all rows with one statement
(`executemany`). That is possible if no two changes have the same key and each would be an insert or a newer version.
"Newer" is `Record.replaceable_by`: a later version of this epoch, or a later epoch made of this very version.

    change                         row with the key                result
    OPEN                           none                            inserted
    OPEN                           any                             unchanged; its data is returned
    PUT                            none                            inserted
    UPDATE                         none                            nothing; None is returned
    PUT, UPDATE                    older                           replaced
    PUT, UPDATE                    any other                       unchanged; its data is returned
    FORGET                         this epoch and version          deleted; its parts are returned
    FORGET                         none, or any other              unchanged; its data is returned

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

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple

from attrs import define, field

from ...errors import StoreError
from .clock import StoreClock

FORMAT = 2
"""The format number of the table; raise it when an older version could no longer use the file."""
_APPLICATION_ID = 0x61776D31
"""SQLite's application id of our files ("awm1"), by which `file` and other programs recognise them."""

# SQLite treats a smaller file as an empty database and overwrites it
_MIN_DATABASE_SIZE = 512

# the index on `ended` also lists the unfinished records, whose `ended` is NULL, in the order of their ids
_SCHEMA = (
    """CREATE TABLE records (
        id INTEGER PRIMARY KEY,
        key TEXT NOT NULL UNIQUE,
        callback TEXT,
        version INTEGER NOT NULL,
        ended REAL,
        parts TEXT NOT NULL,
        data TEXT NOT NULL
    )""",
    "CREATE INDEX by_callback ON records (callback) WHERE callback IS NOT NULL",
    "CREATE INDEX by_end ON records (ended)",
    f"PRAGMA application_id = {_APPLICATION_ID}",
)
# what format 2 adds; an earlier version that still has the file open can go on, its rows get the defaults
_MIGRATION = (
    "ALTER TABLE records ADD COLUMN task TEXT",
    "ALTER TABLE records ADD COLUMN epoch INTEGER NOT NULL DEFAULT 0",
    """UPDATE records SET task = json_extract(data, '$.account') || ' ' || json_extract(data, '$.snapshot.task_id')
       WHERE json_valid(data)""",
    "CREATE INDEX by_task ON records (task) WHERE task IS NOT NULL",
    # one row: the time on the store's clock, and the wall clock when it was written
    "CREATE TABLE clock (time REAL NOT NULL, wall REAL NOT NULL)",
    "INSERT INTO clock SELECT now, now FROM (SELECT (julianday('now') - 2440587.5) * 86400.0 AS now)",
    f"PRAGMA user_version = {FORMAT}",
)

_INSERT = "INSERT INTO records (key, callback, task, epoch, version, ended, parts, data) "
_VALUES = "(?, ?, ?, ?, ?, ?, ?, ?)"
# `Record.replaceable_by`
_REPLACEABLE = """CASE WHEN excluded.epoch = epoch THEN ended IS NULL AND excluded.version > version
    ELSE excluded.epoch > epoch AND excluded.version = version + 1 END"""
# parts are added up: a newer record may still refer to the files of an older one
_UPDATE = """ ON CONFLICT (key) DO UPDATE SET callback = excluded.callback, task = excluded.task,
    epoch = excluded.epoch, version = excluded.version, ended = excluded.ended,
    parts = trim(parts || ' ' || excluded.parts), data = """
_UPDATE_NEWER = f"{_UPDATE}excluded.data WHERE {_REPLACEABLE}"
# a row that must stay gets NULL as its data; the table refuses that, and with it the whole batch
_UPDATE_ALL = f"{_UPDATE}CASE WHEN {_REPLACEABLE} THEN excluded.data END"
_IGNORE = " ON CONFLICT (key) DO NOTHING"

_REASONS = {
    sqlite3.SQLITE_FULL: "cannot grow: the disk is full",
    sqlite3.SQLITE_READONLY: "cannot be written: it is read-only",
    sqlite3.SQLITE_NOTADB: "is not an aiowatermark store: choose another file name; the file was left unchanged",
    sqlite3.SQLITE_CORRUPT: "is damaged: move the file away or restore it from a copy",
    sqlite3.SQLITE_BUSY: "is locked by another program",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened or created: the permissions of the file or its folder do not allow it",
    sqlite3.SQLITE_IOERR: "cannot be read or written: the disk reported an error",
}


class ChangeKind(Enum):
    """What a change does; see the table at the head of this module."""

    OPEN = "open"
    PUT = "put"
    UPDATE = "update"
    FORGET = "forget"


class RecordRow(NamedTuple):
    """A record as a row; `parts` are names of files, separated by spaces."""

    key: str
    callback: str | None
    task: str | None
    epoch: int
    version: int
    ended: float | None
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
    """Whether a change was made, or had nothing to do, and the stored data if not; for FORGET the row's parts if so."""

    done: bool
    data: str | None = None


_DONE = ChangeResult(done=True)


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

    def close(self) -> None:
        """Close the file; the last process to close it also removes the write-ahead log."""
        with store_errors(self.path):
            self.connection.close()

    def apply(self, changes: Sequence[Change]) -> list[ChangeResult]:
        """Make all changes durably and return their results; raises StoreError and makes none."""
        rows = [change.row for change in changes if change.batchable]
        with store_errors(self.path):
            if len({row.key for row in rows}) == len(changes):
                with suppress(sqlite3.IntegrityError), self._transaction():
                    self.connection.executemany(f"{_INSERT}VALUES {_VALUES}{_UPDATE_ALL}", rows)
                    return [_DONE] * len(changes)
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
        if kind is ChangeKind.UPDATE and self.by_key(row.key) is None:
            return ChangeResult(done=False)
        conflict = _IGNORE if kind is ChangeKind.OPEN else _UPDATE_NEWER
        written = self.connection.execute(f"{_INSERT}VALUES {_VALUES}{conflict}", row).rowcount
        return _DONE if written else ChangeResult(done=False, data=self.by_key(row.key))

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

    def newest(self) -> int:
        """Return the id of the newest row, 0 if there is none."""
        return self._value("SELECT max(id) FROM records") or 0

    def unfinished(self, after: int, until: int, count: int) -> list[tuple[int, str, str]]:
        """Return id, key and data of at most `count` unfinished records with after < id <= until, oldest first."""
        with store_errors(self.path):
            return self.connection.execute(
                "SELECT id, key, data FROM records WHERE ended IS NULL AND id > ? AND id <= ? ORDER BY id LIMIT ?",
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

    def expire(self, before: float, count: int) -> list[str]:
        """Delete at most `count` records that ended before that time; return the parts of each row."""
        with store_errors(self.path):
            rows = self.connection.execute(
                "SELECT id, parts FROM records WHERE ended < ? ORDER BY ended LIMIT ?", (before, count)
            ).fetchall()
            if rows:
                ids = ",".join(str(row_id) for row_id, _ in rows)
                self.connection.execute(f"DELETE FROM records WHERE id IN ({ids})")  # noqa: S608 - only integers
            return [parts for _, parts in rows]


def open_database(path: Path, lock_timeout: float) -> sqlite3.Connection:
    """Open or create a store, waiting up to `lock_timeout` seconds for other processes.

    Raises StoreError, and then removes a new file that was not initialised.
    """
    is_new = not path.exists()
    try:
        with store_errors(path):
            return _connect(path, lock_timeout)
    except BaseException:
        if is_new:
            _remove_empty(path)
        raise


@contextmanager
def store_errors(path: Path) -> Iterator[None]:
    """Raise sqlite3 and OS errors as StoreErrors that name the file and the cause."""
    try:
        yield
    except sqlite3.Error as error:
        # the low byte is the primary result code, without SQLite's extended details
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        raise _store_error(path, f"{_REASONS.get(code, 'cannot be used')} ({error})") from None
    except OSError as error:
        raise _store_error(path, f"cannot be used: {error.strerror or error}") from None


def _store_error(path: Path, problem: str) -> StoreError:
    return StoreError(f"the store {path} {problem}")


def _remove_empty(path: Path) -> None:
    with suppress(OSError):
        if not path.stat().st_size:
            path.unlink()


def _connect(path: Path, lock_timeout: float) -> sqlite3.Connection:
    # the file is never opened except by SQLite: closing it would drop the POSIX locks of this process's connections
    if path.is_dir():
        raise _store_error(path, "is a folder: give the name of a file in it")
    if not path.parent.is_dir():
        raise _store_error(path, f"cannot be created: the folder {path.parent} does not exist")
    if path.exists() and 0 < path.stat().st_size < _MIN_DATABASE_SIZE:
        raise _store_error(path, _REASONS[sqlite3.SQLITE_NOTADB])
    connection = sqlite3.connect(path, timeout=lock_timeout, isolation_level=None)
    try:
        connection.execute("PRAGMA synchronous = FULL")
        _check_file(path, connection)
        _enable_wal(connection, lock_timeout)
    except BaseException:
        connection.close()
        raise
    return connection


def _check_file(path: Path, connection: sqlite3.Connection) -> None:
    """Create the table in a new file and refuse a file of another program, in one transaction."""
    # IMMEDIATE, so that only one of several processes creates the table
    connection.execute("BEGIN IMMEDIATE")
    try:
        _initialise(path, connection)
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


def _initialise(path: Path, connection: sqlite3.Connection) -> None:
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (schema_size,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    statements: tuple[str, ...] = ()
    if not (application_id or version or schema_size):
        path.chmod(0o600)  # links to paid results are confidential
        statements = _SCHEMA + _MIGRATION
    elif application_id != _APPLICATION_ID:
        raise _store_error(
            path, "is the database of another program: choose another file name; the file was left unchanged"
        )
    elif version > FORMAT:
        raise _store_error(
            path,
            f"has format {version}, but this version of aiowatermark reads format {FORMAT}: use the newer version",
        )
    elif version < FORMAT:
        statements = _MIGRATION
    for statement in statements:
        connection.execute(statement)


def _enable_wal(connection: sqlite3.Connection, lock_timeout: float) -> None:
    """Switch to a write-ahead log."""
    # SQLite does not apply its timeout to this statement, so retry it here; this thread may block
    until = time.monotonic() + lock_timeout
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.01)
        else:
            return
