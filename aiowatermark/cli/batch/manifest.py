"""Manifest of an output folder: which file holds the result of which job, in `.aiowatermark/manifest.db`.

A repeated run finds out from it what it need not fetch again, and under which name it saves the rest. It lies in the
folder itself, so the knowledge moves with the folder.

    outputs   key, source    one row for each job and input: the same picture under two names is one job and two rows
              target         the name that the result is to have; written before the job is submitted
              file           the name that it got, relative to the output folder; NULL until it was saved
              size, mtime, digest   of the complete file; NULL until its name was created
    rounds    base           the key of a job without its round
              round          how often --again has paid for it anew
              again_open     whether the --again run that began this round has not come to its end
    works     content        what is done: provider, content, mask and options, as a digest
              base           the key of a job that does it, without its round
              account, base_url   where that job is
    charges   provider       a provider's name, and a digest of what else the price of a job depends on; rows of the
                             name alone are of earlier versions, and are not used
              jobs, credits  how many of these jobs said what they cost, and what that was together

`source` is the path of the input relative to the output folder, so that both may be moved together; of a URL, which
may hold a signature, a digest.

A result is saved in three steps: the row gets its name (`file`); in a second transaction the empty file is created and
the row gets its state; the file gets its content by a rename. After a crash row and file are in one of these states:

    file             meaning                     next run
    NULL             nothing was saved           fetches the result under a free name
    missing, empty   killed while saving         fetches it under this name
    as in the row    saved                       skips the job (`saved`)
    anything else    changed since then          fetches it under a free name, leaves the file alone

"As in the row" is the size and the time of the last change, or else the digest: a copy of the folder counts, too.

Concurrency: threads share one connection and a lock; processes share the file, and SQLite orders their transactions.
Two runs of one command use the same row, so they save to the same name, each by an atomic rename: a name is looked up
or chosen in one transaction, and it is in the row before its file exists, so that a run that is killed leaves it to the
next. Beside programs that do not use the manifest, exclusive creation decides.
"""

from __future__ import annotations

import json
import os
import sqlite3
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from threading import Lock
from typing import Any, cast

from attrs import astuple, define, field, frozen

from ...errors import StoreError
from ...media.digests import digest_stream
from ...stores.sqlite.reading import connect_for_reading
from ..console.problems import os_error_text
from .output_names import Target, safe_target
from .state_folder import NAME, StateFolder

_APPLICATION_ID = 0x61776D6F
"""SQLite's application id of manifests ("awmo")."""
_LOCK_TIMEOUT = 30.0
_TABLES = {
    "outputs": """key TEXT NOT NULL, source TEXT NOT NULL, target TEXT NOT NULL, file TEXT, size INTEGER, mtime INTEGER,
        digest TEXT, PRIMARY KEY (key, source)""",
    "rounds": "base TEXT PRIMARY KEY, round INTEGER NOT NULL, again_open INTEGER NOT NULL",
    "works": "content TEXT, base TEXT, account TEXT NOT NULL, base_url TEXT NOT NULL, PRIMARY KEY (content, base)",
    "charges": "provider TEXT PRIMARY KEY, jobs INTEGER NOT NULL, credits REAL NOT NULL",
}
_SET_FILE = "UPDATE outputs SET file = ?, size = ?, mtime = ?, digest = ? WHERE key = ? AND source = ?"
_UPSERT = """INSERT INTO outputs (key, source, target, file, size, mtime, digest) VALUES (?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (key, source) DO UPDATE SET file = excluded.file, size = excluded.size, mtime = excluded.mtime,
    digest = excluded.digest"""


