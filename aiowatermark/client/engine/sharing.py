"""What a client shares with others of its account: its pace and its permits, alone or with all replicas on a store."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Protocol

from attrs import define

from ...errors import WatermarkError
from ...jobs import Record
from ...stores.coordination import Coordinator
from ...transport.rate_limiter import rate_limit_timeout

if TYPE_CHECKING:
    from ...callbacks.receiver import CallbackReceiver

log = logging.getLogger("aiowatermark")


class RateLimiter(Protocol):
    """The account's rate of requests."""

    async def acquire(self, *, new: bool, until: float) -> None:
        """Wait for one's turn; `new`: it is for a submission. Raises RateLimited where none comes before `until`."""

    async def pause_for(self, seconds: float) -> None:
        """Let nobody begin for so long."""


@define(eq=False)
class CoordinatedRateLimiter:
    """One pace for all replicas."""

    coordinator: Coordinator
    account: str
    rate: float | None

    async def acquire(self, *, new: bool, until: float) -> None:
        """Wait for one's turn among all replicas; raises StoreError for a submission while the store is gone."""
        try:
            async with asyncio.timeout_at(until):
                await self.coordinator.acquire(self.account, self.rate, new=new)
        except TimeoutError:
            raise rate_limit_timeout() from None

    async def pause_for(self, seconds: float) -> None:
        """Let no replica begin for so long."""
        await self.coordinator.pause(self.account, seconds)


@define(eq=False)
class SubmitSlots:
    """How many submissions may be under way: in this client, or in all replicas together."""

    local: asyncio.Semaphore
    limit: int
    account: str
    coordinator: Coordinator | None = None

    def slot(self) -> AbstractAsyncContextManager[None]:
        """One permit."""
        return self.local if self.coordinator is None else self.coordinator.slot(self.account, self.limit)


@define(eq=False)
class ReplicaMember:
    """This client among the others on its store: it hears their bells, and takes over from those that die."""

    coordinator: Coordinator
    account: str
    receiver: CallbackReceiver | None
    adopt: Callable[[Record], Awaitable[object]]
    _task: asyncio.Task[None] | None = None
    _unsubscribe: Callable[[], None] | None = None

    def start(self) -> None:
        """Listen, and look for orphans from now on."""
        if self.receiver is not None:
            self.receiver.forwarder = self.coordinator.forward
            self._unsubscribe = self.coordinator.subscribe(self.receiver.deliver_from_replica)
        self._task = asyncio.create_task(self._adopt_orphans())

    async def _adopt_orphans(self) -> None:
        while True:
            await asyncio.sleep(self.coordinator.lease)
            try:
                async for record in self.coordinator.orphans(self.account):
                    log.info("job %s is taken over from a replica that is gone", record.key)
                    await self.adopt(record)
            except WatermarkError as error:
                log.warning("orphaned jobs cannot be looked for: %s", error)

    async def stop(self) -> None:
        """Leave the others alone."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._unsubscribe is not None:
            self._unsubscribe()
        if self.receiver is not None:
            self.receiver.forwarder = None
