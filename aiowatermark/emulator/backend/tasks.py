"""The jobs the emulator holds: a job is done when its time is over and its work is finished; no timer waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

from attrs import define, field, frozen

from ..storage.objects import StoredObject
from ..web.responses import ApiError, ErrorReason
from .limits import JobFailure


@frozen
class TaskOutput:
    """What came of one picture or video: the result on the storage host, or the failure; exactly one of the two."""

    stored: StoredObject | None = None
    failure: JobFailure | None = None
    found: bool = False
    duration: float = 0.0


@define(eq=False)
class EmulatedTask:
    """One job. `queries`, `charges` (of `price` credits) and `deliveries` count what was done about it."""

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
    expected: int = 1
    outputs: list[TaskOutput] = field(factory=list, repr=False)
    failure: JobFailure | None = None
    callback_url: str | None = field(default=None, repr=False)
    processed: asyncio.Event = field(factory=asyncio.Event, repr=False)
    work_progress: Callable[[], float] | None = field(default=None, repr=False)

    @property
    def started(self) -> bool:
        """Whether it is paid for and being worked on, or done."""
        return self.started_at is not None

    @property
    def pending(self) -> bool:
        """Whether it is not done yet."""
        return not self.processed.is_set() or self.clock() < self.ready_at

    @property
    def failed(self) -> bool:
        """Whether it is done, and nothing came of it."""
        return not self.pending and self.failure_kind is not None

    @property
    def failure_kind(self) -> JobFailure | None:
        """The failure of the whole job, or that of its only picture."""
        if self.failure is None and self.expected == 1 and self.outputs:
            return self.outputs[0].failure
        return self.failure

    @property
    def state(self) -> str:
        """One of created, processing, succeeded, failed."""
        if not self.started:
            return "created"
        if self.pending:
            return "processing"
        return "failed" if self.failed else "succeeded"

    @property
    def progress(self) -> float:
        """From 0 to 1; 1 only when it is done."""
        if self.started_at is None:
            return 0.0
        if not self.pending:
            return 1.0
        span = self.ready_at - self.started_at
        elapsed = 1.0 if span <= 0 else (self.clock() - self.started_at) / span
        worked = self.work_progress() if self.work_progress and not self.processed.is_set() else 1.0
        return max(0.0, min(elapsed, worked, 0.99))

    @property
    def remaining(self) -> float:
        """Seconds until its time is over; 0 when it is."""
        return max(0.0, self.ready_at - self.clock())

    @property
    def completed_at(self) -> float:
        """When it was done, or would be."""
        return self.ready_at

    def start(self, seconds: float) -> None:
        """It is paid for; its time runs from now."""
        self.started_at = self.clock()
        self.ready_at = self.started_at + seconds

    def finish(self, made: list[TaskOutput]) -> None:
        """Its work is finished; it is done as soon as its time is over, too."""
        self.outputs = made
        self.ready_at = max(self.ready_at, self.clock())
        self.processed.set()

    async def done(self) -> None:
        """Wait until it is done, for as many seconds as `clock` says now."""
        await self.processed.wait()
        await asyncio.sleep(self.remaining)
        # the loop's clock and this one are not the same and may differ by a hair
        self.ready_at = min(self.ready_at, self.clock())


@define
class TaskTable:
    """All jobs, by provider and id."""

    _by_id: dict[tuple[str, str], EmulatedTask] = field(init=False, factory=dict)

    def __iter__(self) -> Iterator[EmulatedTask]:
        return iter(self._by_id.values())

    def add(self, task: EmulatedTask) -> None:
        """Remember it."""
        self._by_id[task.provider, task.task_id] = task

    def find(self, provider: str, task_id: str) -> EmulatedTask:
        """The job with this id. Raises Refusal when this provider has none."""
        try:
            return self._by_id[provider, task_id]
        except KeyError:
            raise ApiError(ErrorReason.UNKNOWN_TASK, "There is no such task.") from None
