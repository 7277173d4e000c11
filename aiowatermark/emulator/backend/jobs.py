"""Where the APIs hand in their jobs: each is charged, started, worked on and called back, the same way for all."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path

from attrs import define, field

from ..callbacks import CallbackScript, Courier, Describe
from ..faults import Fault
from ..storage.objects import Shelf
from ..web.fault_queue import Plan
from .accounts import Account
from .image_worker import Order, Workshop
from .limits import Failure, Trouble
from .tasks import Made, Task, Tasks
from .video_worker import Progress, Studio

Processing = float | Callable[[Task], float]
# the customer's own doing: nobody charges for that
_FREE = frozenset({Trouble.LINK, Trouble.SIZE, Trouble.PICTURE})


@define
class Desk:
    """What all five APIs share."""

    accounts: Mapping[str, Account]
    shelf: Shelf
    workshop: Workshop
    studio: Studio
    courier: Courier
    faults: Plan[Fault]
    scripts: Plan[CallbackScript]
    script: CallbackScript
    clock: Callable[[], float]
    processing: Processing
    sync_limit: float
    tasks: Tasks = field(factory=Tasks)
    _running: set[asyncio.Task[None]] = field(init=False, factory=set)

    def opened(self, provider: str, task_id: str | None = None) -> Task:
        """A job that costs nothing yet."""
        task = Task(provider, task_id or str(uuid.uuid4()), self.clock(), self.clock)
        self.tasks.add(task)
        return task

    def paid(self, provider: str) -> Task:
        """A job that is charged for and whose time runs. Raises Refusal when there are no credits."""
        self.accounts[provider].charge()
        task = self.opened(provider)
        self._start(task, "submit")
        return task

    def pay(self, task: Task) -> None:
        """Charge for a job opened before, its price still unknown; its time runs from now, once."""
        task.price = 0
        self.accounts[task.provider].charge(task.price)
        if task.started:
            task.charges += 1
        else:
            self._start(task, "start", refunds=True)

    async def accept(
        self, provider: str, order: Order, callback_url: str | None = None, describe: Describe | None = None
    ) -> Task:
        """A job for pictures, charged for and on its way. Raises Refusal when there are no credits."""
        task = self.paid(provider)
        task.expected = len(order.pictures)
        task.callback_url = callback_url
        self._work(task, order)
        if callback_url and describe:
            script = self.scripts.take(provider, None, lambda _: True) or self.script
            await self.courier.dispatch(task, script, describe)
        return task

    def produce(self, task: Task, source: Path, mask: bytes | None, rate: float) -> None:
        """Work on a video, which costs `rate` credits a second."""
        if task.failure is None:
            self._spawn(self._produce(task, source, mask, rate))

    def give_up(self, task: Task, failure: Failure) -> None:
        """End a job that cannot be done, and take nothing for it."""
        self._finish(task, [Made(failure=failure)])

    async def wait(self, task: Task) -> None:
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

    def _start(self, task: Task, step: str, *, refunds: bool = False) -> None:
        task.charges += 1
        task.start(self.processing(task) if callable(self.processing) else self.processing)
        fault = self.faults.take(task.provider, step, lambda fault: fault.spoils_the_job and step in fault.steps)
        if fault is None:
            return
        task.failure = Failure(Trouble.INTERNAL, fault.reason, fault.state)
        if refunds if fault.refund is None else fault.refund:
            self._refund(task)
        task.finish([])

    def _refund(self, task: Task) -> None:
        self.accounts[task.provider].refund(task.price, task.charges)
        task.charges = 0

    def _work(self, task: Task, order: Order) -> None:
        if task.failure is not None:
            return
        if self.workshop.at_once(order):
            self._finish(task, self.workshop.copy(task.provider, order))
        else:
            self._spawn(self._make(task, order))

    async def _make(self, task: Task, order: Order) -> None:
        try:
            made = await self.workshop.make(task.provider, order)
        except Exception as error:  # noqa: BLE001 - whatever breaks here, the job fails and its waiters are told
            made = [Made(failure=Failure(Trouble.INTERNAL, repr(error)))] * task.expected
        self._finish(task, made)

    async def _produce(self, task: Task, source: Path, mask: bytes | None, rate: float) -> None:
        task.work_progress = progress = Progress()
        made = await self.studio.make(task.provider, source, mask, progress)
        if made.failure is None:
            task.price = round(made.duration * rate, 3)
            self.accounts[task.provider].settle(task.price * task.charges)
        else:
            # the documents, under Pricing: failed tasks and those that took too long are refunded
            self._refund(task)
        task.finish([made])

    def _finish(self, task: Task, made: list[Made]) -> None:
        if all(one.failure is not None and one.failure.trouble in _FREE for one in made):
            self._refund(task)
        task.finish(made)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        running = asyncio.ensure_future(work)
        self._running.add(running)
        running.add_done_callback(self._running.discard)
