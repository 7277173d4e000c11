"""MemoryStore: records in this process; the store of a client that is given none."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Self

from attrs import define, evolve, field

from ..introspection import documented
from ..jobs import Record
from ..media.memory import Base64Text, Bytes, Link
from .owners import LocalOwners
from .records.dump import without_inline_media
from .shared_tasks import note_shared_task


@documented
@define(eq=False)
class MemoryStore:
    """Keeps records until the process ends; several clients of one process may share it.

    Unfinished records are all kept, and of the finished ones the newest. A key stays known while its record is kept,
    also when its result had to go: then its outputs are ResultExpired.

    Args:
        finished: the finished records to keep.
        content: the bytes of results to keep with them, for results that came as bytes and not as a link.
    """

    finished: int = 10_000
    content: int = 64 << 20
    owners: LocalOwners = field(factory=LocalOwners, init=False, repr=False)
    _records: dict[str, Record] = field(factory=dict, init=False, repr=False)
    # bytes of results in memory by key of a finished record, the one that finished first at the front
    _finished_sizes: dict[str, int] = field(factory=dict, init=False, repr=False)
    _content_bytes: int = field(default=0, init=False, repr=False)
    _callbacks: dict[str, str] = field(factory=dict, init=False, repr=False)
    # key of the first record with a task, by account and task id
    _tasks: dict[tuple[str, str], str] = field(factory=dict, init=False, repr=False)
    callback_secret: bytes = field(factory=partial(secrets.token_bytes, 32), init=False, repr=False)
    """What the keys of callbacks are signed with; other processes have other jobs, so they need not know it."""

    @property
    def immediate(self) -> bool:
        """Whether no call waits for anything: a subclass may."""
        return type(self) is MemoryStore

    @property
    def coordinator(self) -> None:
        """Always None: nothing is shared with other processes."""
        return None

    async def __aenter__(self) -> Self:
        """Return the store; there is nothing to open."""
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Do nothing; there is nothing to close."""

    async def open(self, record: Record) -> Record | None:
        """Insert a new record; return None, or the record that has the key already."""
        if (known := self._records.get(record.key)) is not None:
            return known
        self._add(record)
        return None

    async def put(self, record: Record) -> Record | None:
        """Store a newer version, unless the stored one must stay, and return what is stored now; see `JobStore.put`."""
        known = self._records.get(record.key)
        if known is None and record.before_payment:
            return None
        if known is not None and not known.replaceable_by(record):
            return known
        if known is not None and known.snapshot.status.terminal:
            self._remove_finished(record.key)
        record = self._add(record)
        if record.snapshot.status.terminal:
            self._add_finished(record)
        return record

    def _add(self, record: Record) -> Record:
        """Store a record, and return it, perhaps with a note."""
        if (task_id := record.snapshot.task_id) is not None:
            holder = self._tasks.setdefault((record.account, task_id), record.key)
            if holder != record.key:
                record = note_shared_task(record, self._records.get(holder))
        self._records[record.key] = record
        if record.callback is not None:
            self._callbacks[record.callback] = record.key
        return record

    async def get(self, key: str) -> Record | None:
        """Return the record with that key, or None."""
        return self._records.get(key)

    async def by_callback(self, callback: str) -> Record | None:
        """Return the record whose callback key has the hash `callback`, or None."""
        key = self._callbacks.get(callback)
        return None if key is None else self._records.get(key)

    async def by_task(self, account: str, task_id: str) -> Record | None:
        """Return the record of an account's task, the oldest if there are several, or None."""
        key = self._tasks.get((account, task_id))
        return None if key is None else self._records.get(key)

    async def unfinished(self) -> AsyncIterator[Record]:
        """Iterate over all records that are not terminal, oldest first."""
        # a list, because records may be added while the caller iterates
        for record in [record for record in self._records.values() if not record.snapshot.status.terminal]:
            yield record

    async def unacknowledged(self) -> AsyncIterator[Record]:
        """Iterate over all records that are terminal and were not acknowledged, oldest first."""
        for key in list(self._finished_sizes):
            record = self._records.get(key)
            if record is not None and not record.acknowledged:
                yield record

    async def acknowledge(self, records: Sequence[Record]) -> None:
        """Mark the results of these ended jobs as acknowledged."""
        for record in records:
            known = self._records.get(record.key)
            if known is not None and known.epoch == record.epoch and known.snapshot.status.terminal:
                self._records[record.key] = evolve(known, acknowledged=True)

    async def forget(self, record: Record) -> bool:
        """Delete this version of a record; whether the key is free now."""
        known = self._records.get(record.key)
        if known is not None and not known.same_version(record):
            return False
        self._delete(record.key)
        return True

    def _add_finished(self, record: Record) -> None:
        """Count a finished record; drop the oldest records, and the oldest results, above the limits."""
        self._finished_sizes[record.key] = size = _content_size(record)
        self._content_bytes += size
        if len(self._finished_sizes) > self.finished:
            self._delete(next(iter(self._finished_sizes)))
        while self._content_bytes > self.content:
            oldest = next((key for key, size in self._finished_sizes.items() if size), record.key)
            if oldest == record.key:
                return  # never the newest: its caller has not read it yet
            self._drop_content(oldest)

    def _drop_content(self, key: str) -> None:
        record = self._records[key]
        self._content_bytes -= self._finished_sizes[key]
        self._finished_sizes[key] = 0
        self._records[key] = without_inline_media(record)

    def _remove_finished(self, key: str) -> None:
        self._content_bytes -= self._finished_sizes.pop(key, 0)

    def _delete(self, key: str) -> None:
        self._remove_finished(key)
        record = self._records.pop(key, None)
        if record is not None and record.callback is not None:
            self._callbacks.pop(record.callback, None)
        if record is not None and record.snapshot.task_id is not None:
            task = (record.account, record.snapshot.task_id)
            if self._tasks.get(task) == key:
                del self._tasks[task]


def _content_size(record: Record) -> int:
    """Return the bytes of results that a record holds in memory."""
    media = [output.media for output in record.snapshot.outputs if not isinstance(output.media, Link)]
    return sum([each.size or 0 for each in media if isinstance(each, (Bytes, Base64Text))])
