"""Opening a SQLite store: creates, recognises and migrates the file; says why a file cannot be used."""

from __future__ import annotations

import secrets
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ...errors import StoreError

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
    "ALTER TABLE records ADD COLUMN taken INTEGER NOT NULL DEFAULT 1",
    "CREATE INDEX not_taken ON records (id) WHERE ended IS NOT NULL AND NOT taken",
    # one row: the time on the store's clock, and the wall clock when it was written
    "CREATE TABLE clock (time REAL NOT NULL, wall REAL NOT NULL)",
    "CREATE TABLE secret (value BLOB NOT NULL)",  # one row: what the keys of callbacks are signed with
    "INSERT INTO clock SELECT now, now FROM (SELECT (julianday('now') - 2440587.5) * 86400.0 AS now)",
    f"PRAGMA user_version = {FORMAT}",
)

_REASONS = {
    sqlite3.SQLITE_FULL: "cannot grow: the disk is full",
    sqlite3.SQLITE_READONLY: "cannot be written: it is read-only",
    sqlite3.SQLITE_NOTADB: "is not an aiowatermark store: choose another file name; the file was left unchanged",
    sqlite3.SQLITE_CORRUPT: "is damaged: move the file away or restore it from a copy",
    sqlite3.SQLITE_BUSY: "is locked by another program",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened or created: the permissions of the file or its folder do not allow it",
    sqlite3.SQLITE_IOERR: "cannot be read or written: the disk reported an error",
}


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
    check_path(path)
    connection = sqlite3.connect(path, timeout=lock_timeout, isolation_level=None)
    try:
        connection.execute("PRAGMA synchronous = FULL")
        _check_file(path, connection)
        _enable_wal(connection, lock_timeout)
    except BaseException:
        connection.close()
        raise
    return connection


def check_path(path: Path) -> None:
    """Raise StoreError for what can be no store, without opening it."""
    # the file is never opened except by SQLite: closing it would drop the POSIX locks of this process's connections
    if path.is_dir():
        raise _store_error(path, "is a folder: give the name of a file in it")
    if not path.parent.is_dir():
        raise _store_error(path, f"cannot be created: the folder {path.parent} does not exist")
    if path.exists() and 0 < path.stat().st_size < _MIN_DATABASE_SIZE:
        raise _store_error(path, _REASONS[sqlite3.SQLITE_NOTADB])


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
    statements = statements_for(path, connection)
    if statements[: len(_SCHEMA)] == _SCHEMA:
        path.chmod(0o600)  # links to paid results are confidential
    for statement in statements:
        connection.execute(statement)
    if statements:
        connection.execute("INSERT INTO secret VALUES (?)", (secrets.token_bytes(32),))


def statements_for(path: Path, connection: sqlite3.Connection) -> tuple[str, ...]:
    """Return what a file needs to have the present format; raises StoreError for one that is not ours, or is newer."""
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (schema_size,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if not (application_id or version or schema_size):
        return _SCHEMA + _MIGRATION
    if application_id != _APPLICATION_ID:
        raise _store_error(
            path, "is the database of another program: choose another file name; the file was left unchanged"
        )
    if version > FORMAT:
        raise _store_error(
            path,
            f"has format {version}, but this version of aiowatermark reads format {FORMAT}: use the newer version",
        )
    return _MIGRATION if version < FORMAT else ()


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
