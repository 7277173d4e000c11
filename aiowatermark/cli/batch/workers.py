"""Jobs done a few at a time, each on its own: submitted, watched, brought home; and left in good order at Ctrl-C."""

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
from .output_folder import OutputFolder

T = TypeVar("T")

# what becomes of an item; the last two only after Ctrl-C
DONE, FAILED, UNFINISHED, CALLED_OFF = "done", "failed", "unfinished", "called off"

# what a client's closing makes of jobs and transfers
_OF_CLOSING = {WatermarkError, InvalidInput, TransferFailed}


@define(eq=False)
class BatchItem:
    """One picture or video on its way: what was given, and what has become of it."""

    source: str
    stem: str
    suffix: str
    key: str = ""
    started_before: bool = False
    already_saved: bool = False
    handle: JobHandle | None = None
    output: Path | None = None
    error: Exception | None = None
    status: str = ""
    started: float = field(factory=time.monotonic)
    seconds: float = 0.0

    @property
    def token(self) -> str | None:
        """What resumes the job, if there may be one: what was not sent to its end is none."""
        if self.handle is None:
            return getattr(self.error, "token", None)
        return None if self.unsent else self.handle.token

    @property
    def unsent(self) -> bool:
        """Whether its upload was begun and never whole: nothing was paid."""
        return self.handle is not None and self.handle.snapshot.status is Status.UPLOADING

    @property
    def is_unfinished(self) -> str:
        """What becomes of it when it is left as it is: it goes on at the provider, or was never sent."""
        return UNFINISHED if self.started_before and not self.unsent else CALLED_OFF


class BatchAction(Protocol):
    """What is to be done to each item."""

    @abstractmethod
    async def name(self, item: BatchItem) -> None:
        """Find out the job's key, if it has one already."""

    @abstractmethod
    async def start(self, item: BatchItem, row: ProgressRow) -> JobHandle:
        """Submit the job, or take it up again."""


@define(eq=False)
class WorkerPool:
    """Does items as they come. `tell` hears of each that has ended.

    A failure is its item's own. When `stop` is set nothing more is pulled, waits and downloads are cut short, and
    paid requests on their way are left to the client's closing, which answers them or gives their tokens.
    """

    action: BatchAction
    title: str
    outputs: OutputFolder
    display: ProgressDisplay
    report: Callable[[BatchItem], str]
    stop: asyncio.Event
    counts: Counter[str] = field(factory=Counter, init=False)
    already: int = field(default=0, init=False)
    unfinished: list[BatchItem] = field(factory=list, init=False)
    _cancellable_tasks: set[asyncio.Task[Any]] = field(factory=set, init=False)
    _pulling: asyncio.Lock = field(factory=asyncio.Lock, init=False)
    _busy: set[BatchItem] = field(factory=set, init=False)
    _abandoned: bool = field(default=False, init=False)
    _closed: asyncio.Event = field(factory=asyncio.Event, init=False)
    _workers: list[asyncio.Task[None]] = field(factory=list, init=False)

    async def run(self, items: AsyncIterator[BatchItem], workers: int) -> None:
        """Do all items, or those that end before `stop`; raises what is nobody's fault but ours."""
        self._workers = [asyncio.create_task(self._work(items)) for _ in range(workers)]
        if await wait_for_all(self._workers, self.stop):
            return
        for task in self._cancellable_tasks:
            task.cancel()

    async def drain(self) -> None:
        """Wait for everybody, once the client is closed: what was left to it has been answered by then."""
        self._closed.set()
        await asyncio.gather(*self._workers)

    def abort(self) -> None:
        """Leave at once: what is still on its way, an answer or not, is written down as not finished."""
        self._abandoned = True
        for item in self._busy:
            item.status = item.is_unfinished
            self._count(item)
        for worker in self._workers:
            worker.cancel()

    async def _work(self, items: AsyncIterator[BatchItem]) -> None:
        while (item := await self._pull(items)) is not None:
            row = self.display.start(item.source, self.title)
            self._busy.add(item)
            try:
                await self._process(item, row)
                item.status = DONE
            except (WatermarkError, OSError, ValueError) as error:
                item.error = error
                item.status = self._record_error(item, error)
            except asyncio.CancelledError:
                self._absorb_cancel()
                await self._closed.wait()
                item.status = item.is_unfinished
            self._finish(item, row)

    async def _process(self, item: BatchItem, row: ProgressRow) -> None:
        row.show("reading")
        await self._cancellable(self.action.name(item))
        item.output = await self.outputs.find_saved(item.key)
        if item.output is not None:
            item.already_saved = True
            return
        row.show("submitting")
        item.started_before = True
        item.handle = await self.action.start(item, row)
        result = await self._result(item.handle, row)
        row.show("saving")
        saving = self.outputs.save(result, item.stem, item.suffix, moved=row.on_download)
        # what the submit's own answer brought can be asked for nowhere else: that is saved in any case
        item.output = await (saving if result.url is None else self._cancellable(saving))

    async def _result(self, handle: JobHandle, row: ProgressRow) -> Result:
        return await handle if handle.done() else await self._cancellable(show_progress(handle, row))

    async def _pull(self, items: AsyncIterator[BatchItem]) -> BatchItem | None:
        try:
            return await self._cancellable(self._next(items))
        except asyncio.CancelledError:
            self._absorb_cancel()
            return None

    async def _next(self, items: AsyncIterator[BatchItem]) -> BatchItem | None:
        async with self._pulling:
            return await anext(items, None)

    async def _cancellable(self, doing: Coroutine[Any, Any, T]) -> T:
        """Do what may be left in the middle, because a token or nothing at all is enough to take it up again."""
        task = asyncio.current_task()
        if self.stop.is_set() or task is None:
            doing.close()
            raise asyncio.CancelledError
        self._cancellable_tasks.add(task)
        try:
            return await doing
        finally:
            self._cancellable_tasks.discard(task)

    def _absorb_cancel(self) -> None:
        """Take note of a cancellation that is ours; raises one that is not."""
        if not self.stop.is_set():
            raise asyncio.CancelledError
        if task := asyncio.current_task():
            task.uncancel()

    def _record_error(self, item: BatchItem, error: Exception) -> str:
        """Whether it failed, or its client was closed before it could."""
        if not self.stop.is_set() or type(error) not in _OF_CLOSING:
            return FAILED
        if item.handle is None:
            return UNFINISHED if item.token else CALLED_OFF
        return item.is_unfinished

    def _finish(self, item: BatchItem, row: ProgressRow) -> None:
        self._busy.discard(item)
        if self._abandoned:
            return
        item.seconds = time.monotonic() - item.started
        self._count(item)
        self.display.finish(row, self.report(item), ok=item.status == DONE)

    def _count(self, item: BatchItem) -> None:
        self.counts[item.status] += 1
        self.already += item.already_saved
        if item.status != DONE:
            self.unfinished.append(item)


async def show_progress(handle: JobHandle, row: ProgressRow) -> Result:
    """The result, its row saying meanwhile where the job stands."""
    async for snapshot in handle.updates():
        # while it is uploaded the row knows more than the snapshots
        if snapshot.status is not Status.UPLOADING:
            row.show(snapshot.status.value, None if snapshot.status.terminal else snapshot.progress)
    return await handle
