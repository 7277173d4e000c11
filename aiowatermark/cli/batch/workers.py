"""Worker pool: runs the jobs of a batch concurrently, and on Ctrl-C stops without losing a paid job.

Each worker takes one item after another through these steps:

    step     what it does                   if `stop` is set meanwhile
    pull     next item, maybe from stdin    cancelled; the worker ends
    name     job key; may hash a file       cancelled -> UNSENT
    start    submit, or resume              not cancelled: the closing of the client ends it, with a handle or an error
    wait     until the job has ended        cancelled -> UNFINISHED (UNSENT if its upload is incomplete); a video may
                                            be refused only now, and then has no job
    save     download the result            cancelled -> UNFINISHED; a result without a URL is saved -> DONE, because
                                            its bytes came with the paid answer and no other call returns them

How an item may end is in `ItemStatus`. A `start` that the account's refusal makes useless raises NotSent (see account).

Cancellation is control flow here. `_cancellable` wraps a step that may be cut and lists its task meanwhile; `run`
cancels the listed tasks when `stop` is set, and a worker that comes to such a step later raises CancelledError itself.
`_absorb_cancel` tells the reasons apart: with `stop` set, the worker undoes the cancellation (Task.uncancel) and goes
on to classify its item; any other cancellation is raised again.

Stopping, in order: `run` returns; the caller closes the client, which stops unsent submissions and waits for answers to
paid requests; `drain` lets the workers classify their items. Not earlier, because an upload may be completed, and so
paid for, while the client closes: only then is a job's snapshot final. After a second Ctrl-C or an unexpected error
`abort` replaces `drain` and classifies the active items by what is known: one whose `start` has not returned is
UNSENT if the store says so, else UNFINISHED without a token, since it may have been paid.

Invariants: each item that reached a worker is counted exactly once, by `_finish` or `abort`; only `abort` cancels a
worker in its `start` (the account gate may cancel the submission itself, and the `start` raises NotSent then). All runs
on one event loop, so counts need no lock; the pull has one because two tasks must not advance an async generator at the
same time. Exceptions other than WatermarkError, OSError and ValueError are bugs and end `run`.
"""

from __future__ import annotations

import asyncio
import sys
import time
from abc import abstractmethod
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import suppress
from typing import Any, Protocol, TypeVar

from attrs import define, field

from ... import (
    AuthenticationError,
    DeadlineExceeded,
    InsufficientCredits,
    InvalidInput,
    JobFailed,
    JobHandle,
    Rejected,
    Result,
    Status,
    StoreError,
    SubmissionInDoubt,
    TransferFailed,
    WatermarkError,
)
from ...client.engine.settle import settled_paid
from ..advice.other_accounts import OpenElsewhere
from ..console.progress import ProgressDisplay, ProgressRow
from ..console.runner import wait_for_all
from .account import AccountGate, NotSent
from .items import COUNT_WORDS, BatchItem, ItemStatus, Outcome, Outcomes, PaidAndLost, Plan
from .output_folder import OutputFolder, remark_on
from .output_names import Target
from .saving import NotSaved

T = TypeVar("T")

# Raised, as exactly these classes, by calls that the closing of the client has ended: a wait or a submission
# (WatermarkError), a call after the closing (InvalidInput), a download (TransferFailed)
_CLIENT_CLOSED_ERRORS = {WatermarkError, InvalidInput, TransferFailed}
_REFUSALS = (InvalidInput, Rejected, AuthenticationError, InsufficientCredits)
"""Errors before a job is accepted that say that nothing was paid."""
_UPLOAD_REFUSALS = (Rejected, AuthenticationError, InsufficientCredits)
"""Errors of a wait that, without a token, say that the provider refused what it had taken the upload of."""
_STATUS_BY_ERROR: Mapping[type[Exception], ItemStatus] = {
    SubmissionInDoubt: ItemStatus.IN_DOUBT,
    PaidAndLost: ItemStatus.LOST,
    NotSent: ItemStatus.UNSENT,
    NotSaved: ItemStatus.UNSAVED,
    OpenElsewhere: ItemStatus.ELSEWHERE,
}
_STORE_SECONDS = 2.0
"""Time for the store to say, after a second Ctrl-C, what was not sent."""


class BatchAction(Protocol):
    """What a command does with each item: `remove` submits it, `resume` resumes its job."""

    @abstractmethod
    async def name(self, item: BatchItem) -> None:
        """Set the item's key, and its output if that was saved before, if they are known before the start.

        Sends nothing, may be cancelled.
        """

    @abstractmethod
    async def start(self, item: BatchItem, row: ProgressRow) -> JobHandle:
        """Submit the job, or resume it; may cost money, is cancelled only by `abort`."""

    @abstractmethod
    async def is_unsent(self, item: BatchItem) -> bool:
        """Whether it is known that nothing was sent for an item whose `start` has not returned; raises StoreError."""

    @abstractmethod
    async def destinations(self, item: BatchItem) -> list[tuple[str, Target]]:
        """Return the inputs for which the job's result is saved, and the names that it is to have."""


