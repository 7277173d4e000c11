"""A copy of a SQLite file, for reading it without SQLite's files beside it; the file and its folder stay as they are.

The file and its logs (`-wal`, or `-journal` after a crash) are copied into a temporary folder, where SQLite applies the
logs. The result is a temporary database of SQLite's own, which is on the disk as far as it is large, and ends with its
connection.

A copy is consistent if nothing was written meanwhile: size and time of the last change of all three are the same before
and after. A pause after the first look makes sure that a change during the copy has another time than one before it.

The pages of the file are read by SQLite, never by us: closing a descriptor of our own would drop the POSIX locks that
other connections of this process hold on it (see opening). The logs carry no locks.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from time import sleep
from typing import TypeAlias

_LOGS = ("-wal", "-journal")
# the clock of file systems advances every 10 ms at the latest, where their times are not whole seconds
_CLOCK_STEP = 0.02

_State: TypeAlias = tuple[tuple[int, int, int] | None, ...]


def copy_database(path: Path) -> sqlite3.Connection | None:
    """Return a copy of the database at `path`, which must be resolved; None if it was changed meanwhile; blocks.

    Raises sqlite3.Error or OSError if it cannot be read.
    """
    before = _state(path)
    sleep(_CLOCK_STEP)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        copied = Path(folder) / "copy"
        try:
            _copy_files(path, copied)
        except (OSError, sqlite3.Error):
            if _state(path) == before:
                raise
            return None
        if _state(path) != before:
            return None
        with closing(sqlite3.connect(copied)) as connection:
            return copy_connection(connection)


def copy_connection(source: sqlite3.Connection) -> sqlite3.Connection:
    """Return a copy of what a connection reads, which may be used by several threads in turn."""
    copy = sqlite3.connect("", isolation_level=None, check_same_thread=False)
    try:
        source.backup(copy)
    except BaseException:
        copy.close()
        raise
    return copy


def _state(path: Path) -> _State:
    """Return what changes with each write to a file or its logs; None for one that does not exist."""
    return tuple(_state_of(f"{path}{suffix}") for suffix in ("", *_LOGS))


def _state_of(path: str) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _copy_files(path: Path, copied: Path) -> None:
    source = sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True)
    with closing(source), closing(sqlite3.connect(copied)) as target:
        # without a log that was half applied to it the file may be shorter than it says, which is an error otherwise
        source.execute("PRAGMA writable_schema = ON")
        target.execute("PRAGMA synchronous = OFF")
        source.backup(target)
    for suffix in _LOGS:
        log = Path(f"{path}{suffix}")
        if log.exists():
            shutil.copyfile(log, f"{copied}{suffix}")
