"""Opening a SQLite store for reading only: it may lie in a folder, or on a disk, that cannot be written to.

what is there                                               how it is read
a store in use: SQLite's files `-wal` and `-shm` are there  mode=ro, beside processes that write to it
the same, and the permissions do not allow it               a copy (see copying)
a store that no process has open                            a copy: SQLite would create these files, and leave them
a store of an earlier format, or an empty file              a copy, of the present format

A copy has what was in the store when it was opened. Nothing can be written through any of these connections.

With mode=ro SQLite notes in `-shm`, where it may, what is being read. Its log stays if the last process that writes
ends meanwhile: the next one to open the store goes on with it. If that process ends between our look at the files and
our opening, SQLite creates both files again, without content.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from ...errors import StoreError
from .copying import copy_connection, copy_database
from .opening import check_path, statements_for, store_errors

_UNWRITABLE = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN}
_ATTEMPTS = 10


def open_for_reading(path: Path, lock_timeout: float) -> sqlite3.Connection:
    """Open a store and write nothing; raises StoreError."""
    with store_errors(path):
        if not path.exists():
            raise StoreError(f"the store {path} does not exist")
        check_path(path)
        connection = connect_for_reading(path, lock_timeout, uses_wal=True)
        try:
            if missing := statements_for(path, connection):
                with closing(connection):
                    connection = copy_connection(connection)
                for statement in missing:
                    connection.execute(statement)
            connection.execute("PRAGMA query_only = ON")
        except BaseException:
            connection.close()
            raise
        return connection


def connect_for_reading(path: Path, lock_timeout: float, *, uses_wal: bool) -> sqlite3.Connection:
    """Connect to a database file or a copy of it; threads may use it in turn. Writes no content.

    `uses_wal` says whether its processes have a write-ahead log. Raises sqlite3.Error, OSError or StoreError.
    """
    # resolved, because SQLite's own files are beside the file that a link leads to
    resolved = Path(os.path.realpath(path))
    files = [Path(f"{resolved}{suffix}") for suffix in ("-wal", "-shm")] if uses_wal else []
    # again and again: a process that begins to write while the file is copied creates the files for mode=ro
    for _ in range(_ATTEMPTS):
        if all(file.exists() for file in files):
            with suppress(_NotWritable):
                return _connect(resolved, lock_timeout)
        if (copy := copy_database(resolved)) is not None:
            return copy
    raise StoreError(f"{path} cannot be copied for reading, because it is changed all the time: try again")


class _NotWritable(Exception):
    """SQLite wants to write to the file or beside it, and cannot."""


def _connect(path: Path, lock_timeout: float) -> sqlite3.Connection:
    uri = f"{path.as_uri()}?mode=ro"
    connection = sqlite3.connect(uri, timeout=lock_timeout, isolation_level=None, check_same_thread=False, uri=True)
    try:
        connection.execute("SELECT 1 FROM sqlite_master").fetchone()
    except sqlite3.OperationalError as error:
        connection.close()
        if error.sqlite_errorcode & 0xFF in _UNWRITABLE:
            raise _NotWritable from error
        raise
    except BaseException:
        connection.close()
        raise
    return connection
