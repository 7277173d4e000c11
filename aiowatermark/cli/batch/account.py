"""Refusals that concern the whole account: no credits, or a key that is not accepted. Then nothing more is sent.

    refusal of a submission    taken for one of the account       why
    InsufficientCredits        at once                            what is sent next costs as much
    AuthenticationError        the second in a row                a single one may concern one request

In a row: no answer between them proves that the key is accepted, as an accepted job does, or any other refusal.

The refusal of a video may come when its upload has ended, long after `submit` has returned its handle: the caller
passes errors of that wait to `note_error`.

Submissions under way at that moment: those that are not sent yet, because they wait for the account's rate or for a
slot, are cancelled; the others, and uploads that have begun, get their answers. What the provider has accepted is
waited for. A submission that was sent just before it was cancelled is joined: the client has one job for its key.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from attrs import define, field

from ... import (
    AuthenticationError,
    InsufficientCredits,
    JobHandle,
    JobStore,
    RateLimited,
    Rejected,
    StoreError,
    WatermarkError,
)

ACCOUNT_REFUSALS: Mapping[type[WatermarkError], int] = {InsufficientCredits: 1, AuthenticationError: 2}
"""Errors of a submission that concern every job of the account, and how many in a row are believed."""
_PROOFS_OF_KEY = (Rejected, RateLimited)
"""Errors that, as answers of the provider, prove that it accepts the API key."""


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
            if self.refusal is not None and await self.is_unsent(key):
                raise NotSent(self.refusal)
            task = asyncio.create_task(start())
            self._starting[task] = key
            try:
                await asyncio.wait({task})
            finally:  # cancelled here, it ends what it waits for
                del self._starting[task]
                task.cancel()
            if not task.cancelled():
                return await self._take(task, key)
            if self.refusal is None:
                raise asyncio.CancelledError

    async def note_error(self, error: WatermarkError) -> None:
        """Take the error that ended a submission; one that is believed to concern the account closes the gate."""
        if isinstance(error, _PROOFS_OF_KEY) and error.status is not None:
            self._refused = 0
        needed = next((count for kind, count in ACCOUNT_REFUSALS.items() if isinstance(error, kind)), None)
        if needed is None:
            return
        self._refused += 1
        if self.refusal is None and self._refused >= needed:
            self.refusal = error
            await self._cancel_unsent()

    async def is_unsent(self, key: str) -> bool:
        """Whether the store has no job of this key, or one that was not sent; raises StoreError."""
        record = await self.store.get(key)
        return record is None or record.unsent

    async def _take(self, task: asyncio.Task[JobHandle], key: str) -> JobHandle:
        """Return the handle of a submission that has ended; raises NotSent for one that the refusal has cancelled."""
        try:
            handle = task.result()
        except WatermarkError as error:
            # exactly this class: it joined a job whose cancellation was not complete, and that was not sent
            if self.refusal is not None and type(error) is WatermarkError and await self._is_known_unsent(key):
                raise NotSent(self.refusal) from error
            await self.note_error(error)
            raise
        self._refused = 0
        return handle

    async def _cancel_unsent(self) -> None:
        starting = list(self._starting.items())
        unsent = await asyncio.gather(*(self._is_known_unsent(key) for _, key in starting))
        for (task, _), is_unsent in zip(starting, unsent, strict=True):
            if is_unsent:
                task.cancel()

    async def _is_known_unsent(self, key: str) -> bool:
        """Whether nothing was sent; False also if the store cannot tell."""
        try:
            return await self.is_unsent(key)
        except StoreError:
            return False
