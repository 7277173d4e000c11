"""Opening a SQLite store for reading only: it may lie in a folder, or on a disk, that cannot be written to.

what is there                                           how it is read
a store, in a folder for SQLite's own files             mode=ro: beside processes that write to it
a store, in a folder that cannot be written to          as an immutable file: nobody can write to it
the same, with a write-ahead log that was copied along  a copy in memory, made of a temporary copy of both
a store of an earlier format, or an empty file          a copy in memory, of the present format
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from contextlib import closing, suppress
from pathlib import Path

from .opening import check_path, statements_for, store_errors

_UNWRITABLE = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN}


def open_for_reading(path: Path, lock_timeout: float) -> sqlite3.Connection:
    """Open a store and write nothing; raises StoreError."""
    with store_errors(path):
        check_path(path)
        connection = _open(path, lock_timeout)
        try:
            missing = statements_for(path, connection)
        except BaseException:
            connection.close()
            raise
        if not missing:
            return connection
        with closing(connection):
            memory = _copy(connection)
        for statement in missing:
            memory.execute(statement)
        return memory


def _open(path: Path, lock_timeout: float) -> sqlite3.Connection:
    with suppress(_NotWritable):
        return _connect(path, "mode=ro", lock_timeout)
    log = Path(f"{path}-wal")
    if not (log.exists() and log.stat().st_size):
        return _connect(path, "mode=ro&immutable=1", lock_timeout)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        shutil.copyfile(log, f"{copy}-wal")
        shutil.copyfile(path, copy)
        with closing(_connect(copy, "mode=rw", lock_timeout)) as connection:
            return _copy(connection)


class _NotWritable(Exception):
    """SQLite wants to write files beside the store, and cannot."""


def _connect(path: Path, options: str, lock_timeout: float) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?{options}"
    connection = sqlite3.connect(uri, timeout=lock_timeout, isolation_level=None, uri=True)
    try:
        connection.execute("SELECT 1 FROM sqlite_master").fetchone()
    except sqlite3.OperationalError as error:
        connection.close()
        if options == "mode=ro" and error.sqlite_errorcode & 0xFF in _UNWRITABLE:
            raise _NotWritable from error
        raise
    except BaseException:
        connection.close()
        raise
    return connection


def _copy(connection: sqlite3.Connection) -> sqlite3.Connection:
    memory = sqlite3.connect(":memory:", isolation_level=None)
    connection.backup(memory)
    return memory
