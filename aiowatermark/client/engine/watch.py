"""Waits for a job at the provider: polls it on a schedule, or as soon as a callback arrives, until it ends.

Polling and callbacks are one loop. The sleep between two polls is a wait on the job's wakeup event, which a callback
sets:

    sleep until the next poll is due, the deadline passes, or a callback arrives
    query the provider (the answer is authoritative; a callback is only a wake-up)
    until the status is terminal

While a callback is expected the schedule is CALLBACK_POLLING, longer intervals: a lost callback costs one of them.
However many callbacks arrive, there is at most one query per second for them. A `Retry-After` postpones
the next poll; it never comes earlier than by the schedule.

A query that fails never ends the wait. Exceptions are refusals that retrying does not mend (wrong key, rejected), two
of the same kind in a row, and a task that the provider certainly does not know any more (unknown_task.py). After
acceptance no error claims that nothing was paid; all carry the token.

A video that was uploaded, and whose start is in doubt, is started if the provider says that it was not.

`CallbackReceiver(verify=False)` lets a callback that names the job's own task replace the query.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from math import isinf

from attrs import define, field

from ...callbacks.observers import HANDLER_SECONDS
from ...clock import call_later, pause
from ...errors import AuthenticationError, InsufficientCredits, Rejected, Unsupported, WatermarkError
from ...jobs import Record, Snapshot, Status
from ...observation.events import QUERY_FAILED
from ...provider import CALLBACK_POLLING, Polling
from ...results import Result
from ...transport.retry import bounded_hint
from ...wire import KeptAnswer
from ..downloads import ResultDownloader
from ..handle import ActiveJob
from .acknowledgements import Acknowledgements
from .context import EngineContext
from .failures import (
    TASK_NOT_FOUND,
    as_watermark_error,
    check_snapshot,
    deadline_exceeded,
    job_failed,
    query_refused,
    retry_hint,
    submission_in_doubt,
)
from .flows import FlowContext, loop_time
from .unknown_task import UnknownTask

log = logging.getLogger("aiowatermark")

# a query that fails with one of these twice in a row ends the wait
_CONFIRMED_ERRORS = (AuthenticationError, InsufficientCredits, Rejected, Unsupported)
# seconds between an answer and the next query, if a callback caused that
_WAKEUP_DELAY = 1.0
# seconds for which the provider must say that an upload was not started, before it is started again
_UNSTARTED_SECONDS = 2.0
# a query that starts just before the deadline has this many seconds for its answer
_FINAL_QUERY_SECONDS = 1.0


@define(eq=False)
class JobWatcher:
    """Waits for jobs; `polling` is the schedule of queries that the user chose, None for the provider's own."""

    context: EngineContext
    polling: Polling | None
    fetcher: ResultDownloader
    acknowledgements: Acknowledgements
    start_uploaded: Callable[[ActiveJob], Awaitable[None]]
    draining: bool = field(default=False, init=False)
    _handlers: set[asyncio.Task[None]] = field(factory=set, init=False)

    async def wait_until_done(self, job: ActiveJob) -> None:
        """Poll the job until it ends; completes it. Raises DeadlineExceeded, or an error that was confirmed."""
        if job.record.in_doubt:
            raise submission_in_doubt(job.record, None)
        polling = self._schedule(job.record)
        flow_context = FlowContext(job.deadline + _FINAL_QUERY_SECONDS, max_attempts=1)
        delay, problem, answered_at = polling.first, None, 0.0
        time = loop_time()
        unknown = UnknownTask(time + (polling.first if job.resumed else 0.0))
        due = time + delay
        while not job.snapshot.status.terminal:
            if time >= job.deadline:
                raise deadline_exceeded(job.record, job.time_limit, problem)
            if await job.wakeup.wait(min(due, job.deadline) - time, call_later):
                await pause(answered_at + _WAKEUP_DELAY - loop_time())
            problem = await self._poll(job, flow_context, problem)
            time = answered_at = loop_time()
            if unknown.is_proven(problem, time):
                await self.context.snapshots.record(job, Snapshot(None, Status.FAILED, reason=TASK_NOT_FOUND))
            if time >= due:
                delay = polling.after(delay)
                due = time + delay
            if self.draining and polling is CALLBACK_POLLING:
                polling = self._schedule(job.record)
                delay, due = polling.first, time + polling.first
            if (hint := retry_hint(job.snapshot, problem)) is not None:
                due = max(due, time + (bounded_hint(hint, self.context.flows.max_retry_after) or 0.0))
        self._finish(job)

    def begin_draining(self, jobs: Iterable[ActiveJob]) -> None:
        """Poll these jobs as if no callback came: a service that stops may not listen for them any more."""
        self.draining = True
        for job in jobs:
            job.wakeup.set()

    def _schedule(self, record: Record) -> Polling:
        """The schedule of a job's queries; one that the user chose is kept as it is, also where a callback is due."""
        expects_callback = self.context.callbacks is not None and record.callback is not None and not self.draining
        provider_schedule = CALLBACK_POLLING if expects_callback else self.context.provider.polling_for(record)
        return self.polling or provider_schedule

    async def _poll(
        self, job: ActiveJob, flow_context: FlowContext, before: WatermarkError | None
    ) -> WatermarkError | None:
        """Query the job once; returns the problem if the query failed. `before` is the problem of the last query."""
        job.wakeup.consume()
        self.context.observer.counters.polls += 1
        if self.context.callbacks is not None and await self._apply_trusted_callback(job):
            return None
        try:
            snapshot = await self.context.flows.run(self.context.provider.query(job.record), flow_context)
            check_snapshot(snapshot, "query()")
        except _CONFIRMED_ERRORS as error:
            if before is not None and type(before) is type(error) and error.status != 404:
                raise self._confirmed(job, error) from None
            problem: WatermarkError = error
        except WatermarkError as error:
            problem = error
        except Exception as error:
            # a bug in a provider, perhaps of another package, does not end the wait for what was paid
            problem = as_watermark_error(error)
            if before is None:
                log.exception("job %s: unexpected error", job.key)
        else:
            job.keep_answer(snapshot, flow_context.answer)
            await self.context.snapshots.record(job, snapshot)
            if job.record.video and self._is_unstarted(job, snapshot):
                await self.start_uploaded(job)
            return None
        finally:
            flow_context.answer = None  # a job that waits keeps no answer
        name = type(problem).__name__
        self.context.observer.job(QUERY_FAILED, job.record, error=name, reason=problem.message)
        return problem

    @staticmethod
    def _is_unstarted(job: ActiveJob, snapshot: Snapshot) -> bool:
        """Whether the provider has said for a while that an upload whose start is in doubt is not started."""
        if not (snapshot.status is Status.UPLOADING and job.snapshot.status is Status.IN_DOUBT):
            job.unstarted_since = None
            return False
        if job.unstarted_since is None:
            job.unstarted_since = loop_time()
        # the request of a client that died a moment ago may still be on its way
        if loop_time() < job.unstarted_since + _UNSTARTED_SECONDS:
            return False
        job.unstarted_since = None
        return True

    @staticmethod
    def _confirmed(job: ActiveJob, error: WatermarkError) -> WatermarkError:
        """The error of a job whose queries are refused for good."""
        if isinstance(error, AuthenticationError):
            return error.about(provider=None, key=None, token=job.record.token)
        return query_refused(job.record, error)

    async def _apply_trusted_callback(self, job: ActiveJob) -> bool:
        """Whether a callback ended the job, where the user chose to trust callbacks (`verify=False`)."""
        delivery, callbacks = job.take_delivery(), self.context.callbacks
        if delivery is None or callbacks is None or callbacks.verify:
            return False
        try:
            snapshot = self.context.provider.parse_callback(delivery, job.record)
        except WatermarkError as error:
            log.info("job %s: a callback could not be read: %s", job.key, error)
            return False
        if snapshot is not None and snapshot.task_id == job.snapshot.task_id:
            await self.context.snapshots.record(job, snapshot)
        return job.snapshot.status.terminal

    def _finish(self, job: ActiveJob) -> None:
        """Complete the job as its terminal snapshot says."""
        result = self.result_of(job.record, job.answer)
        self.notify_handlers(result)
        if job.snapshot.status is Status.SUCCEEDED:
            job.finish(result)
        else:
            job.failure_taken = result.acknowledge if self.acknowledgements.automatic else None
            error = job_failed(job.record)
            error.request_id = None if job.answer is None else job.answer.request_id
            job.fail(error)

    def notify_handlers(self, result: Result, on_failure: Callable[[Result], object] | None = None) -> None:
        """Start the user's result handlers with a result; `on_failure` is called if one raised each time."""
        if self.context.callbacks is not None:
            for task in self.context.callbacks.observers.notify(result, on_failure):
                self._handlers.add(task)
                task.add_done_callback(self._handlers.discard)

    async def end_handlers(self) -> None:
        """Wait for result handlers before the connections are closed; they are not called again."""
        if self.context.callbacks is not None:
            self.context.callbacks.observers.end_pauses(self._handlers)
        await self.wait_for_handlers(loop_time() + HANDLER_SECONDS)

    async def wait_for_handlers(self, until: float) -> None:
        """Wait for result handlers, which may still save their results, at most until then on the loop's clock."""
        if self._handlers:
            await asyncio.wait(self._handlers, timeout=None if isinf(until) else max(0.0, until - loop_time()))

    def result_of(self, record: Record, answer: KeptAnswer | None = None) -> Result:
        """The result of an ended job, as its callers and handlers get it."""
        return Result(record, self.fetcher, self.acknowledgements, answer)
