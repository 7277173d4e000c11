"""Memory of this process: what a client uses when it is given no store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Self

from attrs import define, field

from ..jobs import Record


@define(eq=False)
class MemoryStore:
    """Remembers while the process lives; of finished jobs the last `finished`, and at most `content` bytes of answers.

    It can be shared by several clients of one process.
    """

    finished: int = 10_000
    content: int = 64 << 20
    _records: dict[str, Record] = field(factory=dict, init=False, repr=False)
    _ended: dict[str, int] = field(factory=dict, init=False, repr=False)
    _content_bytes: int = field(default=0, init=False, repr=False)
    _callbacks: dict[str, str] = field(factory=dict, init=False, repr=False)

    @property
    def coordinator(self) -> None:
        """Nothing is shared with other processes."""
        return None

    async def __aenter__(self) -> Self:
        """Nothing to open."""
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Nothing to close."""

    async def open(self, record: Record) -> Record | None:
        """Remember a new record; gives the one that has the key already."""
        if (known := self._records.get(record.key)) is not None:
            return known
        self._records[record.key] = record
        if record.callback is not None:
            self._callbacks[record.callback] = record.key
        return None

    async def put(self, record: Record) -> Record:
        """Remember news, unless what is remembered is newer or terminal."""
        known = self._records.get(record.key)
        if known is not None and (known.snapshot.status.terminal or known.version >= record.version):
            return known
        self._records[record.key] = record
        if record.snapshot.status.terminal:
            self._note_finished(record)
        return record

    async def get(self, key: str) -> Record | None:
        """The record of that key."""
        return self._records.get(key)

    async def by_callback(self, callback: str) -> Record | None:
        """The record whose callback key has that hash."""
        key = self._callbacks.get(callback)
        return None if key is None else self._records.get(key)

    async def unfinished(self) -> AsyncIterator[Record]:
        """All records that are not terminal, oldest first."""
        for record in [record for record in self._records.values() if not record.snapshot.status.terminal]:
            yield record

    async def forget(self, key: str) -> None:
        """Remove a record."""
        self._drop(key)

    def _note_finished(self, record: Record) -> None:
        self._ended[record.key] = size = _content_size(record)
        self._content_bytes += size
        while len(self._ended) > self.finished or (self._content_bytes > self.content and len(self._ended) > 1):
            self._drop(next(iter(self._ended)))

    def _drop(self, key: str) -> None:
        self._content_bytes -= self._ended.pop(key, 0)
        record = self._records.pop(key, None)
        if record is not None and record.callback is not None:
            self._callbacks.pop(record.callback, None)


def _content_size(record: Record) -> int:
    """Bytes of answers a record holds in memory."""
    return sum(output.media.size or 0 for output in record.snapshot.outputs if output.media is not None)
