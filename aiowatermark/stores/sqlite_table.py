"""One SQLite file as a table of records: read one by one, changed by many in one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from attrs import define

from .sqlite_file import connected, told

_INSERT = "INSERT INTO records (key, callback, version, ended, parts, data) VALUES "
_VALUES = "(?, ?, ?, ?, ?, ?)"
# parts are added up: a newer record may still speak of files that came with an older one
_NEWS = """ ON CONFLICT (key) DO UPDATE SET callback = excluded.callback, version = excluded.version,
    ended = excluded.ended, parts = trim(parts || ' ' || excluded.parts), data = excluded.data
    WHERE ended IS NULL AND excluded.version > version"""
_NOTHING = " ON CONFLICT (key) DO NOTHING"
# rows of one statement: few enough for the oldest limit of parameters, a power of two so that few statements exist
_TOGETHER = 128


class Kind(Enum):
    """What a change does."""

    OPEN = _NOTHING
    PUT = _NEWS
    FORGET = ""


class Row(NamedTuple):
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

    kind: Kind
    key: str
    row: Row | None = None


Outcome: TypeAlias = str | None
"""OPEN: the data that had the key already. PUT: the data that was newer. FORGET: the parts that nobody has now."""


@define(eq=False)
class Table:
    """An open file; used in one thread."""

    path: Path
    connection: sqlite3.Connection

    @classmethod
    def opened(cls, path: Path, patience: float) -> Table:
        """Open or make a store; raises StoreError, and leaves nothing half-made."""
        return cls(path, connected(path, patience))

    def close(self) -> None:
        """Close the file; the last to close it also clears its write-ahead log away."""
        with told(self.path):
            self.connection.close()

    def change(self, changes: Sequence[Change]) -> list[Outcome]:
        """Do all in one transaction, durably; gives each one's outcome. Raises StoreError, and nothing is done."""
        with told(self.path):
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                outcomes = self._together(changes)
                if outcomes is None:
                    self.connection.execute("ROLLBACK")
                    self.connection.execute("BEGIN IMMEDIATE")
                    outcomes = [self._one(change) for change in changes]
                self.connection.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    self.connection.execute("ROLLBACK")
                raise
            return outcomes

    def _together(self, changes: Sequence[Change]) -> list[Outcome] | None:
        """Many rows a statement, because each statement has to win the interpreter back from a busy event loop.

        None where keys meet or a record is known already: then each is asked for by itself.
        """
        if len({change.key for change in changes}) < len(changes):
            return None
        for kind in (Kind.OPEN, Kind.PUT):
            rows = [change.row for change in changes if change.kind is kind and change.row is not None]
            if self._insert(kind, rows) < len(rows):
                return None
        return [self._one(change) if change.kind is Kind.FORGET else None for change in changes]

    def _insert(self, kind: Kind, rows: Sequence[Row]) -> int:
        """How many rows were taken."""
        taken = start = 0
        while start < len(rows):
            count = min(_TOGETHER, 1 << (len(rows) - start).bit_length() - 1)
            values = [value for row in rows[start : start + count] for value in row]
            taken += self.connection.execute(_statement(kind, count), values).rowcount
            start += count
        return taken

    def _one(self, change: Change) -> Outcome:
        if change.row is None:
            parts: str | None = self._value("SELECT parts FROM records WHERE key = ?", change.key)
            self.connection.execute("DELETE FROM records WHERE key = ?", (change.key,))
            return parts
        if self._insert(change.kind, [change.row]):
            return None
        return self.by_key(change.key)

    def _value(self, statement: str, *values: Any) -> Any:
        with told(self.path):
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
        with told(self.path):
            return self.connection.execute(
                "SELECT id, key, data FROM records WHERE ended IS NULL AND id > ? AND id <= ? ORDER BY id LIMIT ?",
                (after, until, count),
            ).fetchall()

    def parts(self) -> Iterator[str]:
        """The names of all parts."""
        with told(self.path):
            for (parts,) in self.connection.execute("SELECT parts FROM records WHERE parts <> ''"):
                yield from parts.split()

    def expire(self, before: float, count: int) -> list[str]:
        """Remove at most so many rows that ended before then; gives their parts, joined row by row."""
        with told(self.path):
            rows = self.connection.execute(
                "SELECT id, parts FROM records WHERE ended < ? ORDER BY ended LIMIT ?", (before, count)
            ).fetchall()
            if rows:
                ids = ",".join(str(number) for number, _ in rows)
                self.connection.execute(f"DELETE FROM records WHERE id IN ({ids})")  # noqa: S608 - our own numbers
            return [parts for _, parts in rows]


def _statement(kind: Kind, count: int) -> str:
    return _INSERT + ", ".join([_VALUES] * count) + kind.value
