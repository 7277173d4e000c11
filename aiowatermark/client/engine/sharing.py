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
from ...stores.coordination import Commons
from ...transport.rate_limiter import no_turn

if TYPE_CHECKING:
    from ...callbacks.receiver import CallbackReceiver

log = logging.getLogger("aiowatermark")


class Pace(Protocol):
    """The account's rate of requests."""

    async def turn(self, *, new: bool, until: float) -> None:
        """Wait for one's turn; `new`: it is for a submission. Raises RateLimited where none comes before `until`."""

    async def hold(self, seconds: float) -> None:
        """Let nobody begin for so long."""


@define(eq=False)
class SharedPace:
    """One pace for all replicas."""

    commons: Commons
    account: str
    rate: float | None

    async def turn(self, *, new: bool, until: float) -> None:
        """Wait for one's turn among all replicas; raises StoreError for a submission while the store is gone."""
        try:
            async with asyncio.timeout_at(until):
                await self.commons.turn(self.account, self.rate, new=new)
        except TimeoutError:
            raise no_turn() from None

    async def hold(self, seconds: float) -> None:
        """Let no replica begin for so long."""
        await self.commons.hold(self.account, seconds)


@define(eq=False)
class Permits:
    """How many submissions may be under way: in this client, or in all replicas together."""

    local: asyncio.Semaphore
    limit: int
    account: str
    commons: Commons | None = None

    def permit(self) -> AbstractAsyncContextManager[None]:
        """One permit."""
        return self.local if self.commons is None else self.commons.permit(self.account, self.limit)


@define(eq=False)
class Replica:
    """This client among the others on its store: it hears their bells, and takes over from those that die."""

    commons: Commons
    account: str
    receiver: CallbackReceiver | None
    adopt: Callable[[Record], Awaitable[object]]
    _task: asyncio.Task[None] | None = None
    _deaf: Callable[[], None] | None = None

    def start(self) -> None:
        """Listen, and look for orphans from now on."""
        if self.receiver is not None:
            self.receiver.elsewhere = self.commons.ring
            self._deaf = self.commons.listen(self.receiver.rung)
        self._task = asyncio.create_task(self._adopting())

    async def _adopting(self) -> None:
        while True:
            await asyncio.sleep(self.commons.lease)
            try:
                async for record in self.commons.orphans(self.account):
                    log.info("job %s is taken over from a replica that is gone", record.key)
                    await self.adopt(record)
            except WatermarkError as error:
                log.warning("orphaned jobs cannot be looked for: %s", error)

    async def stop(self) -> None:
        """Leave the others alone."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._deaf is not None:
            self._deaf()
        if self.receiver is not None:
            self.receiver.elsewhere = None
