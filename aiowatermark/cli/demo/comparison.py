"""`aiowatermark demo --callbacks`: the same jobs by polling and by callback, and what each way needed."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count
from pathlib import Path
from statistics import mean, median

import click
from attrs import define, field, fields_dict, frozen
from rich.console import Console
from rich.table import Table

from ... import CallbackReceiver, CallbackServer, Client, Polling, WatermarkError, named
from ...emulator import Emulator, Task
from ..batch.workers import watched
from ..console.progress import Board
from ..console.runner import DONE, SOME_FAILED, all_ended, told
from .samples import Photo, given, made

_PROVIDERS = ("gptge", "picwish")
_POLLING, _CALLBACK = "polling", "callback"
_PHOTOS = 4


@frozen
class Learned:
    """One job: how often it was asked for, and how many seconds lay between its end and our knowing of it."""

    queries: int
    delay: float


@define(eq=False)
class Side:
    """One provider, one way: what its jobs needed, and when the last of them was known to have ended."""

    way: str
    client: Client
    learned: list[Learned] = field(factory=list)
    errors: list[WatermarkError] = field(factory=list)
    seconds: float = 0.0

    @property
    def label(self) -> str:
        """As its jobs are shown."""
        return f"{self.client.provider.title}, {self.way}"


@define(eq=False)
class Contest:
    """The emulator, what shows it, and the sides."""

    emulator: Emulator
    board: Board
    sides: list[Side]

    async def perform(self, side: Side, number: int, photo: Photo) -> None:
        """One job from its submission to the moment when we know of its end."""
        row = self.board.begin(f"{number:02}  {photo.name}", side.label)
        row.shows("submitting")
        line = f"done    {number:02}  {side.label}"
        try:
            handle = await side.client.submit(photo.data)
            await watched(handle, row)
            task = next(task for task in self.emulator.tasks if task.task_id == handle.task_id)
            side.learned.append(Learned(task.queries, max(0.0, time.time() - task.completed_at)))
        except WatermarkError as error:
            side.errors.append(error)
            line = f"failed  {number:02}  {side.label}: {told(error)}"
        side.seconds = self.board.seconds
        self.board.end(row, line, ok=line.startswith("done"))

    async def all(self, photos: Sequence[Photo], jobs: int, stop: asyncio.Event) -> bool:
        """All jobs of all sides at once; whether they ended before `stop`."""
        tasks = [
            asyncio.create_task(self.perform(side, number + 1, photos[number % len(photos)]))
            for number in range(jobs)
            for side in self.sides
        ]
        try:
            return await all_ended(tasks, stop)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def side_by_side(paths: Sequence[Path], jobs: int, seed: int, stop: asyncio.Event) -> int:
    """Do `jobs` jobs each way, over both providers, all at once, and say what the difference is."""
    each = max(1, jobs // len(_PROVIDERS))
    photos = await asyncio.to_thread(lambda: given(paths) if paths else made(min(each, _PHOTOS), seed))
    async with Emulator(restore=False, processing=_processing()) as emulator, _listening() as receiver:
        click.echo(f"{each * len(_PROVIDERS)} jobs by polling and as many by callback, to {receiver.public_url}\n")
        async with AsyncExitStack() as stack:
            sides = _sides(emulator, receiver)
            for side in sides:
                await stack.enter_async_context(side.client)
            with Board(sys.stdout, each * len(sides)) as board:
                ended = await Contest(emulator, board, sides).all(photos, each, stop)
    if not ended:
        click.echo("Stopped. Nothing was paid: the providers were emulated.")
        return SOME_FAILED
    _report(sides)
    return SOME_FAILED if any(side.errors for side in sides) else DONE


@asynccontextmanager
async def _listening() -> AsyncIterator[CallbackReceiver]:
    """A receiver behind a server on any free port of this machine."""
    receiver = CallbackReceiver("http://127.0.0.1/wm")
    async with CallbackServer(receiver, port=0) as server:
        receiver.public_url = f"http://127.0.0.1:{server.port}/wm"
        yield receiver


def _sides(emulator: Emulator, receiver: CallbackReceiver) -> list[Side]:
    """Both providers, both ways; they are polled as often as the real ones."""
    sides = []
    for name in _PROVIDERS:
        polling = fields_dict(named(name))["polling"].default or Polling()
        for way, callbacks in ((_POLLING, None), (_CALLBACK, receiver)):
            sides.append(Side(way, Client(emulator.provider(name, polling=polling), callbacks=callbacks, drain=0)))
    return sides


def _processing() -> Callable[[Task], float]:
    """Seconds a job takes: about as many as real ones, and different."""
    turns = count()
    return lambda _: 1.5 + next(turns) * 7 % 20 * 0.2


def _report(sides: Sequence[Side]) -> None:
    table = Table(box=None, padding=(0, 2), header_style="dim")
    for heading in ("provider", "way"):
        table.add_column(heading)
    for heading in ("jobs", "queries a job", "known after", "all in"):
        table.add_column(heading, justify="right")
    for side in sides:
        table.add_row(side.client.provider.title, side.way, *_cells(side))
    Console(file=sys.stdout, highlight=False).print("", table, "", sep="\n")
    for error in (error for side in sides for error in side.errors):
        click.echo(f"failed: {told(error)}")
    polled, called = (_learned(sides, way) for way in (_POLLING, _CALLBACK))
    if polled and called:
        click.echo(click.style(_meaning(polled, called), bold=True))


def _cells(side: Side) -> tuple[str, ...]:
    count = f"{len(side.learned)}/{len(side.learned) + len(side.errors)}"
    if not side.learned:
        return count, "-", "-", "-"
    queries = mean(one.queries for one in side.learned)
    return count, f"{queries:.2f}", _seconds(median(one.delay for one in side.learned)), f"{side.seconds:.1f} s"


def _learned(sides: Sequence[Side], way: str) -> list[Learned]:
    return [one for side in sides if side.way == way for one in side.learned]


def _meaning(polled: Sequence[Learned], called: Sequence[Learned]) -> str:
    """The difference in a sentence."""
    queries = [mean(one.queries for one in jobs) for jobs in (called, polled)]
    delays = [_seconds(median(one.delay for one in jobs)) for jobs in (called, polled)]
    return (
        f"With callbacks a job is asked for {queries[0]:.2f} times instead of {queries[1]:.2f}, and its end is known "
        f"after {delays[0]} instead of {delays[1]} (medians)."
    )


def _seconds(delay: float) -> str:
    return f"{delay * 1000:.0f} ms" if delay < 1 else f"{delay:.1f} s"