@define(eq=False)
class WorkerPool:
    """Runs a BatchAction for each item; `report` is called with each outcome and returns its line.

    `gate` is told what ended a submission after its `start`. `provider` is the provider's name, `title` the one on the
    display. When `stop` is set, no further item is pulled.
    """

    action: BatchAction
    gate: AccountGate
    provider: str
    title: str
    outputs: OutputFolder
    display: ProgressDisplay
    report: Callable[[Outcome], str]
    stop: asyncio.Event
    outcomes: Outcomes = field(factory=Outcomes)
    not_done: list[BatchItem] = field(factory=list, init=False)
    _cancellable_tasks: set[asyncio.Task[Any]] = field(factory=set, init=False)
    _pull_lock: asyncio.Lock = field(factory=asyncio.Lock, init=False)
    _active: set[BatchItem] = field(factory=set, init=False)
    _aborted: bool = field(default=False, init=False)
    _client_closed: asyncio.Event = field(factory=asyncio.Event, init=False)
    _pulled: int = field(default=0, init=False)
    _workers: list[asyncio.Task[None]] = field(factory=list, init=False)

    @property
    def keys_were_refused(self) -> bool:
        """Whether the provider refused the API key for each item that was sent to it."""
        done = self.outcomes.counts[ItemStatus.DONE] - self.outcomes.saved_before
        causes = [item.error.refusal if isinstance(item.error, NotSent) else item.error for item in self.not_done]
        errors = [error for error in causes if not isinstance(error, InvalidInput)]
        return bool(errors) and not done and all(isinstance(error, AuthenticationError) for error in errors)

    async def run(self, items: AsyncIterator[BatchItem], workers: int) -> None:
        """Process all items with so many workers; return early if `stop` is set. Raises only what is a bug."""
        self._workers = [asyncio.create_task(self._work(items)) for _ in range(workers)]
        if await wait_for_all(self._workers, self.stop):
            return
        for task in self._cancellable_tasks:
            task.cancel()

    async def drain(self) -> None:
        """Wait until all workers have ended; the client must be closed."""
        self._client_closed.set()
        await asyncio.gather(*self._workers)

    async def abort(self) -> None:
        """Classify and count the active items as they are now, and cancel the workers."""
        self._aborted = True
        active, unsent = list(self._active), [False] * len(self._active)
        try:
            unsent = await asyncio.gather(*map(self._is_known_unsent, active))
        finally:  # also if even this is interrupted
            for item, is_unsent in zip(active, unsent, strict=True):
                if item in self._active:  # else it has ended meanwhile
                    item.status = ItemStatus.UNSENT if is_unsent else item.interrupted_status
                self._count(item)
            for worker in self._workers:
                worker.cancel()

    async def _is_known_unsent(self, item: BatchItem) -> bool:
        """Whether the store says, in time, that nothing was sent for an item that seems to be under way."""
        if item.handle is not None or not item.start_called:
            return False
        try:
            async with asyncio.timeout(_STORE_SECONDS):
                return await self.action.is_unsent(item)
        except (WatermarkError, TimeoutError):
            return False

    async def _work(self, items: AsyncIterator[BatchItem]) -> None:
        """Process items until there are no more or `stop` is set."""
        while (item := await self._pull(items)) is not None:
            row = self.display.start(item.source, self.title)
            self._active.add(item)
            item.error, item.started_at = None, time.monotonic()
            try:
                await self._process(item, row)
                item.status = ItemStatus.DONE
            except (WatermarkError, OSError, ValueError) as error:
                item.error = await self._error_of(error)
                item.status = self._status_for(item, item.error)
            except asyncio.CancelledError:
                self._absorb_cancel()
                await self._client_closed.wait()
                item.status = item.interrupted_status
            self._finish(item, row)

    async def _process(self, item: BatchItem, row: ProgressRow) -> None:
        row.show("reading")
        await self._cancellable(self.action.name(item))
        if item.output is not None:
            item.saved_before = True
            return
        if item.plan is Plan.OPEN and await self._copy_saved(item):
            return
        row.show("submitting")
        item.start_called = True
        item.handle = await self.action.start(item, row)
        result = await self._wait_for_result(item, item.handle, row)
        item.charge = result.charged
        if item.charge is not None and item.cost_group and not item.ended_before:
            with suppress(StoreError):  # it only serves estimates; a disk that is full is said of the result
                await self.outputs.add_charge(item.cost_group, item.charge.credits)
        row.show("saving")
        saving = self._save(item, result, row)
        # without a URL the bytes are in memory only, and no other call returns them
        await (saving if result.url is None else self._cancellable(saving))

    async def _copy_saved(self, item: BatchItem) -> bool:
        """Whether the folder has the result for another input of the same content, so that it was copied."""
        for source, target in await self.action.destinations(item):
            item.output = await self.outputs.copy_saved(item.key, source, target)
        return item.output is not None

    async def _save(self, item: BatchItem, result: Result, row: ProgressRow) -> None:
        """Save the result for each of its inputs, unless another run of the same command has done that meanwhile."""
        for source, target in await self.action.destinations(item):
            saved = await self.outputs.find_saved(result.key, source)
            if saved is None:
                saved = await self.outputs.save(result, source, target, progress=row.on_download)
                item.remark = remark_on(result)
            item.output = saved
        result.acknowledge()

    async def _wait_for_result(self, item: BatchItem, handle: JobHandle, row: ProgressRow) -> Result:
        try:
            # a synchronous API has answered with the result: it is taken also after `stop`
            return await handle if handle.done() else await self._cancellable(show_progress(handle, row))
        except _UPLOAD_REFUSALS as error:
            if error.token is None:  # else the provider has the job, and only refuses to tell its state
                item.handle = None
                await self.gate.note_error(error)
            raise

    async def _pull(self, items: AsyncIterator[BatchItem]) -> BatchItem | None:
        """Return the next item; None if there is none or `stop` is set."""
        try:
            return await self._cancellable(self._next_item(items))
        except asyncio.CancelledError:
            self._absorb_cancel()
            return None

    async def _next_item(self, items: AsyncIterator[BatchItem]) -> BatchItem | None:
        async with self._pull_lock:
            if (item := await anext(items, None)) is not None:
                self._pulled += 1
                item.number = self._pulled
            return item

    async def _cancellable(self, step: Coroutine[Any, Any, T]) -> T:
        """Run a step that `stop` may cut; raises CancelledError if `stop` is set already."""
        task = asyncio.current_task()
        if self.stop.is_set() or task is None:
            step.close()  # else Python warns of a coroutine that was never awaited
            raise asyncio.CancelledError
        self._cancellable_tasks.add(task)
        try:
            return await step
        finally:
            self._cancellable_tasks.discard(task)

    def _absorb_cancel(self) -> None:
        """Undo a cancellation that is due to `stop`; raise CancelledError again for any other."""
        if not self.stop.is_set():
            raise asyncio.CancelledError
        if task := asyncio.current_task():
            task.uncancel()

    async def _error_of(self, error: Exception) -> Exception:
        """Return the error of an item, or PaidAndLost for a failure that the user has noted, not the provider."""
        if not isinstance(error, JobFailed) or error.key is None:
            return error
        with suppress(StoreError):
            record = await self.gate.store.get(error.key)
            return error if record is None or not settled_paid(record) else PaidAndLost()
        return error

    def _status_for(self, item: BatchItem, error: Exception) -> ItemStatus:
        """Return the status for an error: FAILED if it is the item's own, else one for a closed client."""
        for kind, status in _STATUS_BY_ERROR.items():
            if isinstance(error, kind):
                return status
        if isinstance(error, DeadlineExceeded) and error.token is not None:
            return item.interrupted_status
        if not self.stop.is_set() or type(error) not in _CLIENT_CLOSED_ERRORS:
            is_refusal = item.handle is None and isinstance(error, _REFUSALS)
            return ItemStatus.REFUSED if is_refusal else ItemStatus.FAILED
        if item.handle is None:
            # an error with a token comes from a paid request that was not answered in time
            return ItemStatus.UNFINISHED if item.token else ItemStatus.UNSENT
        return item.interrupted_status

    def _finish(self, item: BatchItem, row: ProgressRow) -> None:
        self._active.discard(item)
        if self._aborted:  # counted by abort()
            return
        item.seconds = time.monotonic() - item.started_at
        outcome, line = self._count(item), ""
        try:
            line = self.report(outcome)
        except BrokenPipeError:
            self.display.lose_output(sys.stdout)
        self.display.finish(row, line, "" if outcome.status is ItemStatus.DONE else COUNT_WORDS[outcome.status])
        if self.display.output_closed:
            self.stop.set()

    def _count(self, item: BatchItem) -> Outcome:
        outcome = self.outcomes.add(Outcome.of(item, self.provider))
        if outcome.status is not ItemStatus.DONE:
            self.not_done.append(item)
        return outcome


async def show_progress(handle: JobHandle, row: ProgressRow) -> Result:
    """Wait for the result, and show each snapshot in the row meanwhile."""
    async for snapshot in handle.updates():
        # during an upload the row is set by its progress callback, which knows the bytes
        if snapshot.status is not Status.UPLOADING:
            row.show(snapshot.status.value, None if snapshot.status.terminal else snapshot.progress)
    return await handle
