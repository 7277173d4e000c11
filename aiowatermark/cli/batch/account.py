"""Refusals that concern the whole account: no credits, or a key that is not accepted. Then nothing more is sent.

    refusal of a submission    taken for one of the account       why
    InsufficientCredits        at once                            what is sent next costs as much
    AuthenticationError        the second in a row                a single one may concern one request

Submissions under way at that moment: those that are not sent yet, because they wait for the account's rate or for a
slot, are cancelled; the others get their answers. What the provider has accepted is waited for. A submission that was
sent just before it was cancelled is joined: the client has one job for its key.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from attrs import define, field

from ... import AuthenticationError, InsufficientCredits, JobHandle, JobStore, WatermarkError

ACCOUNT_REFUSALS: Mapping[type[WatermarkError], int] = {InsufficientCredits: 1, AuthenticationError: 2}
"""Errors of a submission that concern every job of the account, and how many in a row are believed."""


class NotSent(WatermarkError):
    """The submission was not begun, since the provider refuses everything that this account sends; see `refusal`."""

    def __init__(self, refusal: WatermarkError) -> None:
        super().__init__(f"not sent: {refusal.message}", provider=refusal.provider)
        self.refusal = refusal


@define(eq=False)
class AccountGate:
    """Lets submissions through until the provider refuses the account; `store` is the one of the client."""

    store: JobStore
    refusal: WatermarkError | None = field(default=None, init=False)
    _refused: int = field(default=0, init=False)
    _starting: dict[asyncio.Task[JobHandle], str] = field(factory=dict, init=False)

    async def submit(self, key: str, start: Callable[[], Coroutine[Any, Any, JobHandle]]) -> JobHandle:
        """Submit the job of this key by `start`; raises NotSent if that has no use, and what `start` raises."""
        while True:
            if self.refusal is not None and await self._is_unsent(key):
                raise NotSent(self.refusal)
            task = asyncio.create_task(start())
            self._starting[task] = key
            try:
                await asyncio.wait({task})
            finally:  # cancelled here, it ends what it waits for
                del self._starting[task]
                task.cancel()
            if not task.cancelled():
                return await self._take(task)
            if self.refusal is None:
                raise asyncio.CancelledError

    async def _take(self, task: asyncio.Task[JobHandle]) -> JobHandle:
        """Return the handle of a submission that has ended; a refusal of the account closes the gate."""
        try:
            handle = task.result()
        except tuple(ACCOUNT_REFUSALS) as error:
            self._refused += 1
            needed = next(count for kind, count in ACCOUNT_REFUSALS.items() if isinstance(error, kind))
            if self.refusal is None and self._refused >= needed:
                self.refusal = error
                await self._cancel_unsent()
            raise
        self._refused = 0
        return handle

    async def _cancel_unsent(self) -> None:
        for task, key in list(self._starting.items()):
            if await self._is_unsent(key):
                task.cancel()

    async def _is_unsent(self, key: str) -> bool:
        record = await self.store.get(key)
        return record is None or record.unsent
