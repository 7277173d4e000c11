"""Worker pool: runs the jobs of a batch concurrently, and on Ctrl-C stops without losing a paid job.

Each worker takes one item after another through these steps:

    step     what it does                   if `stop` is set meanwhile
    pull     next item, maybe from stdin    cancelled; the worker ends
    name     job key; may hash a file       cancelled -> CANCELLED
    start    submit, or resume              not cancelled: the closing of the client ends it, with a handle or an error
    wait     until the job has ended        cancelled -> UNFINISHED (CANCELLED if its upload is incomplete)
    save     download the result            cancelled -> UNFINISHED; a result without a URL is saved -> DONE, because
                                            its bytes came with the paid answer and no other call returns them

    DONE         the result is saved, or was saved by an earlier run
    FAILED       the item has an error of its own; the other items are not affected
    UNFINISHED   stopped; the job is at the provider, or may be: its token is reported if there is one
    CANCELLED    stopped; never sent, or its upload is incomplete: nothing was paid

Cancellation is control flow here. `_cancellable` wraps a step that may be cut and lists its task meanwhile; `run`
cancels the listed tasks when `stop` is set, and a worker that comes to such a step later raises CancelledError itself.
`_absorb_cancel` tells the reasons apart: with `stop` set, the worker undoes the cancellation (Task.uncancel) and goes
on to classify its item; any other cancellation is raised again.

Stopping, in order: `run` returns; the caller closes the client, which stops unsent submissions and waits for answers to
paid requests; `drain` lets the workers classify their items. Not earlier, because an upload may be completed, and so
paid for, while the client closes: only then is a job's snapshot final. After a second Ctrl-C or an unexpected error
`abort` replaces `drain` and classifies the active items by what is known: one whose `start` has not returned is
UNFINISHED without a token, since it may have been paid.

Invariants: each item that reached a worker is counted exactly once, by `_finish` or `abort`; only `abort` cancels a
`start`. All runs on one event loop, so counts need no lock; the pull has one because two tasks must not advance an
async generator at the same time. Exceptions other than WatermarkError, OSError and ValueError are bugs and end `run`.
"""

from __future__ import annotations

import asyncio
import time
from abc import abstractmethod
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any, Protocol, TypeVar

from attrs import define, field

from ... import InvalidInput, JobHandle, Result, Status, TransferFailed, WatermarkError
from ..console.progress import ProgressDisplay, ProgressRow
from ..console.runner import wait_for_all
from .output_folder import OutputFolder, remark_on

T = TypeVar("T")

# the values are printed by --json, so they are part of the command line's interface
DONE, FAILED, UNFINISHED, CANCELLED = "done", "failed", "unfinished", "called off"

# Raised, as exactly these classes, by calls that the closing of the client has ended: a wait or a submission
# (WatermarkError), a call after the closing (InvalidInput), a download (TransferFailed)
_CLIENT_CLOSED_ERRORS = {WatermarkError, InvalidInput, TransferFailed}


@define(eq=False)
class BatchItem:
    """One input of a batch, and how far it has come; `status` is empty until it has ended."""

    source: str
    stem: str
    suffix: str
    key: str = ""
    start_called: bool = False
    already_saved: bool = False
    handle: JobHandle | None = None
    output: Path | None = None
    error: Exception | None = None
    remark: str = ""
    status: str = ""
    started_at: float = field(factory=time.monotonic)
    seconds: float = 0.0

    @property
    def token(self) -> str | None:
        """The token that resumes the job; None if there is no job, or its upload is incomplete."""
        if self.handle is None:
            return getattr(self.error, "token", None)
        return None if self.unsent else self.handle.token

    @property
    def unsent(self) -> bool:
        """Whether its upload was started and is incomplete, so that nothing was paid."""
        return self.handle is not None and self.handle.snapshot.status is Status.UPLOADING

    @property
    def interrupted_status(self) -> str:
        """Its status if it is left as it is now: UNFINISHED if it is or may be at the provider, else CANCELLED."""
        return UNFINISHED if self.start_called and not self.unsent else CANCELLED


class BatchAction(Protocol):
    """What a command does with each item: `remove` submits it, `resume` resumes its job."""

    @abstractmethod
    async def name(self, item: BatchItem) -> None:
        """Set the item's key if it is known before the start; sends nothing, may be cancelled."""

    @abstractmethod
    async def start(self, item: BatchItem, row: ProgressRow) -> JobHandle:
        """Submit the job, or resume it; may cost money, is cancelled only by `abort`."""


