"""Tasks: the emulated jobs, whose state is computed from the clock when it is queried, without a timer per task.

A task is done when its processing time is over, its work is finished, and it was queried as often as a test asked for
(`polls_until_done`), whichever is last.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from attrs import Attribute, define, field, frozen

from ...clock import idle, pause
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


def _note_query(task: EmulatedTask, _: Attribute[int], queries: int) -> int:
    """End the wait of a task that has been queried often enough; called when `queries` is set."""
    if task.polls_until_done is not None and queries >= task.polls_until_done and not task.polled.is_set():
        task.ready_at = max(task.ready_at, task.clock())
        task.polled.set()
    return queries


@define(eq=False)
class EmulatedTask:
    """One emulated job.

    Times are seconds on `clock`. `charges` counts the charges of `price` credits each that were not refunded,
    `queries` the queries of this task, `deliveries` the POSTs to its callback URL. `processed` is set when the work
    is finished, which may be before the processing time is over. `path`: of the submit that made it, where an API has
    several. `polls_until_done`: the first query that may find the task done; None for any.
    """

    provider: str
    task_id: str
    created_at: float
    clock: Callable[[], float] = field(repr=False)
    ready_at: float = float("inf")
    started_at: float | None = None
    price: float = 1
    charges: int = 0
    queries: int = field(default=0, on_setattr=_note_query)
    deliveries: int = 0
    output_count: int = 1
    outputs: list[TaskOutput] = field(factory=list, repr=False)
    failure: JobFailure | None = None
    callback_url: str | None = field(default=None, repr=False)
    path: str = field(default="", repr=False)
    processed: asyncio.Event = field(factory=asyncio.Event, repr=False)
    polls_until_done: int | None = None
    polled: asyncio.Event = field(factory=asyncio.Event, repr=False)
    work_progress: Callable[[], float] | None = field(default=None, repr=False)

    @property
    def started(self) -> bool:
        """Whether the task has been charged; also true once it is done."""
        return self.started_at is not None

    @property
    def pending(self) -> bool:
        """Whether the task is not done yet."""
        return not self.processed.is_set() or self.awaits_polls or self.clock() < self.ready_at

    @property
    def awaits_polls(self) -> bool:
        """Whether the task must be queried again before it can be done."""
        return self.polls_until_done is not None and not self.polled.is_set()

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
        polled = self.queries / self.polls_until_done if self.polls_until_done else 1.0
        # the slowest of processing time, work and polls decides; 1 would say that the task is done
        return max(0.0, min(elapsed, worked, polled, 0.99))

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
        """Wait until the task is done: for its work, for its polls, and for the seconds then remaining on `clock`."""
        with idle():
            await self.processed.wait()
            if self.awaits_polls:
                await self.polled.wait()
            await pause(self.remaining)
        # the pause uses the loop's clock, which may end a little before `clock` reaches ready_at: the task is done now
        self.ready_at = min(self.ready_at, self.clock())


@define
class TaskTable:
    """All tasks, by provider and id."""

    _by_id: dict[tuple[str, str], EmulatedTask] = field(init=False, factory=dict)

    def all(self) -> tuple[EmulatedTask, ...]:
        """Return all tasks, oldest first; may be called from any thread."""
        return tuple(self._by_id.copy().values())

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
