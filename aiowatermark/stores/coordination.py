"""What the replicas of one service share, where they share a store: rate, permits, leases and bells."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from ..jobs import Record
from ..wire import Delivery


class Coordinator(Protocol):
    """Shared by all replicas on one store; found by the client as `store.coordinator`, None where nothing is shared.

    An account is `provider.account`. A lease says that this replica watches a job: `store.open` takes it, a terminal
    `store.put` and `store.forget` give it up. A replica that dies loses its leases and permits after `lease` seconds.
    """

    @property
    def lease(self) -> float:
        """Seconds after which a replica that says nothing counts as dead."""
        ...

    async def acquire(self, account: str, rate: float | None, *, new: bool) -> None:
        """Wait for one's turn among all replicas; `new`: it is for a submission.

        When the store is out of reach, StoreError for what is new; everything else goes on at a local `rate`.
        """

    async def pause(self, account: str, seconds: float) -> None:
        """Let no replica begin for so long: a provider's word. Best effort beyond this replica; raises nothing."""

    def slot(self, account: str, limit: int) -> AbstractAsyncContextManager[None]:
        """One of `limit` permits to submit; raises StoreError when the store is out of reach."""
        ...

    async def claim(self, record: Record) -> bool:
        """Take the lease of a job that is to be watched here; False while another living replica has it.

        Raises StoreError when the store is out of reach.
        """
        ...

    async def release(self, record: Record) -> None:
        """Nobody has to watch this job any more (its deadline has passed, it is in doubt); raises nothing."""

    async def hand_over(self, record: Record) -> None:
        """Another replica may take this job over at once; closing the store does so with all. Raises nothing."""

    def orphans(self, account: str) -> AsyncIterator[Record]:
        """Unfinished records whose replica died or left, one pass; each is leased to us when it is given.

        Ends early, without an error, when the store is out of reach; ask again every `lease` seconds or so.
        """
        ...

    async def forward(self, callback: str, delivery: Delivery) -> bool:
        """Tell all other replicas of a delivery; False where no job has that callback.

        A body over 64 KiB is left out: it rings all the same. Raises StoreError when the store is out of reach.
        """
        ...

    def subscribe(self, rung: Callable[[str, Delivery], object]) -> Callable[[], None]:
        """Have `rung(callback, delivery)` called for what other replicas ring; gives what ends it."""
        ...
