"""Coordinator: the rate limit, submit slots, job leases and callbacks that replicas on one store share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol, Self

from ..jobs import Record
from ..wire import Delivery


class Coordinator(Protocol):
    """Coordinates all replicas on one store; clients get it from `store.coordinator`.

    `account` is always `provider.account`. A lease states that one replica watches a job: `store.open` takes it,
    a terminal `store.put` and `store.forget` end it. A replica that dies loses its leases and slots after `lease`
    seconds.
    """

    @property
    def lease(self) -> float:
        """Seconds without a heartbeat after which a replica counts as dead."""
        ...

    async def acquire(self, account: str, rate: float | None, *, is_submission: bool) -> None:
        """Wait until the rate limit of all replicas together (`rate` requests per second) allows one more request.

        While the store is unavailable a submission raises StoreError, because nothing new
        may be paid; any other request is limited to `rate` by this replica alone.
        """

    async def pause(self, account: str, seconds: float) -> None:
        """Let no replica send a request for `seconds`, as the provider demanded.

        Best effort for the other replicas; raises nothing.
        """

    def slot(self, account: str, limit: int) -> AbstractAsyncContextManager[None]:
        """Hold one of the `limit` submit slots that all replicas share, inside `async with`.

        Entering waits for a free slot and raises StoreError when the store is unavailable.
        """
        ...

    async def claim(self, record: Record) -> bool:
        """Take the lease of a job; False if another living replica holds it.

        Raises StoreError when the store is unavailable. The lease may have been taken all the same, also if the call is
        cancelled; it is then held until `release`, `hand_over` or the closing of the store.
        """
        ...

    async def release(self, record: Record) -> None:
        """End the lease of a job that needs no watching (past its deadline, or in doubt).

        Raises nothing; while the store is unavailable the lease is kept, and ended when the store is available again.
        """

    async def hand_over(self, record: Record) -> None:
        """Make a job an orphan immediately, so that another replica adopts it.

        Closing the store does this for all jobs that are leased to this replica. Raises nothing; while the store is
        unavailable the lease is kept, and ended when the store is available again, or expires with this replica.
        """

    def orphans(self, account: str) -> AsyncIterator[Record]:
        """Take over jobs of replicas that died or closed: iterate once over their unfinished records.

        Each record is leased to this replica when it is yielded. The iteration ends early, without an error, when the
        store is unavailable; call it again about every `lease` seconds. Jobs that were taken over and not yielded, also
        because the caller stops, become orphans again.
        """
        ...

    async def forward(self, callback: str, delivery: Delivery) -> bool:
        """Send a callback delivery to all other replicas; False if no job has the callback hash `callback`.

        A body over 64 KiB is sent as an empty one: the delivery still wakes the job. Raises StoreError when the store
        is unavailable.
        """
        ...

    def subscribe(self, listener: Callable[[str, Delivery], object]) -> Callable[[], None]:
        """Call `listener(callback, delivery)` for each delivery that another replica forwards.

        Returns a function that ends the subscription.
        """
        ...


class DeliveryChannel(Protocol):
    """Passes callbacks between the processes on a store without a coordinator, inside `async with`.

    A store that has one makes it with `delivery_channel(listener)`, which is called once per client with a receiver;
    `listener(callback, delivery)` gets what other clients publish.
    """

    async def __aenter__(self) -> Self:
        """Start to listen; raises nothing: where that is impossible, jobs are polled."""
        ...

    async def __aexit__(self, *exc: object) -> None:
        """Stop listening."""

    async def publish(self, callback: str, delivery: Delivery) -> None:
        """Send the delivery for the callback key with this hash to all other clients on the store; raises nothing."""
