"""Durable memory: one narrow interface, so that nothing paid is forgotten."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol, Self

from ..jobs import Record
from .coordination import Coordinator


class JobStore(Protocol):
    """Remembers records by key. One suite of tests runs over every store.

    `coordinator` is what the replicas on one store share besides records; None where there is nothing to share.
    """

    @property
    def coordinator(self) -> Coordinator | None:
        """Limits, leases and bells of all replicas."""
        ...

    async def __aenter__(self) -> Self:
        """Open it on the running loop; opening it again is allowed."""
        ...

    async def __aexit__(self, *exc: object) -> None:
        """Close it."""

    async def open(self, record: Record) -> Record | None:
        """Remember a new record, safely, before money is spent; gives the one that has the key already, if one has."""
        ...

    async def put(self, record: Record) -> Record:
        """Remember news of a record; gives what is remembered now, which is another's where that one was newer."""
        ...

    async def get(self, key: str) -> Record | None:
        """The record of that key."""
        ...

    async def by_callback(self, callback: str) -> Record | None:
        """The record whose callback key has that hash."""
        ...

    def unfinished(self) -> AsyncIterator[Record]:
        """All records that are not terminal, oldest first."""
        ...

    async def forget(self, key: str) -> None:
        """Remove a record: nothing was paid, or nobody wants it any more."""
