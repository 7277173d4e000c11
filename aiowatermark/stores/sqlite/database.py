"""One SQLite file as a table of records: read one by one, changed by many in one transaction."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from attrs import define, field

from ...errors import StoreError

_INSERT = "INSERT INTO records (key, callback, version, ended, parts, data) "
_VALUES = "(?, ?, ?, ?, ?, ?)"
_PADDING = (None,) * 6
# parts are added up: a newer record may still speak of files that came with an older one
_UPDATE = """ ON CONFLICT (key) DO UPDATE SET callback = excluded.callback, version = excluded.version,
    ended = excluded.ended, parts = trim(parts || ' ' || excluded.parts), data = """
_UPDATE_NEWER = _UPDATE + "excluded.data WHERE ended IS NULL AND excluded.version > version"
# a row that may not be taken gets no data, which the table refuses, and with it all the others
_UPDATE_ALL = _UPDATE + "CASE WHEN ended IS NULL AND excluded.version > version THEN excluded.data END"
_IGNORE = " ON CONFLICT (key) DO NOTHING"


class ChangeKind(Enum):
    """What a change does."""

    OPEN = _IGNORE
    PUT = _UPDATE_NEWER
    FORGET = ""


class RecordRow(NamedTuple):
    """A record as a row; `parts` are names of files, separated by spaces."""

    key: str
    callback: str | None
    version: int
    ended: float | None
    parts: str
    data: str


@define(eq=False)  # not frozen: that costs a microsecond each
class Change:
    """One thing to be done; a row where there is one to write."""

    kind: ChangeKind
    key: str
    row: RecordRow | None = None

    @property
    def batchable(self) -> bool:
        """Whether it may be taken as news: a first version is never news of a record that is known."""
        return self.kind is ChangeKind.PUT or (self.row is not None and self.row.version == 0)


ChangeResult: TypeAlias = str | None
"""OPEN: the data that had the key already. PUT: the data that was newer. FORGET: the parts that nobody has now."""


@define(eq=False)
class Database:
    """An open file; used in one thread."""

    path: Path
    connection: sqlite3.Connection
    max_batch: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        """As many rows a statement as this SQLite takes values."""
        self.max_batch = 1 << (self.connection.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER) // 6).bit_length() - 1

    @classmethod
    def open(cls, path: Path, patience: float) -> Database:
        """Open or make a store; raises StoreError, and leaves nothing half-made."""
        return cls(path, open_database(path, patience))

    def close(self) -> None:
        """Close the file; the last to close it also clears its write-ahead log away."""
        with store_errors(self.path):
            self.connection.close()

    def apply(self, changes: Sequence[Change]) -> list[ChangeResult]:
        """Do all or nothing, durably; gives each one's outcome. Raises StoreError, and nothing is done."""
        with store_errors(self.path):
            if self._try_batch(changes):
                return [None] * len(changes)
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                outcomes = [self._apply_one(change) for change in changes]
                self.connection.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    self.connection.execute("ROLLBACK")
                raise
            return outcomes

    def _try_batch(self, changes: Sequence[Change]) -> bool:
        """Take all rows as news, in one statement, because each has to win the interpreter back from a busy loop.

        False, and nothing is done, where keys meet or a record is known already: then each is asked for by itself.
        """
        rows = [change.row for change in changes if change.row is not None and change.batchable]
        if len({row.key for row in rows}) < len(changes) or len(rows) > self.max_batch:
            return False
        count = 1 << (len(rows) - 1).bit_length()  # a power of two, so that few statements exist
        values = [value for row in rows for value in row]
        values += _PADDING * (count - len(rows))
        with suppress(sqlite3.IntegrityError):
            self.connection.execute(_batch_statement(count), values)
            return True
        return False

    def _apply_one(self, change: Change) -> ChangeResult:
        if change.row is None:
            parts: str | None = self._value("SELECT parts FROM records WHERE key = ?", change.key)
            self.connection.execute("DELETE FROM records WHERE key = ?", (change.key,))
            return parts
        if self.connection.execute(f"{_INSERT}VALUES {_VALUES}{change.kind.value}", change.row).rowcount:
            return None
        return self.by_key(change.key)

    def _value(self, statement: str, *values: Any) -> Any:
        with store_errors(self.path):
            row = self.connection.execute(statement, values).fetchone()
        return None if row is None else row[0]

    def by_key(self, key: str) -> str | None:
        """The data of that key."""
        data: str | None = self._value("SELECT data FROM records WHERE key = ?", key)
        return data

    def by_callback(self, callback: str) -> str | None:
        """The data whose callback key has that hash."""
        data: str | None = self._value("SELECT data FROM records WHERE callback = ?", callback)
        return data

    def newest(self) -> int:
        """The number of the newest row."""
        return self._value("SELECT max(id) FROM records") or 0

    def unfinished(self, after: int, until: int, count: int) -> list[tuple[int, str, str]]:
        """Numbers, keys and data of what has not ended, oldest first, of rows after and until those numbers."""
        with store_errors(self.path):
            return self.connection.execute(
                "SELECT id, key, data FROM records WHERE ended IS NULL AND id > ? AND id <= ? ORDER BY id LIMIT ?",
                (after, until, count),
            ).fetchall()

    def parts(self) -> Iterator[str]:
        """The names of all parts."""
        with store_errors(self.path):
            for (parts,) in self.connection.execute("SELECT parts FROM records WHERE parts <> ''"):
                yield from parts.split()

    def expire(self, before: float, count: int) -> list[str]:
        """Remove at most so many rows that ended before then; gives their parts, joined row by row."""
        with store_errors(self.path):
            rows = self.connection.execute(
                "SELECT id, parts FROM records WHERE ended < ? ORDER BY ended LIMIT ?", (before, count)
            ).fetchall()
            if rows:
                ids = ",".join(str(number) for number, _ in rows)
                self.connection.execute(f"DELETE FROM records WHERE id IN ({ids})")  # noqa: S608 - our own numbers
            return [parts for _, parts in rows]


