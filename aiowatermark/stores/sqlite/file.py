"""A SQLite file as a store: made, recognised, or refused in words that say what to do."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ...errors import StoreError

FORMAT = 1
"""Of the table. It grows when an older version could no longer use it."""
_OURS = 0x61776D31
"""Marks a SQLite file as ours: what `file` and other programs call its application id."""

# SQLite takes anything smaller for an empty file and writes over it
_SMALLEST = 512

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
    f"PRAGMA application_id = {_OURS}",
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


def connected(path: Path, patience: float) -> sqlite3.Connection:
    """Open or make a store, waiting for others `patience` seconds; raises StoreError, and leaves nothing half-made."""
    made = not path.exists()
    try:
        with told(path):
            return _connected(path, patience)
    except BaseException:
        if made:
            _take_away(path)
        raise


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Raise what goes wrong as StoreError that names the file."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        raise _error(path, f"{_REASONS.get(code, 'cannot be used')} ({error})") from None
    except OSError as error:
        raise _error(path, f"cannot be used: {error.strerror or error}") from None


def _error(path: Path, what: str) -> StoreError:
    return StoreError(f"the store {path} {what}")


def _take_away(path: Path) -> None:
    with suppress(OSError):
        if not path.stat().st_size:
            path.unlink()


def _connected(path: Path, patience: float) -> sqlite3.Connection:
    # never opened by other means than SQLite's: closing it would drop the locks of this process's other connections
    if path.is_dir():
        raise _error(path, "is a folder: give the name of a file in it")
    if not path.parent.is_dir():
        raise _error(path, f"cannot be made: there is no folder {path.parent}")
    if path.exists() and 0 < path.stat().st_size < _SMALLEST:
        raise _error(path, _REASONS[sqlite3.SQLITE_NOTADB])
    connection = sqlite3.connect(path, timeout=patience, isolation_level=None)
    try:
        connection.execute("PRAGMA synchronous = FULL")
        _checked(path, connection)
        _logged(connection, patience)
    except BaseException:
        connection.close()
        raise
    return connection


def _checked(path: Path, connection: sqlite3.Connection) -> None:
    """Make what a new file needs, and nothing in one that is somebody else's."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        _made_ours(path, connection)
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


def _made_ours(path: Path, connection: sqlite3.Connection) -> None:
    (mark,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (things,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if not (mark or version or things):
        path.chmod(0o600)  # links to results are worth money
        for statement in _SCHEMA:
            connection.execute(statement)
    elif mark != _OURS:
        raise _error(path, "is another program's database: give another name, nothing was changed")
    elif version > FORMAT:
        raise _error(path, f"is of format {version}, and this aiowatermark knows {FORMAT}: use the newer version")


def _logged(connection: sqlite3.Connection, patience: float) -> None:
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
