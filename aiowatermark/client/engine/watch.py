"""A job at the provider: looked at on its schedule or at its bell, until it ends or its deadline passes."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from attrs import define

from ...errors import AuthenticationError, InsufficientCredits, Rejected, Unsupported, WatermarkError
from ...jobs import Status
from ...provider import Polling, Provider
from ...results import Porter, Result
from ..handle import JobHandle
from .failures import failed, hint, in_doubt, late, unsettled
from .flows import Talker, Turn, now
from .snapshots import Gate

if TYPE_CHECKING:
    from ...callbacks.receiver import CallbackReceiver

log = logging.getLogger("aiowatermark")

# a look that says one of these twice in a row ends the wait: no patience mends them
_FINAL = (AuthenticationError, InsufficientCredits, Rejected, Unsupported)
_COALESCED = 1.0
# a look that begins just before the deadline has this many seconds for its answer
_LAST = 1.0


@define(eq=False)
class Watch:
    """Waits for jobs; `stretched` is the schedule of those that a callback is awaited for."""

    provider: Provider
    talker: Talker
    gate: Gate
    polling: Polling
    stretched: Polling
    porter: Porter
    receiver: CallbackReceiver | None

    async def over(self, handle: JobHandle) -> None:
        """Look when the time has come or the bell rings, until the job ends or its deadline passes."""
        if unsettled(handle.record):
            raise in_doubt(handle, None)
        called = self.receiver is not None and handle.record.callback is not None
        polling = self.stretched if called else self.polling
        turn = Turn(handle.until + _LAST, tries=1)
        delay, problem, looked = polling.first, None, 0.0
        time = now()
        due = time + delay
        while not handle.snapshot.status.terminal:
            if time >= handle.until:
                raise late(handle, problem)
            if await handle.bell.wait(min(due, handle.until) - time):
                # however many deliveries come, one look a second answers them
                await asyncio.sleep(max(0.0, looked + _COALESCED - now()))
            looked = now()
            problem = await self._look(handle, turn, problem)
            time = now()
            if time >= due:
                delay = polling.after(delay)
                due = time + delay
            if (asked := hint(handle, problem)) is not None:
                due = time + asked
        self._settle(handle)

    async def _look(self, handle: JobHandle, turn: Turn, before: WatermarkError | None) -> WatermarkError | None:
        """Ask once where the job stands; gives the problem of a look that told nothing."""
        handle.bell.take()
        if self._believed(handle):
            return None
        try:
            snapshot = await self.talker.converse(self.provider.query(handle.record), turn)
        except _FINAL as error:
            if before is not None and type(before) is type(error):
                raise error.about(provider=None, key=None, token=handle.token) from None
            problem: WatermarkError = error
        except WatermarkError as error:
            problem = error
        else:
            await self.gate.note(handle, snapshot)
            return None
        log.info("a look at job %s told nothing: %s", handle.key, problem)
        return problem

    def _believed(self, handle: JobHandle) -> bool:
        """Whether a callback that the user chose to believe has ended the job."""
        mail, handle.mail = handle.mail, None
        if mail is None or self.receiver is None or self.receiver.verify:
            return False
        try:
            told = self.provider.delivered(mail, handle.record)
        except WatermarkError as error:
            log.info("a callback of job %s told nothing: %s", handle.key, error)
            return False
        if told is not None and told.task_id == handle.task_id:
            handle.note(handle.record.advance(told))
        return handle.snapshot.status.terminal

    def _settle(self, handle: JobHandle) -> None:
        """Give the handle what its terminal snapshot means."""
        snapshot = handle.snapshot
        result = Result(handle.record, self.porter)
        if self.receiver is not None:
            self.receiver.announce(result)
        if snapshot.status is Status.SUCCEEDED:
            handle.finish(result)
        else:
            handle.fail(failed(handle))
