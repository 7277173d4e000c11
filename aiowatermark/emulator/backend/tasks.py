"""Tasks: the emulated jobs, whose state is computed from the clock when it is queried, without a timer per task.

A task is done when its processing time is over and its work is finished, whichever is later.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

from attrs import define, field, frozen

from ..storage.objects import StoredObject
from ..web.request_log import note_task
from ..web.responses import ApiError, ErrorReason
from .limits import JobFailure


@frozen
class TaskOutput:
    """The outcome for one image or video: either the result on the storage host or the failure.

    `found`: whether a watermark was found and removed. `duration`: of a video, in seconds. `answered`: the bytes of a
    result that was part of the answer and is not stored.
    """

    stored: StoredObject | None = None
    failure: JobFailure | None = None
    found: bool = False
    duration: float = 0.0
    answered: int = 0

    @property
    def size(self) -> int:
        """Return the bytes of the result, 0 if there is none."""
        return self.stored.size if self.stored else self.answered


@define(eq=False)
class EmulatedTask:
    """One emulated job.

    Times are seconds on `clock`. `charges` counts the charges of `price` credits each that were not refunded,
    `queries` the queries of this task, `deliveries` the POSTs to its callback URL. `processed` is set when the work
    is finished, which may be before the processing time is over.
    """

    provider: str
    task_id: str
    created_at: float
    clock: Callable[[], float] = field(repr=False)
    ready_at: float = float("inf")
    started_at: float | None = None
    price: float = 1
    charges: int = 0
    queries: int = 0
    deliveries: int = 0
    output_count: int = 1
    outputs: list[TaskOutput] = field(factory=list, repr=False)
    failure: JobFailure | None = None
    callback_url: str | None = field(default=None, repr=False)
    processed: asyncio.Event = field(factory=asyncio.Event, repr=False)
    work_progress: Callable[[], float] | None = field(default=None, repr=False)

    @property
    def started(self) -> bool:
        """Whether the task has been charged; also true once it is done."""
        return self.started_at is not None

    @property
    def pending(self) -> bool:
        """Whether the task is not done yet."""
        return not self.processed.is_set() or self.clock() < self.ready_at

    @property
    def failed(self) -> bool:
        """Whether the task is done and has failed as a whole."""
        return not self.pending and self.effective_failure is not None

    @property
    def effective_failure(self) -> JobFailure | None:
        """Return the failure of the whole task, or that of its only image; None without one."""
        if self.failure is None and self.output_count == 1 and self.outputs:
            return self.outputs[0].failure
        return self.failure

    @property
    def state(self) -> str:
        """Return created, processing, succeeded or failed."""
        if not self.started:
            return "created"
        if self.pending:
            return "processing"
        return "failed" if self.failed else "succeeded"

    @property
    def progress(self) -> float:
        """Return the progress from 0 to 1; 1 only when the task is done."""
        if self.started_at is None:
            return 0.0
        if not self.pending:
            return 1.0
        span = self.ready_at - self.started_at
        elapsed = 1.0 if span <= 0 else (self.clock() - self.started_at) / span
        worked = self.work_progress() if self.work_progress and not self.processed.is_set() else 1.0
        # the slower one of processing time and work decides; 1 would say that the task is done
        return max(0.0, min(elapsed, worked, 0.99))

    @property
    def remaining(self) -> float:
        """Return the seconds until the processing time is over, at least 0."""
        return max(0.0, self.ready_at - self.clock())

    @property
    def completed_at(self) -> float:
        """Return when the task was done or will be."""
        return self.ready_at

    def start(self, seconds: float) -> None:
        """Begin the processing time, `seconds` from now."""
        self.started_at = self.clock()
        self.ready_at = self.started_at + seconds

    def finish(self, outputs: list[TaskOutput]) -> None:
        """Set the outcome of the work; the task is done when its processing time is over, too."""
        self.outputs = outputs
        # work that took longer than the processing time ends the task now
        self.ready_at = max(self.ready_at, self.clock())
        self.processed.set()

    async def done(self) -> None:
        """Wait until the task is done: until the work is finished and for the seconds then remaining on `clock`."""
        await self.processed.wait()
        await asyncio.sleep(self.remaining)
        # `sleep` uses the loop's clock, which may end a little before `clock` reaches ready_at: the task is done now
        self.ready_at = min(self.ready_at, self.clock())


@define
class TaskTable:
    """All tasks, by provider and id."""

    _by_id: dict[tuple[str, str], EmulatedTask] = field(init=False, factory=dict)

    def __iter__(self) -> Iterator[EmulatedTask]:
        return iter(self._by_id.values())

    def add(self, task: EmulatedTask) -> None:
        """Add a task."""
        note_task(task.task_id)
        self._by_id[task.provider, task.task_id] = task

    def find(self, provider: str, task_id: str) -> EmulatedTask:
        """Return the task with this id. Raises ApiError when this provider has none."""
        try:
            task = self._by_id[provider, task_id]
        except KeyError:
            raise ApiError(ErrorReason.UNKNOWN_TASK, "There is no such task.") from None
        note_task(task_id)
        return task
