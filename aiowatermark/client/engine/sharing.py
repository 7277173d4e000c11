"""What jobs of one account share: the request rate and the submit slots, in this client or among all replicas."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from attrs import define, field

from ...callbacks.registry import CallbackRegistry
from ...errors import WatermarkError
from ...jobs import Record
from ...stores.coordination import Coordinator
from ...transport.rate_limiter import rate_limit_timeout

log = logging.getLogger("aiowatermark")


class RateLimiter(Protocol):
    """The request rate of an account."""

    async def acquire(self, *, is_submission: bool, until: float) -> None:
        """Wait until a request may be sent; raises RateLimited if that is after `until`."""

    async def pause_for(self, seconds: float) -> None:
        """Let no request start for this long."""


@define(eq=False)
class CoordinatedRateLimiter:
    """The request rate shared by all replicas on one store; `rate` is in requests per second."""

    coordinator: Coordinator
    account: str
    rate: float | None

    async def acquire(self, *, is_submission: bool, until: float) -> None:
        """Wait until a request may be sent; raises StoreError for a submission while the store is unreachable."""
        try:
            async with asyncio.timeout_at(until):
                await self.coordinator.acquire(self.account, self.rate, is_submission=is_submission)
        except TimeoutError:
            raise rate_limit_timeout() from None

    async def pause_for(self, seconds: float) -> None:
        """Let no replica start a request for this long."""
        await self.coordinator.pause(self.account, seconds)


@define(eq=False)
class SubmitSlots:
    """Limits concurrent submissions: in this client, or in all replicas together."""

    local: asyncio.Semaphore
    limit: int
    account: str
    coordinator: Coordinator | None = None

    def slot(self) -> AbstractAsyncContextManager[None]:
        """Hold one slot."""
        return self.local if self.coordinator is None else self.coordinator.slot(self.account, self.limit)


@define(eq=False)
class ReplicaMember:
    """This client among the replicas on its store: it forwards callbacks, and adopts jobs of replicas that died."""

    coordinator: Coordinator
    account: str
    callbacks: CallbackRegistry | None
    adopt: Callable[[Record], Awaitable[object]]
    _task: asyncio.Task[None] | None = field(default=None, init=False)
    _stop_forwarding: list[Callable[[], None]] = field(factory=list, init=False)

    def start(self) -> None:
        """Start forwarding and adopting."""
        if self.callbacks is not None:
            # each client on a receiver adds its own: closing one must not end the forwarding of another
            self._stop_forwarding = [
                self.callbacks.add_forwarder(self.coordinator.forward),
                self.coordinator.subscribe(self.callbacks.deliver_from_replica),
            ]
        self._task = asyncio.create_task(self._adopt_orphans())

    async def stop(self) -> None:
        """Stop forwarding and adopting."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for stop in self._stop_forwarding:
            stop()

    async def _adopt_orphans(self) -> None:
        while True:
            await asyncio.sleep(self.coordinator.lease)
            try:
                async for record in self.coordinator.orphans(self.account):
                    log.info("job %s is taken over from a replica that died", record.key)
                    await self.adopt(record)
            except WatermarkError as error:
                log.warning("jobs of dead replicas could not be looked up: %s", error)