@frozen
class FileState:
    """What a complete file is recognised by."""

    size: int
    mtime: int
    digest: str

    @classmethod
    def of(cls, path: Path) -> FileState:
        """Read a file and return its state; raises OSError."""
        with open_regular(path) as file:
            before = os.fstat(file.fileno())
            return cls(before.st_size, before.st_mtime_ns, digest_stream(file))

    def matches(self, path: Path) -> bool:
        """Whether a file is as it was; it is read only if it has this size and another time."""
        try:
            found = path.lstat()
            if not stat.S_ISREG(found.st_mode) or found.st_size != self.size:
                return False
            return found.st_mtime_ns == self.mtime or FileState.of(path).digest == self.digest
        except OSError:
            return False


@frozen
class Work:
    """What a job does (provider, content, mask and options, as a digest), its key without a round, and where."""

    content: str
    base: str
    account: str
    base_url: str


@define(eq=False)
class Manifest:
    """The manifest of one output folder, open from `open` to `close`; calls block, and raise StoreError."""

    folder: Path
    _connection: sqlite3.Connection | None = field(default=None, init=False)
    _lock: Lock = field(factory=Lock, init=False)
    _begin: str = field(default="BEGIN IMMEDIATE", init=False)

    def open(self, *, read_only: bool = False) -> None:
        """Open or create it, in the state folder, which exists; raises StoreError for a file of another program.

        With `read_only` it must exist, and nothing is written; what a manifest of an earlier version lacks is empty.
        """
        path = StateFolder(self.folder).manifest
        self._begin = "BEGIN" if read_only else "BEGIN IMMEDIATE"
        with self._errors():
            self._connection = _open_for_reading(path) if read_only else _open(path)
        try:
            with self._errors():
                self._connection.execute("PRAGMA synchronous = NORMAL")
            self._prepare(path, read_only=read_only)
        except BaseException:
            self.close()
            raise

    def _prepare(self, path: Path, *, read_only: bool) -> None:
        with self._transaction() as database:
            (application,) = database.execute("PRAGMA application_id").fetchone()
            tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master")}
            if tables and application != _APPLICATION_ID:
                raise StoreError(f"{path} is the database of another program; the file was left unchanged")
            if tables and "outputs" not in tables:
                raise StoreError(f"{path} is of another version of this program; the file was left unchanged")
            if not (tables or read_only):
                database.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            for name in _TABLES.keys() - tables:
                # a temporary table is no part of the file
                database.execute(f"CREATE {'TEMP' if read_only else ''} TABLE {name} ({_TABLES[name]})")
            if read_only:
                database.execute("PRAGMA query_only = ON")

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
            self._connection = None

    def register(self, key: str, source: str, target: Target) -> None:
        """Note which name the result of a job is to have, before the job is submitted."""
        text = json.dumps(astuple(target))
        with self._transaction() as database:
            database.execute(
                "INSERT OR IGNORE INTO outputs (key, source, target) VALUES (?, ?, ?)", (key, source, text)
            )

    def targets(self, key: str) -> list[tuple[str, Target]]:
        """Return the inputs of a job and the names that its result is to have."""
        with self._transaction() as database:
            rows = database.execute("SELECT source, target FROM outputs WHERE key = ? ORDER BY source", (key,))
            return [(source, safe_target(*json.loads(text))) for source, text in rows]

    def saved(self, key: str, source: str) -> Path | None:
        """Return the file with the job's result for this input, if it is as it was written."""
        name, state = self._row(key, source)
        path = None if name is None else self.folder / name
        return path if path is not None and state is not None and state.matches(path) else None

    def saved_for_any(self, key: str) -> Path | None:
        """Return a file with the job's result, saved for any of its inputs, that is as it was written."""
        found = (self.saved(key, source) for source, _ in self.targets(key))
        return next((path for path in found if path is not None), None)

    def reserve(self, key: str, source: str, target: Target, suffix: str, state: FileState) -> Path:
        """Return the file for a result, over which it will be renamed, and note its state; raises OSError.

        It is created, empty, unless an earlier run, or another one of the same command, has created it.
        """
        while True:
            name, is_new = self._choose(key, source, target, suffix)
            if self._create(key, source, name, state, is_new=is_new):
                return self.folder / name

    def _choose(self, key: str, source: str, target: Target, suffix: str) -> tuple[str, bool]:
        """Return the name of a result, and whether it was chosen now; it is in the row before there is a file."""
        # one transaction: of two runs that save one result at once, the second finds the name of the first
        with self._transaction() as database:
            name, before = _read_row(database, key, source)
            if name is not None and _is_free_for(self.folder / name, before):
                return name, False
            name = self._free_name(database, key, source, target, suffix)
            database.execute(_UPSERT, (key, source, json.dumps(astuple(target)), name, None, None, None))
            return name, True

    def _free_name(self, database: sqlite3.Connection, key: str, source: str, target: Target, suffix: str) -> str:
        number = target.number
        # lexists: a broken symbolic link takes a name, too
        while os.path.lexists(self.folder / (name := target.name(suffix, number))) or _is_reserved(
            database, name, key, source
        ):
            number += 1
        return name

    def _create(self, key: str, source: str, name: str, state: FileState, *, is_new: bool) -> bool:
        """Create the file of a row and note its state; False if the name has been taken since it was chosen."""
        path = self.folder / name
        with self._transaction() as database:
            found, before = _read_row(database, key, source)
            if found != name:
                return False
            # a file that is there although the name is new and no run of this command has created it is of a program
            # that does not use the manifest
            is_ours = not (is_new and before is None) and _is_free_for(path, before)
            is_created = create_empty(path, self.folder) or is_ours
            values = (name, *astuple(state)) if is_created else (None, None, None, None)
            database.execute(_SET_FILE, (*values, key, source))
            return is_created

    def _row(self, key: str, source: str) -> tuple[str | None, FileState | None]:
        with self._transaction() as database:
            return _read_row(database, key, source)

    def files(self) -> set[str]:
        """Return the names of all results in the folder that are as they were written."""
        with self._transaction() as database:
            rows = database.execute("SELECT file, size, mtime, digest FROM outputs WHERE file IS NOT NULL").fetchall()
        return {name for name, *state in rows if _is_inside(name) and FileState(*state).matches(self.folder / name)}

    def note_work(self, work: Work) -> None:
        """Note what a job does, and where, before it is submitted."""
        with self._transaction() as database:
            database.execute("INSERT OR IGNORE INTO works VALUES (?, ?, ?, ?)", astuple(work))

    def works(self, content: str) -> list[Work]:
        """Return the jobs that do this, at whichever account and base URL."""
        with self._transaction() as database:
            rows = database.execute("SELECT * FROM works WHERE content = ? ORDER BY rowid", (content,)).fetchall()
        return [Work(*row) for row in rows]

    def round_of(self, base: str) -> tuple[int, bool]:
        """Return how often --again has paid for a job, and whether such a run has not come to its end."""
        with self._transaction() as database:
            row = database.execute("SELECT round, again_open FROM rounds WHERE base = ?", (base,)).fetchone()
        return (0, False) if row is None else (row[0], bool(row[1]))

    def begin_round(self, base: str, *, anew: bool) -> int:
        """Note that an --again run has begun for a job, in a new round if it must be paid anew; return the round.

        A run that has not come to its end is continued: its round stays.
        """
        with self._transaction() as database:
            database.execute("INSERT OR IGNORE INTO rounds VALUES (?, 0, 0)", (base,))
            database.execute(
                "UPDATE rounds SET round = round + ?, again_open = 1 WHERE base = ? AND NOT again_open", (anew, base)
            )
            (number,) = database.execute("SELECT round FROM rounds WHERE base = ?", (base,)).fetchone()
            return cast("int", number)

    def end_rounds(self, bases: Iterable[str]) -> None:
        """Note that the --again run over these jobs has come to its end."""
        with self._transaction() as database:
            database.executemany("UPDATE rounds SET again_open = 0 WHERE base = ?", [(base,) for base in bases])

    def add_charge(self, group: str, credits: float) -> None:  # noqa: A002 - the providers' word
        """Note what a job cost, one of a group of jobs that should all cost the same."""
        with self._transaction() as database:
            database.execute("INSERT OR IGNORE INTO charges VALUES (?, 0, 0)", (group,))
            database.execute(
                "UPDATE charges SET jobs = jobs + 1, credits = credits + ? WHERE provider = ?", (credits, group)
            )

    def average_charge(self, group: str) -> float | None:
        """Return what a job of this group has cost on average; None while that is not known."""
        with self._transaction() as database:
            row = database.execute("SELECT credits / jobs FROM charges WHERE provider = ?", (group,)).fetchone()
        return None if row is None else cast("float", row[0])

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._errors():
            if self._connection is None:
                raise StoreError("the manifest of the output folder is closed")
            # a connection in this mode commits at the end of the block, or rolls back
            self._connection.execute(self._begin)
            with self._connection:
                yield self._connection

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            path = StateFolder(self.folder).manifest
            raise StoreError(f"the manifest {path} cannot be used: {error}") from None


