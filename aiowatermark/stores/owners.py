"""Owners: which clients of a store are alive, so that no client continues the job of another that works on it."""

from __future__ import annotations

from typing import Protocol

from attrs import define, field

from ..jobs import Record


class Owners(Protocol):
    """Which clients of a store are alive; a record's `owner` names one.

    A name is registered once and never reused. What decides is something that ends with the client, such as a lock of
    the operating system or a lease on the server's clock. Every method may raise StoreError.
    """

    async def register(self, owner: str) -> None:
        """Count the client of that name as alive until `unregister` or the end of its process.

        When it is cancelled, the client is not registered.
        """

    async def unregister(self, owner: str) -> None:
        """Count the client of that name as gone, because it was closed; ignored if it is not registered here."""

    async def is_gone(self, record: Record) -> bool:
        """Whether the owner of `record` has certainly ended; False where that is unknown. An empty owner is gone."""
        ...


@define(eq=False)
class LocalOwners:
    """The owners of a store that only one process sees.

    All its records were written through one store object, so their owners were registered here: others are gone.
    """

    _alive: set[str] = field(factory=set, init=False)

    async def register(self, owner: str) -> None:
        """Count the client of that name as alive until `unregister`."""
        self._alive.add(owner)

    async def unregister(self, owner: str) -> None:
        """Count the client of that name as gone."""
        self._alive.discard(owner)

    async def is_gone(self, record: Record) -> bool:
        """Whether the owner of `record` was closed, or was never a client of this store object."""
        return record.owner not in self._alive
