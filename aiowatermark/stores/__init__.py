"""Job stores: where job records are persisted, so that a paid job survives a crash."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol, Self

from ..jobs import Record
from .coordination import Coordinator


class JobStore(Protocol):
    """Persists job records by key; one test suite runs over every implementation.

    Use it inside `async with`. Every method may raise StoreError when the store cannot be read or written. A call that
    is cancelled may be carried out all the same.
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

    async def put(self, record: Record) -> Record:
        """Persist a newer version of a record and return the record that is stored now.

        The result is `record` itself if it was written. If the stored record is terminal, or has the same or a later
        version, it stays and is returned instead. A record with an unknown key is inserted. After a StoreError the
        stored record is this version or the one before; a store may instead return a record from after the payment (see
        `Record.before_payment`) and write it later.
        """
        ...

    async def get(self, key: str) -> Record | None:
        """Return the record with that key, or None."""
        ...

    async def by_callback(self, callback: str) -> Record | None:
        """Return the record whose callback key has the hash `callback`, or None."""
        ...

    def unfinished(self) -> AsyncIterator[Record]:
        """Iterate over all records that are not terminal, oldest first."""
        ...

    async def forget(self, key: str) -> None:
        """Delete a record, so that its key can be used again; an unknown key is ignored.

        After a StoreError the record is still stored. A store that cannot be reached may instead return and delete the
        record later.
        """
