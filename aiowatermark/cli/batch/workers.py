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
from ..console.progress import Board, Row
from ..console.runner import all_ended
from .output_folder import Outputs

T = TypeVar("T")

# what becomes of an item; the last two only after Ctrl-C
DONE, FAILED, UNFINISHED, CALLED_OFF = "done", "failed", "unfinished", "called off"

# what a client's closing makes of jobs and transfers
_OF_CLOSING = {WatermarkError, InvalidInput, TransferFailed}


@define(eq=False)
class Item:
    """One picture or video on its way: what was given, and what has become of it."""

    source: str
    stem: str
    suffix: str
    key: str = ""
    begun: bool = False
    already: bool = False
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
    def left(self) -> str:
        """What becomes of it when it is left as it is: it goes on at the provider, or was never sent."""
        return UNFINISHED if self.begun and not self.unsent else CALLED_OFF


class Task(Protocol):
    """What is to be done to each item."""

    @abstractmethod
    async def name(self, item: Item) -> None:
        """Find out the job's key, if it has one already."""

    @abstractmethod
    async def begin(self, item: Item, row: Row) -> JobHandle:
        """Submit the job, or take it up again."""


@define(eq=False)
class Crew:
    """Does items as they come. `tell` hears of each that has ended.

    A failure is its item's own. When `stop` is set nothing more is pulled, waits and downloads are cut short, and
    paid requests on their way are left to the client's closing, which answers them or gives their tokens.
    """

    task: Task
    title: str
    outputs: Outputs
    board: Board
    tell: Callable[[Item], str]
    stop: asyncio.Event
    counts: Counter[str] = field(factory=Counter, init=False)
    already: int = field(default=0, init=False)
    unhappy: list[Item] = field(factory=list, init=False)
    _cuttable: set[asyncio.Task[Any]] = field(factory=set, init=False)
    _pulling: asyncio.Lock = field(factory=asyncio.Lock, init=False)
    _busy: set[Item] = field(factory=set, init=False)
    _abandoned: bool = field(default=False, init=False)
    _closed: asyncio.Event = field(factory=asyncio.Event, init=False)
    _workers: list[asyncio.Task[None]] = field(factory=list, init=False)

    async def work(self, items: AsyncIterator[Item], workers: int) -> None:
        """Do all items, or those that end before `stop`; raises what is nobody's fault but ours."""
        self._workers = [asyncio.create_task(self._work(items)) for _ in range(workers)]
        if await all_ended(self._workers, self.stop):
            return
        for task in self._cuttable:
            task.cancel()

    async def rest(self) -> None:
        """Wait for everybody, once the client is closed: what was left to it has been answered by then."""
        self._closed.set()
        await asyncio.gather(*self._workers)

    def abandon(self) -> None:
        """Leave at once: what is still on its way, an answer or not, is written down as not finished."""
        self._abandoned = True
        for item in self._busy:
            item.status = item.left
            self._count(item)
        for worker in self._workers:
            worker.cancel()

    async def _work(self, items: AsyncIterator[Item]) -> None:
        while (item := await self._pull(items)) is not None:
            row = self.board.begin(item.source, self.title)
            self._busy.add(item)
            try:
                await self._do(item, row)
                item.status = DONE
            except (WatermarkError, OSError, ValueError) as error:
                item.error = error
                item.status = self._end_of(item, error)
            except asyncio.CancelledError:
                self._cut()
                await self._closed.wait()
                item.status = item.left
            self._ended(item, row)

    async def _do(self, item: Item, row: Row) -> None:
        row.shows("reading")
        await self._may_be_cut(self.task.name(item))
        item.output = await self.outputs.kept(item.key)
        if item.output is not None:
            item.already = True
            return
        row.shows("submitting")
        item.begun = True
        item.handle = await self.task.begin(item, row)
        result = await self._result(item.handle, row)
        row.shows("saving")
        saving = self.outputs.save(result, item.stem, item.suffix, moved=row.fetched)
        # what the submit's own answer brought can be asked for nowhere else: that is saved in any case
        item.output = await (saving if result.url is None else self._may_be_cut(saving))

    async def _result(self, handle: JobHandle, row: Row) -> Result:
        return await handle if handle.done() else await self._may_be_cut(watched(handle, row))

    async def _pull(self, items: AsyncIterator[Item]) -> Item | None:
        try:
            return await self._may_be_cut(self._next(items))
        except asyncio.CancelledError:
            self._cut()
            return None

    async def _next(self, items: AsyncIterator[Item]) -> Item | None:
        async with self._pulling:
            return await anext(items, None)

    async def _may_be_cut(self, doing: Coroutine[Any, Any, T]) -> T:
        """Do what may be left in the middle, because a token or nothing at all is enough to take it up again."""
        task = asyncio.current_task()
        if self.stop.is_set() or task is None:
            doing.close()
            raise asyncio.CancelledError
        self._cuttable.add(task)
        try:
            return await doing
        finally:
            self._cuttable.discard(task)

    def _cut(self) -> None:
        """Take note of a cancellation that is ours; raises one that is not."""
        if not self.stop.is_set():
            raise asyncio.CancelledError
        if task := asyncio.current_task():
            task.uncancel()

    def _end_of(self, item: Item, error: Exception) -> str:
        """Whether it failed, or its client was closed before it could."""
        if not self.stop.is_set() or type(error) not in _OF_CLOSING:
            return FAILED
        if item.handle is None:
            return UNFINISHED if item.token else CALLED_OFF
        return item.left

    def _ended(self, item: Item, row: Row) -> None:
        self._busy.discard(item)
        if self._abandoned:
            return
        item.seconds = time.monotonic() - item.started
        self._count(item)
        self.board.end(row, self.tell(item), ok=item.status == DONE)

    def _count(self, item: Item) -> None:
        self.counts[item.status] += 1
        self.already += item.already
        if item.status != DONE:
            self.unhappy.append(item)


async def watched(handle: JobHandle, row: Row) -> Result:
    """The result, its row saying meanwhile where the job stands."""
    async for snapshot in handle.updates():
        # while it is uploaded the row knows more than the snapshots
        if snapshot.status is not Status.UPLOADING:
            row.shows(snapshot.status.value, None if snapshot.status.terminal else snapshot.progress)
    return await handle
