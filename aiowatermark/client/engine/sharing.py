"""What jobs of one account share: the request rate and the submit slots, in this client or among all replicas."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Protocol

from attrs import define, field, frozen

from ...callbacks.registry import CallbackRegistry
from ...clock import now
from ...errors import WatermarkError
from ...jobs import Record
from ...lifetimes import start_task
from ...stores import JobStore
from ...stores.coordination import Coordinator, DeliveryChannel
from ...transport.rate_limiter import MAX_COMMON_PAUSE, SubmissionPause, rate_limit_timeout
from ...wire import Delivery

log = logging.getLogger("aiowatermark")


class RateLimiter(Protocol):
    """The request rate of an account."""

    @property
    def may_wait(self) -> bool:
        """Whether a submission that asks now may have to wait."""
        ...

    async def acquire(self, *, is_submission: bool, until: float) -> None:
        """Wait until a request may be sent; raises RateLimited if that is after `until`."""

    async def pause_for(self, seconds: float) -> None:
        """Let no request start for this long, or no submission, if it is more than a minute."""


@define(eq=False)
class CoordinatedRateLimiter:
    """The request rate shared by all replicas on one store; `rate` is in requests per second.

    A pause of more than a minute binds the submissions of this client and is not shared: another replica learns of it
    when its own submission is refused, which costs nothing, and no store keeps it when its cause is gone.
    """

    coordinator: Coordinator
    account: str
    rate: float | None
    _submissions: SubmissionPause = field(factory=SubmissionPause, init=False)

    @property
    def may_wait(self) -> bool:
        """Whether a submission that asks now may have to wait; a pause of another replica is not seen."""
        return bool(self.rate) or self._submissions.active

    async def acquire(self, *, is_submission: bool, until: float) -> None:
        """Wait until a request may be sent; raises StoreError for a submission while the store is unreachable."""
        if is_submission:
            await self._submissions.wait(until)
        try:
            async with asyncio.timeout(until - now()):
                await self.coordinator.acquire(self.account, self.rate, is_submission=is_submission)
        except TimeoutError:
            raise rate_limit_timeout() from None

    async def pause_for(self, seconds: float) -> None:
        """Let no replica start a request for this long, or this client no submission."""
        if seconds > MAX_COMMON_PAUSE:
            self._submissions.extend(seconds)
            return
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


def callback_secret(store: JobStore) -> bytes | None:
    """What the keys of callbacks are signed with for jobs in this store: 32 bytes; None if the store has no secret."""
    return getattr(store, "callback_secret", None)


@frozen(eq=False)
class CallbackForwarder:
    """Passes on callbacks of jobs that are in the store and do not run in this client.

    `send` reaches their process, or settles them; `channel` reaches the processes on a store without a coordinator.
    """

    store: JobStore
    send: Callable[[str, Delivery], Awaitable[bool]]
    channel: DeliveryChannel | None = None

    async def knows(self, key_hash: str) -> bool:
        """Whether a job in the store has this callback."""
        return await self.store.by_callback(key_hash) is not None

    async def forward(self, key_hash: str, delivery: Delivery) -> bool:
        """Pass a delivery on; returns whether its job was found."""
        found = await self.send(key_hash, delivery)
        if found and self.channel is not None:
            await self.channel.publish(key_hash, delivery)
        return found

    def register(self, callbacks: CallbackRegistry) -> Callable[[], None]:
        """Let a receiver ask this store about keys it does not know; returns a function that ends it."""
        return callbacks.add_forwarder(self, callback_secret(self.store))


async def share_callbacks(
    stack: AsyncExitStack,
    store: JobStore,
    callbacks: CallbackRegistry,
    send: Callable[[str, Delivery], Awaitable[bool]],
) -> None:
    """Pass callbacks of other clients' jobs in this store on to them, and get theirs, until the stack is closed."""
    create_channel = getattr(store, "delivery_channel", None)
    channel = None
    if create_channel is not None:
        channel = await stack.enter_async_context(create_channel(callbacks.deliver_from_replica))
    stack.callback(CallbackForwarder(store, send, channel).register(callbacks))


@define(eq=False)
class ReplicaMember:
    """This client among the replicas on its store: it forwards callbacks, and adopts jobs of replicas that died."""

    store: JobStore
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
                CallbackForwarder(self.store, self.coordinator.forward).register(self.callbacks),
                self.coordinator.subscribe(self.callbacks.deliver_from_replica),
            ]
        self._task = start_task(self._adopt_orphans())

    async def stop(self) -> None:
        """Stop forwarding and adopting."""
        await self.stop_adopting()
        for stop in self._stop_forwarding:
            stop()

    async def stop_adopting(self) -> None:
        """Leave the jobs of replicas that died to others."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _adopt_orphans(self) -> None:
        while True:
            await asyncio.sleep(self.coordinator.lease)
            try:
                async for record in self.coordinator.orphans(self.account):
                    log.info("job %s is taken over from a replica that died", record.key)
                    await self.adopt(record)
            except WatermarkError as error:
                log.warning("jobs of dead replicas could not be looked up: %s", error)