def _open(path: Path) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?mode=rwc"
    return sqlite3.connect(uri, timeout=_LOCK_TIMEOUT, isolation_level=None, check_same_thread=False, uri=True)


def _open_for_reading(path: Path) -> sqlite3.Connection:
    try:
        return connect_for_reading(path, _LOCK_TIMEOUT, uses_wal=False)
    except OSError as error:
        raise StoreError(f"the manifest {path} cannot be read: {os_error_text(error)}") from None


def _read_row(database: sqlite3.Connection, key: str, source: str) -> tuple[str | None, FileState | None]:
    query = "SELECT file, size, mtime, digest FROM outputs WHERE key = ? AND source = ?"
    name, *state = database.execute(query, (key, source)).fetchone() or (None,)
    # the folder may come from elsewhere: a name could point outside it
    if name is None or not _is_inside(name):
        return None, None
    return name, None if state[0] is None else FileState(*state)


def _is_reserved(database: sqlite3.Connection, name: str, key: str, source: str) -> bool:
    """Whether a name is that of another input's result, whose file may be missing, or that of another job's to come."""
    query = "SELECT 1 FROM outputs WHERE file = ? AND (source <> ? OR (key <> ? AND size IS NULL))"
    return database.execute(query, (name, source, key)).fetchone() is not None


