"""Job stores: where job records are persisted, so that a paid job survives a crash.

The fence. `owner` and `epoch` of a record say which client may act for the job. These transitions are its acts:

    Record.commit       UPLOADING, IN_DOUBT -> IN_DOUBT   the paid request follows; no other client sends for it
    Record.withdraw     IN_DOUBT -> UPLOADING             the attempt provably had no effect
    Record.take_over    UPLOADING, FAILED -> UPLOADING    the owner is gone, or a new charge is wanted: a new epoch

A store writes an act, and deletes a record, only if epoch and version are those the writer knows
(`Record.replaceable_by`, `Record.same_version`). Evidence (a task id, a terminal answer) is not fenced: a writer whose
record is refused applies its snapshot with `Record.advance` to the stored one, which any client may own, and puts it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol, Self

from ..jobs import Record
from .coordination import Coordinator


class JobStore(Protocol):
    """Persists job records by key; one test suite runs over every implementation.

    Use it inside `async with`. Every method may raise StoreError when the store cannot be read or written. A call that
    is cancelled may be carried out all the same.

    A store that several processes share should also have a property `owners` (see `stores.owners.Owners`). Without it
    a client can tell only of the clients of its own process whether they are alive. One whose calls never wait for
    anything may have a property `immediate` that is True: then they are not timed.
    """

    @property
    def coordinator(self) -> Coordinator | None:
        """The limits, leases and pub/sub that replicas on this store share; None if the store shares only records."""
        ...

    async def __aenter__(self) -> Self:
        """Open the store on the running event loop; opening an open store again is allowed."""
        ...

    async def __aexit__(self, *exc: object) -> None:
        """Close the store when its last user closes it; what cannot be written any more is logged."""

    async def open(self, record: Record) -> Record | None:
        """Insert a new record durably, before money is spent.

        Return None if `record` was inserted. If a record with the same key exists, leave it unchanged and return it.
        After a StoreError the record is not in the store, or the store deletes it later.
        """
        ...

    async def put(self, record: Record) -> Record | None:
        """Persist a newer version of a record and return the record that is stored now.

        The result is `record` itself, or an equal copy, if it was written. Else the stored record stays and is returned
        (see `Record.replaceable_by`). A record whose key is unknown is inserted if it is from after the payment; one
        from before it (`Record.before_payment`) is not, and the result is None: its job was deleted.

        Of an account's jobs only one has a task. If another job of other work has the record's task already, the record
        is written, and returned, with a note in its history, which is logged as an error (`stores.shared_tasks`).

        After a StoreError the stored record is this version or the one before; a store may instead return a record from
        after the payment and write it later.
        """
        ...

    async def get(self, key: str) -> Record | None:
        """Return the record with that key, or None."""
        ...

    async def by_callback(self, callback: str) -> Record | None:
        """Return the record whose callback key has the hash `callback`, or None."""
        ...

    async def by_task(self, account: str, task_id: str) -> Record | None:
        """Return the record of an account's task, the oldest if there are several, or None."""
        ...

    def unfinished(self) -> AsyncIterator[Record]:
        """Iterate over all records that are not terminal, oldest first."""
        ...

    def unacknowledged(self) -> AsyncIterator[Record]:
        """Iterate over all records that are terminal and were not acknowledged, oldest first."""
        ...

    async def acknowledge(self, records: Sequence[Record]) -> None:
        """Mark the results of these ended jobs as acknowledged; those of another epoch, or unknown, are ignored."""

    async def forget(self, record: Record) -> bool:
        """Delete this version of a record, so that its key can be used again; whether the key is free now.

        A record that was changed meanwhile stays (see `Record.same_version`); one that does not exist is ignored. After
        a StoreError the record is still stored. A store that cannot be reached may instead return True and delete this
        version later.
        """
        ...


def cli_location(store: JobStore) -> str | None:
    """Return what `--store` of the command line takes to open this store; None if it cannot open it."""
    location = getattr(store, "cli_location", None)
    return location if isinstance(location, str) else None


def is_immediate(store: JobStore) -> bool:
    """Whether the calls of a store never wait for anything, so that no timer is needed for them."""
    return getattr(store, "immediate", False) is True