@define(eq=False)
class WorkerPool:
    """Runs a BatchAction for each item; `report` is called with each item that has ended and returns its line.

    `title` is the provider's name on the display. When `stop` is set, no further item is pulled.
    """

    action: BatchAction
    title: str
    outputs: OutputFolder
    display: ProgressDisplay
    report: Callable[[BatchItem], str]
    stop: asyncio.Event
    counts: Counter[str] = field(factory=Counter, init=False)
    already_saved: int = field(default=0, init=False)
    not_done: list[BatchItem] = field(factory=list, init=False)
    _cancellable_tasks: set[asyncio.Task[Any]] = field(factory=set, init=False)
    _pull_lock: asyncio.Lock = field(factory=asyncio.Lock, init=False)
    _active: set[BatchItem] = field(factory=set, init=False)
    _aborted: bool = field(default=False, init=False)
    _client_closed: asyncio.Event = field(factory=asyncio.Event, init=False)
    _workers: list[asyncio.Task[None]] = field(factory=list, init=False)

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

    def abort(self) -> None:
        """Classify and count the active items as they are now, and cancel the workers."""
        self._aborted = True
        for item in self._active:
            item.status = item.interrupted_status
            self._count(item)
        for worker in self._workers:
            worker.cancel()

    async def _work(self, items: AsyncIterator[BatchItem]) -> None:
        """Process items until there are no more or `stop` is set."""
        while (item := await self._pull(items)) is not None:
            row = self.display.start(item.source, self.title)
            self._active.add(item)
            try:
                await self._process(item, row)
                item.status = DONE
            except (WatermarkError, OSError, ValueError) as error:
                item.error = error
                item.status = self._status_for(item, error)
            except asyncio.CancelledError:
                self._absorb_cancel()
                await self._client_closed.wait()
                item.status = item.interrupted_status
            self._finish(item, row)

    async def _process(self, item: BatchItem, row: ProgressRow) -> None:
        row.show("reading")
        await self._cancellable(self.action.name(item))
        item.output = await self.outputs.find_saved(item.key)
        if item.output is not None:
            item.already_saved = True
            return
        row.show("submitting")
        item.start_called = True
        item.handle = await self.action.start(item, row)
        result = await self._wait_for_result(item.handle, row)
        row.show("saving")
        saving = self.outputs.save(result, item.stem, item.suffix, progress=row.on_download)
        # without a URL the bytes are in memory only, and no other call returns them
        item.output = await (saving if result.url is None else self._cancellable(saving))
        item.remark = remark_on(result)

    async def _wait_for_result(self, handle: JobHandle, row: ProgressRow) -> Result:
        # a synchronous API has answered with the result: it is taken also after `stop`
        return await handle if handle.done() else await self._cancellable(show_progress(handle, row))

    async def _pull(self, items: AsyncIterator[BatchItem]) -> BatchItem | None:
        """Return the next item; None if there is none or `stop` is set."""
        try:
            return await self._cancellable(self._next_item(items))
        except asyncio.CancelledError:
            self._absorb_cancel()
            return None

    async def _next_item(self, items: AsyncIterator[BatchItem]) -> BatchItem | None:
        async with self._pull_lock:
            return await anext(items, None)

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

    def _status_for(self, item: BatchItem, error: Exception) -> str:
        """Return the status for an error: FAILED if it is the item's own, else one for a closed client."""
        if not self.stop.is_set() or type(error) not in _CLIENT_CLOSED_ERRORS:
            return FAILED
        if item.handle is None:
            # an error with a token comes from a paid request that was not answered in time
            return UNFINISHED if item.token else CANCELLED
        return item.interrupted_status

    def _finish(self, item: BatchItem, row: ProgressRow) -> None:
        self._active.discard(item)
        if self._aborted:  # counted by abort()
            return
        item.seconds = time.monotonic() - item.started_at
        self._count(item)
        self.display.finish(row, self.report(item), ok=item.status == DONE)

    def _count(self, item: BatchItem) -> None:
        self.counts[item.status] += 1
        self.already_saved += item.already_saved
        if item.status != DONE:
            self.not_done.append(item)


async def show_progress(handle: JobHandle, row: ProgressRow) -> Result:
    """Wait for the result, and show each snapshot in the row meanwhile."""
    async for snapshot in handle.updates():
        # during an upload the row is set by its progress callback, which knows the bytes
        if snapshot.status is not Status.UPLOADING:
            row.show(snapshot.status.value, None if snapshot.status.terminal else snapshot.progress)
    return await handle
