"""Where the APIs hand in their jobs: each is charged, started, worked on and called back, the same way for all."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path

from attrs import define, field

from ..callbacks import CallbackScript, CallbackSender, Describe
from ..faults import Fault
from ..storage.objects import ObjectStore
from ..web.fault_queue import FaultQueue
from .accounts import Account
from .image_worker import ImageJob, ImageWorker
from .limits import FailureKind, JobFailure
from .tasks import EmulatedTask, TaskOutput, TaskTable
from .video_worker import VideoProgress, VideoWorker

Processing = float | Callable[[EmulatedTask], float]
# the customer's own doing: nobody charges for that
_FREE = frozenset({FailureKind.LINK, FailureKind.SIZE, FailureKind.PICTURE})


@define
class JobService:
    """What all five APIs share."""

    accounts: Mapping[str, Account]
    objects: ObjectStore
    image_worker: ImageWorker
    video_worker: VideoWorker
    callback_sender: CallbackSender
    faults: FaultQueue[Fault]
    scripts: FaultQueue[CallbackScript]
    script: CallbackScript
    clock: Callable[[], float]
    processing: Processing
    sync_limit: float
    tasks: TaskTable = field(factory=TaskTable)
    _running: set[asyncio.Task[None]] = field(init=False, factory=set)

    def create(self, provider: str, task_id: str | None = None) -> EmulatedTask:
        """A job that costs nothing yet."""
        task = EmulatedTask(provider, task_id or str(uuid.uuid4()), self.clock(), self.clock)
        self.tasks.add(task)
        return task

    def create_charged(self, provider: str) -> EmulatedTask:
        """A job that is charged for and whose time runs. Raises Refusal when there are no credits."""
        self.accounts[provider].charge()
        task = self.create(provider)
        self._start(task, "submit")
        return task

    def charge(self, task: EmulatedTask) -> None:
        """Charge for a job opened before, its price still unknown; its time runs from now, once."""
        task.price = 0
        self.accounts[task.provider].charge(task.price)
        if task.started:
            task.charges += 1
        else:
            self._start(task, "start", refunds=True)

    async def submit_images(
        self, provider: str, order: ImageJob, callback_url: str | None = None, describe: Describe | None = None
    ) -> EmulatedTask:
        """A job for pictures, charged for and on its way. Raises Refusal when there are no credits."""
        task = self.create_charged(provider)
        task.expected = len(order.pictures)
        task.callback_url = callback_url
        self._run_images(task, order)
        if callback_url and describe:
            script = self.scripts.take(provider, None, lambda _: True) or self.script
            await self.callback_sender.dispatch(task, script, describe)
        return task

    def submit_video(self, task: EmulatedTask, source: Path, mask: bytes | None, rate: float) -> None:
        """Work on a video, which costs `rate` credits a second."""
        if task.failure is None:
            self._spawn(self._run_video(task, source, mask, rate))

    def fail(self, task: EmulatedTask, failure: JobFailure) -> None:
        """End a job that cannot be done, and take nothing for it."""
        self._finish(task, [TaskOutput(failure=failure)])

    async def wait(self, task: EmulatedTask) -> None:
        """Wait until the job is done, but not longer than an API waits itself."""
        try:
            await asyncio.wait_for(task.done(), self.sync_limit)
        except TimeoutError:
            return

    async def close(self) -> None:
        """End all work."""
        for running in self._running:
            running.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def _start(self, task: EmulatedTask, step: str, *, refunds: bool = False) -> None:
        task.charges += 1
        task.start(self.processing(task) if callable(self.processing) else self.processing)
        fault = self.faults.take(task.provider, step, lambda fault: fault.spoils_the_job and step in fault.steps)
        if fault is None:
            return
        task.failure = JobFailure(FailureKind.INTERNAL, fault.reason, fault.state)
        if refunds if fault.refund is None else fault.refund:
            self._refund(task)
        task.finish([])

    def _refund(self, task: EmulatedTask) -> None:
        self.accounts[task.provider].refund(task.price, task.charges)
        task.charges = 0

    def _run_images(self, task: EmulatedTask, order: ImageJob) -> None:
        if task.failure is not None:
            return
        if self.image_worker.process_now(order):
            self._finish(task, self.image_worker.copy(task.provider, order))
        else:
            self._spawn(self._process_images(task, order))

    async def _process_images(self, task: EmulatedTask, order: ImageJob) -> None:
        try:
            made = await self.image_worker.process(task.provider, order)
        except Exception as error:  # noqa: BLE001 - whatever breaks here, the job fails and its waiters are told
            made = [TaskOutput(failure=JobFailure(FailureKind.INTERNAL, repr(error)))] * task.expected
        self._finish(task, made)

    async def _run_video(self, task: EmulatedTask, source: Path, mask: bytes | None, rate: float) -> None:
        task.work_progress = progress = VideoProgress()
        made = await self.video_worker.process(task.provider, source, mask, progress)
        if made.failure is None:
            task.price = round(made.duration * rate, 3)
            self.accounts[task.provider].settle(task.price * task.charges)
        else:
            # the documents, under Pricing: failed tasks and those that took too long are refunded
            self._refund(task)
        task.finish([made])

    def _finish(self, task: EmulatedTask, made: list[TaskOutput]) -> None:
        if all(one.failure is not None and one.failure.kind in _FREE for one in made):
            self._refund(task)
        task.finish(made)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        running = asyncio.ensure_future(work)
        self._running.add(running)
        running.add_done_callback(self._running.discard)
