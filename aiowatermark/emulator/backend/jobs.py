"""Job service: creates, charges, runs and finishes the emulated jobs of all five APIs.

A task (the vendors' word) is one emulated job. Its life, and who is charged when:

    method                          effect                                              task.state
    create                          the task exists; free (a video's ticket)            created
    create_charged, submit_images   the price is charged, the processing time begins    processing
    charge (a video's start)        one charge at a price still unknown, which needs    processing
                                    a positive balance; the processing time begins.
                                    Called again: one more charge, the same work
    submit_video                    the work begins; on success the price, `rate`       processing
                                    credits per second, is deducted for every charge so far
    _finish, task.finish            the outputs are set; the task is done as soon as    succeeded, failed
                                    its processing time is over as well

The charge comes first and raises ApiError when the balance does not cover it; a refused submit leaves no task.

    why the task failed                                     refund
    an injected fault                                       as the fault says; by default for videos only
    every image failed for the customer's own reasons       yes
    (link, size, invalid image)
    some images failed, or an internal error                no
    the video failed                                        yes ("failed or timeout tasks", the documents' Pricing)

Image jobs that need neither fetching nor restoring are finished inside `submit_images`; Dewatermark's images are
restored by the request handler, which calls `fail` or `task.finish`. All other work runs in one asyncio task per job,
which uses threads or a process. A job that only waits for its processing time to end has no asyncio task: its state
is computed from the clock when it is queried, so pending jobs cost memory only.

Accounts and tasks belong to one event loop, and no change to them spans an await, so no lock is needed. Cancelling a
caller of `wait` does not cancel the job. `close` cancels the work that is running; those tasks stay pending and are
not refunded. An exception in image work fails the task instead of leaving it pending for ever.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path

from attrs import define, field

from ...clock import active_until_done, time_limit
from ..callbacks import CallbackScript, CallbackSender, PayloadBuilder
from ..faults import Fault
from ..storage.objects import ObjectStore
from ..web.fault_queue import FaultQueue
from .accounts import Account
from .image_worker import ImageJob, ImageWorker
from .limits import FailureKind, JobFailure
from .scripts import Processing, ProviderScript
from .tasks import EmulatedTask, TaskOutput, TaskTable
from .video_worker import VideoProgress, VideoWorker

# failures caused by the customer's input, which are not charged
_NOT_CHARGED = frozenset({FailureKind.LINK, FailureKind.SIZE, FailureKind.IMAGE})


@define
class JobService:
    """The jobs of all five APIs.

    `processing`: the seconds a job takes, or a function of its task. `script`: how callbacks are sent unless
    `scripts` holds another one. `provider_scripts`: what a test has chosen for a provider instead. `sync_limit`: the
    longest time in seconds for which `wait` waits.
    """

    accounts: Mapping[str, Account]
    objects: ObjectStore
    image_worker: ImageWorker
    video_worker: VideoWorker
    callback_sender: CallbackSender
    faults: FaultQueue[Fault]
    scripts: FaultQueue[CallbackScript]
    script: CallbackScript
    provider_scripts: Mapping[str, ProviderScript]
    clock: Callable[[], float]
    processing: Processing
    sync_limit: float
    tasks: TaskTable = field(factory=TaskTable)
    _running: set[asyncio.Task[None]] = field(init=False, factory=set)

    def create(self, provider: str, task_id: str | None = None) -> EmulatedTask:
        """Return a new task that has not been charged."""
        task = EmulatedTask(provider, task_id or str(uuid.uuid4()), self.clock(), self.clock)
        self.tasks.add(task)
        return task

    def create_charged(self, provider: str, price: float = 1, *, polled: bool = False) -> EmulatedTask:
        """Charge the price, in credits, and return a new task whose processing time has begun.

        Raises ApiError when the balance is too low.
        """
        self.accounts[provider].charge(price)
        task = self.create(provider)
        task.price = price
        self._start(task, "submit", polled=polled)
        return task

    def charge(self, task: EmulatedTask) -> None:
        """Charge for a task whose price is not known yet; the first call begins its processing time.

        Raises ApiError when the balance is not positive.
        """
        # the price depends on the duration, which is known when the work is done
        task.price = 0
        self.accounts[task.provider].charge(task.price)
        if task.started:
            task.charges += 1
        else:
            self._start(task, "start", refunds=True, polled=True)

    async def submit_images(
        self,
        provider: str,
        job: ImageJob,
        callback_url: str | None = None,
        build_payload: PayloadBuilder | None = None,
        *,
        price: float = 1,
        path: str = "",
    ) -> EmulatedTask:
        """Charge for an image job, start it, schedule its callback and return its task.

        Raises ApiError when the balance is too low.
        """
        task = self.create_charged(provider, price, polled=True)
        task.output_count = len(job.images)
        task.callback_url, task.path = callback_url, path
        self._run_images(task, job)
        if callback_url and build_payload:
            script = self._take_callback_script(provider)
            # awaited, because an early callback must arrive before the response to this submit
            await self.callback_sender.dispatch(task, script, build_payload)
        return task

    def submit_video(self, task: EmulatedTask, source: Path, mask: bytes | None, rate: float) -> None:
        """Start the work on a video that costs `rate` credits per second, unless a fault has failed its task."""
        if task.failure is None:
            self._spawn(self._run_video(task, source, mask, rate))

    def fail(self, task: EmulatedTask, failure: JobFailure) -> None:
        """Finish a task with a failure; it is refunded if the customer's input is the cause."""
        self._finish(task, [TaskOutput(failure=failure)])

    async def wait(self, task: EmulatedTask) -> None:
        """Wait until the task is done, at most `sync_limit` seconds; does not raise when that time is over."""
        if task.awaits_polls:
            return
        try:
            async with time_limit(self.sync_limit):
                await task.done()
        except TimeoutError:
            return

    async def close(self) -> None:
        """Cancel all work and wait until it has ended."""
        for running in self._running:
            running.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def _take_callback_script(self, provider: str) -> CallbackScript:
        once = self.scripts.take(provider, None, lambda _: True)
        return once or self.provider_scripts[provider].callback or self.script

    def _start(self, task: EmulatedTask, step: str, *, refunds: bool = False, polled: bool = False) -> None:
        """Begin the processing time; take a fault that fails the job, and refund if it or `refunds` says so.

        `polled`: whether the job has queries, so that a script may count them.
        """
        task.charges += 1
        script = self.provider_scripts[task.provider]
        task.polls_until_done = script.polls_until_done if polled else None
        task.start(0.0 if task.polls_until_done else script.seconds(task, self.processing))
        fault = self.faults.take(task.provider, step, lambda fault: fault.affects_job and step in fault.steps)
        if fault is None:
            return
        task.failure = JobFailure(FailureKind.INTERNAL, fault.reason, fault.state)
        if refunds if fault.refund is None else fault.refund:
            self._refund(task)
        # no work follows; the task still fails only when its processing time is over
        task.finish([])

    def _refund(self, task: EmulatedTask) -> None:
        self.accounts[task.provider].refund(task.price, task.charges)
        task.charges = 0

    def _run_images(self, task: EmulatedTask, job: ImageJob) -> None:
        if task.failure is not None:
            return
        if self.image_worker.can_copy(job):
            self._finish(task, self.image_worker.copy_images(task.provider, job))
        else:
            self._spawn(self._process_images(task, job))

    async def _process_images(self, task: EmulatedTask, job: ImageJob) -> None:
        try:
            outputs = await self.image_worker.process(task.provider, job)
        except Exception as error:  # noqa: BLE001 - without an outcome, the task would stay pending for ever
            outputs = [TaskOutput(failure=JobFailure(FailureKind.INTERNAL, repr(error)))] * task.output_count
        self._finish(task, outputs)

    async def _run_video(self, task: EmulatedTask, source: Path, mask: bytes | None, rate: float) -> None:
        task.work_progress = progress = VideoProgress()
        output = await self.video_worker.process(task.provider, source, mask, progress)
        if output.failure is None:
            task.price = round(output.duration * rate, 3)
            # a video that was started several times is charged several times, for one result
            self.accounts[task.provider].deduct(task.price * task.charges)
        else:
            # the documents, under Pricing: "Any failed or timeout tasks will result in a credit refund."
            self._refund(task)
        task.finish([output])

    def _finish(self, task: EmulatedTask, outputs: list[TaskOutput]) -> None:
        if all(output.failure is not None and output.failure.kind in _NOT_CHARGED for output in outputs):
            self._refund(task)
        task.finish(outputs)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        running = asyncio.ensure_future(work)
        active_until_done(running)
        # the event loop holds asyncio tasks weakly
        self._running.add(running)
        running.add_done_callback(self._running.discard)