def _is_free_for(path: Path, state: FileState | None) -> bool:
    """Whether a result may replace what is there: nothing, an empty file, or the same result."""
    return _is_empty(path) or (state is not None and state.matches(path))


def create_empty(path: Path, folder: Path) -> bool:
    """Create an empty file if nothing has its name; whether it was created. Raises OSError.

    Subfolders are created, too; one that leads out of `folder` is refused.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.parent.resolve().is_relative_to(folder.resolve()):
        raise OSError(f"{path.parent} leads out of the output folder: it is a symbolic link")
    try:
        path.open("x").close()
    except FileExistsError:
        return False
    return True


def open_regular(path: Path) -> Any:
    """Open a file for reading that is not a symbolic link, device or FIFO; raises OSError for one that is."""
    # O_NONBLOCK: opening a FIFO would wait for its other end
    flags = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    opened = open(path, "rb", opener=lambda name, asked: os.open(name, asked | flags))  # noqa: SIM115
    if not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
        opened.close()
        raise OSError(f"{path} is not a regular file")
    return opened


def _is_inside(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return bool(parts) and not name.startswith("/") and ".." not in parts and parts[0] != NAME and "\\" not in name


def _is_empty(path: Path) -> bool:
    """Whether a file has no content, or does not exist."""
    try:
        found = path.lstat()
    except OSError:
        return True
    return stat.S_ISREG(found.st_mode) and found.st_size == 0
