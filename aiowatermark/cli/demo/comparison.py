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

from ... import CallbackReceiver, CallbackServer, Client, Polling, WatermarkError, provider_class
from ...emulator import EmulatedTask, Emulator
from ..batch.workers import show_progress
from ..console.progress import ProgressDisplay
from ..console.runner import DONE, SOME_FAILED, error_text, wait_for_all
from .samples import DemoPhoto, make_photos, read_photos

_PROVIDERS = ("gptge", "picwish")
_POLLING, _CALLBACK = "polling", "callback"
_PHOTOS = 4


@frozen
class Latency:
    """One job: how often it was asked for, and how many seconds lay between its end and our knowing of it."""

    queries: int
    delay: float


@define(eq=False)
class ComparedRun:
    """One provider, one way: what its jobs needed, and when the last of them was known to have ended."""

    method: str
    client: Client
    latencies: list[Latency] = field(factory=list)
    errors: list[WatermarkError] = field(factory=list)
    seconds: float = 0.0

    @property
    def label(self) -> str:
        """As its jobs are shown."""
        return f"{self.client.provider.display_name}, {self.method}"


@define(eq=False)
class Comparison:
    """The emulator, what shows it, and the sides."""

    emulator: Emulator
    display: ProgressDisplay
    runs: list[ComparedRun]

    async def run_one(self, side: ComparedRun, number: int, photo: DemoPhoto) -> None:
        """One job from its submission to the moment when we know of its end."""
        row = self.display.start(f"{number:02}  {photo.name}", side.label)
        row.show("submitting")
        line = f"done    {number:02}  {side.label}"
        try:
            handle = await side.client.submit(photo.data)
            await show_progress(handle, row)
            task = next(task for task in self.emulator.tasks if task.task_id == handle.task_id)
            side.latencies.append(Latency(task.queries, max(0.0, time.time() - task.completed_at)))
        except WatermarkError as error:
            side.errors.append(error)
            line = f"failed  {number:02}  {side.label}: {error_text(error)}"
        side.seconds = self.display.seconds
        self.display.finish(row, line, ok=line.startswith("done"))

    async def run_all(self, photos: Sequence[DemoPhoto], jobs: int, stop: asyncio.Event) -> bool:
        """All jobs of all sides at once; whether they ended before `stop`."""
        tasks = [
            asyncio.create_task(self.run_one(side, number + 1, photos[number % len(photos)]))
            for number in range(jobs)
            for side in self.runs
        ]
        try:
            return await wait_for_all(tasks, stop)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def compare(paths: Sequence[Path], jobs: int, seed: int, stop: asyncio.Event) -> int:
    """Do `jobs` jobs each way, over both providers, all at once, and say what the difference is."""
    each = max(1, jobs // len(_PROVIDERS))
    photos = await asyncio.to_thread(lambda: read_photos(paths) if paths else make_photos(min(each, _PHOTOS), seed))
    async with Emulator(restore=False, processing=_processing()) as emulator, _callback_server() as receiver:
        click.echo(f"{each * len(_PROVIDERS)} jobs by polling and as many by callback, to {receiver.public_url}\n")
        async with AsyncExitStack() as stack:
            sides = _compared_runs(emulator, receiver)
            for side in sides:
                await stack.enter_async_context(side.client)
            with ProgressDisplay(sys.stdout, each * len(sides)) as board:
                ended = await Comparison(emulator, board, sides).run_all(photos, each, stop)
    if not ended:
        click.echo("Stopped. Nothing was paid: the providers were emulated.")
        return SOME_FAILED
    _report(sides)
    return SOME_FAILED if any(side.errors for side in sides) else DONE


@asynccontextmanager
async def _callback_server() -> AsyncIterator[CallbackReceiver]:
    """A receiver behind a server on any free port of this machine."""
    receiver = CallbackReceiver("http://127.0.0.1/wm")
    async with CallbackServer(receiver, port=0) as server:
        receiver.public_url = f"http://127.0.0.1:{server.port}/wm"
        yield receiver


def _compared_runs(emulator: Emulator, receiver: CallbackReceiver) -> list[ComparedRun]:
    """Both providers, both ways; they are polled as often as the real ones."""
    sides = []
    for name in _PROVIDERS:
        polling = fields_dict(provider_class(name))["polling"].default or Polling()
        for way, callbacks in ((_POLLING, None), (_CALLBACK, receiver)):
            sides.append(
                ComparedRun(way, Client(emulator.provider(name, polling=polling), callbacks=callbacks, drain=0))
            )
    return sides


def _processing() -> Callable[[EmulatedTask], float]:
    """Seconds a job takes: about as many as real ones, and different."""
    turns = count()
    return lambda _: 1.5 + next(turns) * 7 % 20 * 0.2


def _report(sides: Sequence[ComparedRun]) -> None:
    table = Table(box=None, padding=(0, 2), header_style="dim")
    for heading in ("provider", "way"):
        table.add_column(heading)
    for heading in ("jobs", "queries a job", "known after", "all in"):
        table.add_column(heading, justify="right")
    for side in sides:
        table.add_row(side.client.provider.display_name, side.method, *_cells(side))
    Console(file=sys.stdout, highlight=False).print("", table, "", sep="\n")
    for error in (error for side in sides for error in side.errors):
        click.echo(f"failed: {error_text(error)}")
    polled, called = (_learned(sides, way) for way in (_POLLING, _CALLBACK))
    if polled and called:
        click.echo(click.style(_meaning(polled, called), bold=True))


def _cells(side: ComparedRun) -> tuple[str, ...]:
    count = f"{len(side.latencies)}/{len(side.latencies) + len(side.errors)}"
    if not side.latencies:
        return count, "-", "-", "-"
    queries = mean(one.queries for one in side.latencies)
    return count, f"{queries:.2f}", _seconds(median(one.delay for one in side.latencies)), f"{side.seconds:.1f} s"


def _learned(sides: Sequence[ComparedRun], way: str) -> list[Latency]:
    return [one for side in sides if side.method == way for one in side.latencies]


def _meaning(polled: Sequence[Latency], called: Sequence[Latency]) -> str:
    """The difference in a sentence."""
    queries = [mean(one.queries for one in jobs) for jobs in (called, polled)]
    delays = [_seconds(median(one.delay for one in jobs)) for jobs in (called, polled)]
    return (
        f"With callbacks a job is asked for {queries[0]:.2f} times instead of {queries[1]:.2f}, and its end is known "
        f"after {delays[0]} instead of {delays[1]} (medians)."
    )


def _seconds(delay: float) -> str:
    return f"{delay * 1000:.0f} ms" if delay < 1 else f"{delay:.1f} s"
