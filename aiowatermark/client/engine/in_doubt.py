"""Jobs in doubt, and the one thing that settles them: a callback proves that the provider took the job."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from attrs import define, field

from ...errors import WatermarkError
from ...jobs import Record, Snapshot, Status
from ...provider import Provider
from ...stores import JobStore
from ...wire import Delivery
from ..handle import JobHandle
from .failures import unsettled
from .flows import Talker, Turn, now

if TYPE_CHECKING:
    from ...callbacks.receiver import CallbackReceiver

log = logging.getLogger("aiowatermark")

_ASKING = 30.0


@define(eq=False)
class Doubt:
    """Settles jobs in doubt. Only the provider can know a key; what a callback says is asked for all the same."""

    provider: Provider
    talker: Talker
    store: JobStore
    receiver: CallbackReceiver | None = None
    asking: set[asyncio.Task[None]] = field(factory=set)
    listening: set[str] = field(factory=set)

    async def settled(self, handle: JobHandle) -> bool:
        """Whether a callback that came already proves that this job was taken; the handle has its id then."""
        mail, handle.mail = handle.mail, None
        record = None if mail is None else await self._proved(handle.record, mail)
        if record is not None:
            handle.note(record)
        return record is not None

    def keep(self, handle: JobHandle) -> None:
        """Go on listening for a job that was given up in doubt."""
        self.listen(handle.record)

    def listen(self, record: Record) -> None:
        """Settle the record in the store when its callback comes."""
        if self.receiver is not None and record.callback is not None:
            self.listening.add(record.callback)
            self.receiver.expect(record.callback, lambda delivery: self._ask(record, delivery))

    def _ask(self, record: Record, delivery: Delivery) -> None:
        task = asyncio.create_task(self._settle(record, delivery))
        self.asking.add(task)
        task.add_done_callback(self.asking.discard)

    async def _settle(self, record: Record, delivery: Delivery) -> None:
        proved = await self._proved(record, delivery)
        if proved is not None and self.receiver is not None and record.callback is not None:
            self.receiver.release(record.callback)
            log.info(
                "job %s was in doubt; its callback proves that it was taken: resume it with %s",
                proved.key,
                proved.token,
            )

    async def _proved(self, record: Record, delivery: Delivery) -> Record | None:
        """The record with its task's id, if the callback names one that the provider knows."""
        if not unsettled(record):
            return None
        try:
            told = self.provider.delivered(delivery, record)
            if told is None or told.task_id is None:
                return None
            named = record.advance(Snapshot(told.task_id, Status.QUEUED))
            asked = await self.talker.converse(self.provider.query(named), Turn(now() + _ASKING))
        except WatermarkError as error:
            log.info("a callback of job %s, which is in doubt, proves nothing: %s", record.key, error)
            return None
        return await self.store.put(named.advance(asked))

    async def close(self) -> None:
        """Ask and listen no more."""
        for callback in self.listening:
            if self.receiver is not None:
                self.receiver.release(callback)
        for task in list(self.asking):
            task.cancel()
        await asyncio.gather(*self.asking, return_exceptions=True)
