"""A job under way: `JobHandle` is what the caller holds, `ActiveJob` is the state behind it.

ActiveJob is the only code that changes the state of a running job. The engine asks it and calls its methods:

    method                    what changed
    start_clock(seconds)      the job got its slot: its deadline counts from now
    update(record)            a newer record; announced to `updates()`, unless it must still be stored
    load(record), join(record)  the record in the store: of this job, or of the same job of another client
    set_may_be_paid(value)    a paid request was written to the connection (True), or was refused unprocessed (False)
    mark_accepted()           the provider has the job: `submit()` returns
    finish(result)            the job succeeded
    fail(error)               the job ended without a result in this client
    on_delivery(delivery)     a callback arrived: poll now

`failure_taken` acknowledges the failure of the job, once it was raised to a caller.

`stop_if_unpaid` is set when no caller waits for the job while its paid request is in flight: it ends if the answer
proves that nothing was paid, unless a caller asks for the job again before.

Invariants: the result future is completed once, by finish() or fail(); both also answer those who wait for acceptance,
so no waiter outlives the job. `may_be_paid` decides what cancelling an awaiter does: a job that may be paid is never
cancelled, one that was not sent is cancelled with its only awaiter.

Everything runs on one event loop, and no method that changes state awaits, so no locking is needed.
A waiting job must stay small (100,000 of them are a use case): futures that few callers wait for are created on demand,
and job and handle do not refer to each other in a cycle, so a finished job is freed without the garbage collector.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Generator
from typing import TYPE_CHECKING, Any, NoReturn, Protocol
from weakref import ref

from ..clock import now, time_limit
from ..errors import InvalidInput, WatermarkError
from ..events import AutoResetEvent
from ..introspection import short_repr
from ..jobs import Record, Snapshot
from ..observation.observer import JobTrace
from ..redaction import short_text
from ..results import Result
from ..wire import Delivery, KeptAnswer, Response
from .limits import positive_number

_OF_A_RESULT = {"acknowledge", "outputs", "read", "save", "url"}


class Cancellable(Protocol):
    """The task of a job, or its place in the admission queue."""

    def cancel(self) -> object:
        """Cancel it."""


class ActiveJob:
    """State of one job under way; see the head of this module. `resumed`: an earlier client submitted it.

    `answered`: the provider has answered the submission, or the job has ended.
    """

    __slots__ = (
        "_accepted",
        "_changed",
        "_delivery",
        "_handle",
        "_result",
        "_trace",
        "_waiter_count",
        "answer",
        "answered",
        "deadline",
        "failure_taken",
        "may_be_paid",
        "record",
        "resumed",
        "start_refused",
        "stop_if_unpaid",
        "task",
        "time_limit",
        "unstarted_since",
        "wakeup",
    )

    def __init__(self, record: Record, trace: JobTrace, *, resumed: bool) -> None:
        self.record = record
        self._trace = trace
        self.task: Cancellable | None = None
        self.answer: KeptAnswer | None = None
        self.deadline = self.time_limit = 0.0
        self.wakeup = AutoResetEvent()
        self.may_be_paid = resumed
        self.resumed = resumed
        self.start_refused = False
        self.unstarted_since: float | None = None
        self.failure_taken: Callable[[], object] | None = None
        self.stop_if_unpaid = False
        self.answered = resumed
        self._result: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._accepted: asyncio.Future[None] | None = None
        self._changed: asyncio.Future[None] | None = None
        self._delivery: Delivery | None = None
        self._waiter_count = 0
        self._handle: ref[JobHandle] | None = None

    @property
    def key(self) -> str:
        """The job's name in the store."""
        return self.record.key

    @property
    def snapshot(self) -> Snapshot:
        """The latest observation."""
        return self.record.snapshot

    @property
    def handle(self) -> JobHandle:
        """The caller's view of this job: the same object while a caller holds it."""
        handle = None if self._handle is None else self._handle()
        if handle is None:
            handle = JobHandle(self)
            self._handle = ref(handle)
        return handle

    def done(self) -> bool:
        """Whether there is a result or an error."""
        return self._result.done()

    # changes

    def start_clock(self, seconds: float) -> None:
        """Let the deadline count from now; time spent in the admission queue does not count."""
        self.deadline, self.time_limit = now() + seconds, seconds

    def update(self, record: Record, *, announce: bool = True) -> None:
        """Replace the record and, unless told otherwise, wake those who follow `updates()`."""
        before, self.record = self.record.snapshot, record
        if announce:
            self._announce()
        if record.snapshot is not before:
            self._trace.changed(before, record)

    def load(self, record: Record) -> None:
        """Replace the record by that in the store: what it says happened before, and elsewhere."""
        self.record = record
        self._announce()

    def join(self, record: Record) -> None:
        """Replace the record by that of a job which another client, or an earlier process, has submitted."""
        self.load(record)
        self._trace.found(record)

    def set_may_be_paid(self, value: bool) -> None:  # noqa: FBT001 - a setter
        """Whether a paid request of this job may have reached the provider."""
        self.may_be_paid = value

    def mark_accepted(self) -> None:
        """The provider has the job: `submit()` may return."""
        self.answered = True
        accepted, self._accepted = self._accepted, None
        if accepted is not None and not accepted.done():
            accepted.set_result(None)

    def finish(self, result: Result) -> None:
        """Complete the job with its result."""
        if not self._result.done():
            self._result.set_result(result)
        self.mark_accepted()
        self._announce()

    def fail(self, error: BaseException) -> None:
        """Complete the job with an error."""
        if is_new := not self._result.done():
            self._result.set_exception(error)
            self._result.exception()  # marks it as retrieved: a job that no one awaits is not an asyncio error
        self.answered = True
        accepted, self._accepted = self._accepted, None
        if accepted is not None and not accepted.done():
            accepted.set_exception(error)
            accepted.exception()
        self._announce()
        if is_new:
            self._trace.ended(self.record, error, may_be_paid=self.may_be_paid)

    def keep_answer(self, snapshot: Snapshot, response: Response | None) -> None:
        """Keep what the result shows of the answer that ended the job; of any other answer nothing is kept."""
        if snapshot.status.terminal and response is not None:
            self.answer = KeptAnswer.of(response)

    def on_delivery(self, delivery: Delivery) -> None:
        """Keep the latest callback and wake the watcher."""
        self._delivery = delivery
        self.wakeup.set()
        self._trace.callback(self.record)

    def take_delivery(self) -> Delivery | None:
        """Return the latest callback that was not taken yet."""
        delivery, self._delivery = self._delivery, None
        return delivery

    def _announce(self) -> None:
        changed, self._changed = self._changed, None
        if changed is not None and not changed.done():
            changed.set_result(None)

    # waiting

    def add_waiter(self) -> None:
        """Count a caller who wants the job and does not await it; `remove_waiter` ends it."""
        self._waiter_count += 1
        self.stop_if_unpaid = False

    def remove_waiter(self) -> None:
        """End what `add_waiter` began: a job that was not sent and that no other caller wants is cancelled."""
        self._waiter_count -= 1
        handle = None if self._handle is None else self._handle()
        if self._waiter_count or handle is not None or self.done():
            return
        if self.may_be_paid:
            self.stop_if_unpaid = True
        elif self.task is not None:
            self.task.cancel()

    async def wait_accepted(self, drain: float) -> None:
        """Wait until the provider accepted the job; raises what ended the submission instead.

        Cancelling it cancels a job that was not sent (unless others wait for it too); for one that may be paid, the
        answer is awaited first, at most `drain` seconds.
        """
        self.add_waiter()
        try:
            if not self.answered:
                await asyncio.shield(self._accepted_future())
        except asyncio.CancelledError:
            await self._cancel_if_unsent(drain)
            raise
        finally:
            self._waiter_count -= 1

    async def wait_done(self, drain: float) -> Result:
        """Wait for the result; cancelling it before the job is accepted acts as in `wait_accepted`."""
        self.add_waiter()
        try:
            return await asyncio.shield(self._result)
        except asyncio.CancelledError:
            await self._cancel_if_unsent(drain)
            raise
        except WatermarkError as error:
            self.note_failure_taken()
            raise error.with_traceback(None) from None
        finally:
            self._waiter_count -= 1

    async def wait_result(self) -> Result:
        """Wait for the result; cancelling it leaves the job alone. Raises InvalidInput on another event loop."""
        if asyncio.get_running_loop() is not self._result.get_loop():
            raise InvalidInput("the client of this job was opened on another event loop: await it there")
        try:
            return await asyncio.shield(self._result)
        except WatermarkError as error:
            self.note_failure_taken()
            raise error.with_traceback(None) from None

    def note_failure_taken(self) -> None:
        """Note that the failure of the job was raised to a caller, so that it is not given again."""
        if self.failure_taken is not None:
            self.failure_taken()
            self.failure_taken = None

    async def wait_answered(self, seconds: float) -> None:
        """Wait for the answer to the paid request, at most `seconds`; raises nothing of the job's."""
        if not self.answered:
            await asyncio.wait([self._accepted_future()], timeout=seconds)

    @property
    def ended(self) -> asyncio.Future[Result]:
        """What is done when the job has ended; not to be cancelled."""
        return self._result

    async def wait_changed(self) -> None:
        """Wait for the next change of the record, or for the end of the job."""
        if self._changed is None:
            self._changed = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._changed)

    def call_when_done(self, function: Callable[[Result | BaseException], object]) -> None:
        """Call `function` on the loop with the result or the error, once."""
        self._result.add_done_callback(lambda done: function(done.exception() or done.result()))

    def call_when_answered(self, function: Callable[[], object]) -> None:
        """Call `function` on the loop once the provider has answered, or the job has ended."""
        if self.answered:
            function()
        else:
            self._accepted_future().add_done_callback(lambda _: function())

    async def _cancel_if_unsent(self, drain: float) -> None:
        if self.may_be_paid:
            self.stop_if_unpaid = self._waiter_count == 1  # if the answer is that nothing was paid, do not try again
            await self.wait_answered(drain)
        elif not self.answered and self.task is not None and self._waiter_count == 1:
            self.task.cancel()

    def _accepted_future(self) -> asyncio.Future[None]:
        if self._accepted is None:
            self._accepted = asyncio.get_running_loop().create_future()
        return self._accepted