def _batch_statement(count: int) -> str:
    rows = ", ".join([_VALUES] * count)
    return f"{_INSERT}SELECT * FROM (VALUES {rows}) WHERE column1 IS NOT NULL{_UPDATE_ALL}"  # noqa: S608 - no text of others


FORMAT = 1
"""Of the table. It grows when an older version could no longer use it."""
_APPLICATION_ID = 0x61776D31
"""Marks a SQLite file as ours: what `file` and other programs call its application id."""

# SQLite takes anything smaller for an empty file and writes over it
_MIN_DATABASE_SIZE = 512

# `ended` is when a record became terminal; NULL in all that are not, which the index therefore lists, oldest first
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
    f"PRAGMA user_version = {FORMAT}",
)

_REASONS = {
    sqlite3.SQLITE_FULL: "cannot grow: the disk is full",
    sqlite3.SQLITE_READONLY: "cannot be written: it is read-only",
    sqlite3.SQLITE_NOTADB: "is no store of aiowatermark: give another name, nothing was changed",
    sqlite3.SQLITE_CORRUPT: "is damaged: take it away or restore it from a copy",
    sqlite3.SQLITE_BUSY: "is held by another program",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened or made: its folder or its permissions do not allow it",
    sqlite3.SQLITE_IOERR: "cannot be read or written: the disk refuses",
}


def open_database(path: Path, patience: float) -> sqlite3.Connection:
    """Open or make a store, waiting for others `patience` seconds; raises StoreError, and leaves nothing half-made."""
    made = not path.exists()
    try:
        with store_errors(path):
            return _connect(path, patience)
    except BaseException:
        if made:
            _remove_empty(path)
        raise


@contextmanager
def store_errors(path: Path) -> Iterator[None]:
    """Raise what goes wrong as StoreError that names the file."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        raise _store_error(path, f"{_REASONS.get(code, 'cannot be used')} ({error})") from None
    except OSError as error:
        raise _store_error(path, f"cannot be used: {error.strerror or error}") from None


def _store_error(path: Path, what: str) -> StoreError:
    return StoreError(f"the store {path} {what}")


def _remove_empty(path: Path) -> None:
    with suppress(OSError):
        if not path.stat().st_size:
            path.unlink()


def _connect(path: Path, patience: float) -> sqlite3.Connection:
    # never opened by other means than SQLite's: closing it would drop the locks of this process's other connections
    if path.is_dir():
        raise _store_error(path, "is a folder: give the name of a file in it")
    if not path.parent.is_dir():
        raise _store_error(path, f"cannot be made: there is no folder {path.parent}")
    if path.exists() and 0 < path.stat().st_size < _MIN_DATABASE_SIZE:
        raise _store_error(path, _REASONS[sqlite3.SQLITE_NOTADB])
    connection = sqlite3.connect(path, timeout=patience, isolation_level=None)
    try:
        connection.execute("PRAGMA synchronous = FULL")
        _check_file(path, connection)
        _enable_wal(connection, patience)
    except BaseException:
        connection.close()
        raise
    return connection


def _check_file(path: Path, connection: sqlite3.Connection) -> None:
    """Make what a new file needs, and nothing in one that is somebody else's."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        _initialise(path, connection)
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


def _initialise(path: Path, connection: sqlite3.Connection) -> None:
    (mark,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (things,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if not (mark or version or things):
        path.chmod(0o600)  # links to results are worth money
        for statement in _SCHEMA:
            connection.execute(statement)
    elif mark != _APPLICATION_ID:
        raise _store_error(path, "is another program's database: give another name, nothing was changed")
    elif version > FORMAT:
        raise _store_error(path, f"is of format {version}, and this aiowatermark knows {FORMAT}: use the newer version")


def _enable_wal(connection: sqlite3.Connection, patience: float) -> None:
    """Write ahead from now on. SQLite does not wait for others here, so we do; this is no event loop's thread."""
    until = time.monotonic() + patience
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.01)
        else:
            return
