"""A job at the provider: looked at on its schedule or at its bell, until it ends or its deadline passes."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from attrs import define

from ...errors import AuthenticationError, InsufficientCredits, Rejected, Unsupported, WatermarkError
from ...jobs import Status
from ...provider import Polling, Provider
from ...results import Result, ResultFetcher
from ..handle import JobHandle
from .failures import deadline_exceeded, job_failed, retry_hint, submission_in_doubt, unsettled
from .flows import FlowContext, FlowRunner, loop_time
from .snapshots import SnapshotRecorder

if TYPE_CHECKING:
    from ...callbacks.receiver import CallbackReceiver

log = logging.getLogger("aiowatermark")

# a look that says one of these twice in a row ends the wait: no patience mends them
_CONFIRMED_ERRORS = (AuthenticationError, InsufficientCredits, Rejected, Unsupported)
_WAKEUP_DELAY = 1.0
# a look that begins just before the deadline has this many seconds for its answer
_FINAL_QUERY_SECONDS = 1.0


@define(eq=False)
class JobWatcher:
    """Waits for jobs; `stretched` is the schedule of those that a callback is awaited for."""

    provider: Provider
    flows: FlowRunner
    snapshots: SnapshotRecorder
    polling: Polling
    callback_polling: Polling
    fetcher: ResultFetcher
    receiver: CallbackReceiver | None

    async def wait_until_done(self, handle: JobHandle) -> None:
        """Look when the time has come or the bell rings, until the job ends or its deadline passes."""
        if unsettled(handle.record):
            raise submission_in_doubt(handle, None)
        called = self.receiver is not None and handle.record.callback is not None
        polling = self.callback_polling if called else self.polling
        turn = FlowContext(handle.deadline + _FINAL_QUERY_SECONDS, max_attempts=1)
        delay, problem, looked = polling.first, None, 0.0
        time = loop_time()
        due = time + delay
        while not handle.snapshot.status.terminal:
            if time >= handle.deadline:
                raise deadline_exceeded(handle, problem)
            if await handle.wakeup.wait(min(due, handle.deadline) - time):
                # however many deliveries come, one look a second answers them
                await asyncio.sleep(max(0.0, looked + _WAKEUP_DELAY - loop_time()))
            looked = loop_time()
            problem = await self._poll(handle, turn, problem)
            time = loop_time()
            if time >= due:
                delay = polling.after(delay)
                due = time + delay
            if (asked := retry_hint(handle, problem)) is not None:
                due = time + asked
        self._finish(handle)

    async def _poll(self, handle: JobHandle, turn: FlowContext, before: WatermarkError | None) -> WatermarkError | None:
        """Ask once where the job stands; gives the problem of a look that told nothing."""
        handle.wakeup.consume()
        if self._apply_trusted_callback(handle):
            return None
        try:
            snapshot = await self.flows.run(self.provider.query(handle.record), turn)
        except _CONFIRMED_ERRORS as error:
            if before is not None and type(before) is type(error):
                raise error.about(provider=None, key=None, token=handle.token) from None
            problem: WatermarkError = error
        except WatermarkError as error:
            problem = error
        else:
            await self.snapshots.record(handle, snapshot)
            return None
        log.info("a look at job %s told nothing: %s", handle.key, problem)
        return problem

    def _apply_trusted_callback(self, handle: JobHandle) -> bool:
        """Whether a callback that the user chose to believe has ended the job."""
        mail, handle.pending_delivery = handle.pending_delivery, None
        if mail is None or self.receiver is None or self.receiver.verify:
            return False
        try:
            told = self.provider.parse_callback(mail, handle.record)
        except WatermarkError as error:
            log.info("a callback of job %s told nothing: %s", handle.key, error)
            return False
        if told is not None and told.task_id == handle.task_id:
            handle.update(handle.record.advance(told))
        return handle.snapshot.status.terminal

    def _finish(self, handle: JobHandle) -> None:
        """Give the handle what its terminal snapshot means."""
        snapshot = handle.snapshot
        result = Result(handle.record, self.fetcher)
        if self.receiver is not None:
            self.receiver.notify_result(result)
        if snapshot.status is Status.SUCCEEDED:
            handle.set_result(result)
        else:
            handle.set_exception(job_failed(handle))