class JobHandle:
    """A job under way, as its caller sees it. Awaiting it returns its Result; cancelling an awaiter leaves the job.

    Obtained from `client.submit()`, `client.resume()` and `client.recover()`; it may be awaited any number of times.

    Args:
        job: the client's own state of the job.
    """

    __slots__ = ("__weakref__", "_job")

    def __init__(self, job: ActiveJob) -> None:
        self._job = job

    def __repr__(self) -> str:
        """Provider, key and status, on one line."""
        record = self._job.record
        provider, key = short_text(record.provider, 20), short_text(record.key, 60)
        return short_repr(self, provider, key, str(record.snapshot.status))

    @property
    def key(self) -> str:
        """The name of the job in the store: yours, or one the SDK made."""
        return self._job.record.key

    @property
    def task_id(self) -> str | None:
        """The provider's own id, None until the provider has given one."""
        return self._job.record.snapshot.task_id

    @property
    def token(self) -> str:
        """A text that resumes the job in any process with `client.resume(token)`. It holds no secret."""
        return self._job.record.token

    @property
    def snapshot(self) -> Snapshot:
        """The latest observation."""
        return self._job.record.snapshot

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> NoReturn:
            """Raise AttributeError; for what a Result has, with the line that is right."""
            advice = f": `result = await handle`, then result.{name}" if name in _OF_A_RESULT else ""
            raise AttributeError(f"JobHandle has no attribute {name!r}{advice}")

    def done(self) -> bool:
        """Whether there is a result or an error."""
        return self._job.done()

    def when_done(self, function: Callable[[Result | BaseException], object]) -> None:
        """Call `function` on the event loop with the result or the error, once."""
        self._job.call_when_done(function)

    def __await__(self) -> Generator[Any, None, Result]:
        """Wait for the result; see `result`."""
        return self._job.wait_result().__await__()

    async def result(self, timeout: float | None = None) -> Result:  # noqa: ASYNC109
        """Wait for the result, at most `timeout` seconds; the job goes on when it passes.

        Raises TimeoutError after `timeout`; else JobFailed, DeadlineExceeded, SubmissionInDoubt, or another
        WatermarkError that ended the job.
        """
        if timeout is None:
            return await self._job.wait_result()
        async with time_limit(positive_number(timeout, "timeout", zero=True)):
            return await self._job.wait_result()

    async def updates(self) -> AsyncIterator[Snapshot]:
        """Yield snapshots as they change, only the latest where several came together; end after the terminal one.

        Raises what ended the job without a terminal snapshot, for example DeadlineExceeded.
        """
        seen: Snapshot | None = None
        while True:
            snapshot = self.snapshot
            if snapshot is not seen:
                seen = snapshot
                yield snapshot
            elif self._job.done():
                await self._job.wait_result()
                return
            else:
                await self._job.wait_changed()
            if snapshot.status.terminal:
                return
