"""`aiowatermark demo --callbacks`: runs the same jobs by polling and by callback and compares queries and latency.

Four runs (two providers, each by polling and by callback) share one emulator, one callback server and one display, and
do their jobs concurrently. A job's latency is the time from its end at the emulator until `await handle` returns here;
emulator and clients are in one process, so both ends are read from one clock.
"""

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
from rich.table import Table

from ... import CallbackReceiver, CallbackServer, Client, Polling, WatermarkError, provider_class, provider_names
from ...emulator import EmulatedTask, Emulator
from ..batch.workers import show_progress
from ..console.consoles import make_console
from ..console.progress import ProgressDisplay
from ..console.runner import EXIT_OK, EXIT_SOME_FAILED, error_text, wait_for_all
from ..console.texts import say
from .samples import DemoPhoto, make_photos, read_photos

_PROVIDERS = ("gptge", "picwish")
_POLLING, _CALLBACK = "polling", "callback"
_MAX_PHOTOS = 4


@frozen
class Latency:
    """One job: how often the provider was queried, and the seconds from the job's end until the client knew of it."""

    queries: int
    delay: float


@define(eq=False)
class ComparedRun:
    """The jobs of one provider by one method: latencies, errors, and seconds until the last one had ended."""

    method: str
    client: Client
    latencies: list[Latency] = field(factory=list)
    errors: list[WatermarkError] = field(factory=list)
    seconds: float = 0.0

    @property
    def label(self) -> str:
        """The text that its jobs are displayed with."""
        return f"{self.client.provider.display_name}, {self.method}"


@define(eq=False)
class Comparison:
    """The runs to compare, and the emulator and the display that they share."""

    emulator: Emulator
    display: ProgressDisplay
    runs: list[ComparedRun]

    async def run_one(self, run: ComparedRun, number: int, photo: DemoPhoto) -> None:
        """Submit one job, wait for it, and note its latency or its error in the run."""
        row = self.display.start(f"{number:02}  {photo.name}", run.label)
        row.show("submitting")
        line = f"done    {number:02}  {run.label}"
        try:
            handle = await run.client.submit(photo.data)
            await show_progress(handle, row)
            task = next(task for task in self.emulator.tasks if task.task_id == handle.task_id)
            run.latencies.append(Latency(task.queries, max(0.0, time.time() - task.completed_at)))
        except WatermarkError as error:
            run.errors.append(error)
            line = f"failed  {number:02}  {run.label}: {error_text(error)}"
        run.seconds = self.display.seconds
        self.display.finish(row, line, ok=line.startswith("done"))

    async def run_all(self, photos: Sequence[DemoPhoto], jobs: int, stop: asyncio.Event) -> bool:
        """Do `jobs` jobs of each run concurrently; return whether all ended before `stop` was set."""
        tasks = [
            asyncio.create_task(self.run_one(run, number + 1, photos[number % len(photos)]))
            for number in range(jobs)
            for run in self.runs
        ]
        try:
            return await wait_for_all(tasks, stop)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def compare(paths: Sequence[Path], jobs: int, seed: int, stop: asyncio.Event) -> int:
    """Do `jobs` jobs by each method, over both providers, print the comparison and return the exit code."""
    jobs_per_run = max(1, jobs // len(_PROVIDERS))
    photos = await asyncio.to_thread(
        lambda: read_photos(paths) if paths else make_photos(min(jobs_per_run, _MAX_PHOTOS), seed)
    )
    async with Emulator(restore=False, processing=_processing()) as emulator, _callback_server() as receiver:
        total = jobs_per_run * len(_PROVIDERS)
        say(f"{total} jobs by polling and as many by callback, to {receiver.public_url}")
        say(f"Left out: {', '.join(_providers_left_out())}: these have no callbacks.")
        click.echo()
        async with AsyncExitStack() as stack:
            runs = _compared_runs(emulator, receiver)
            for run in runs:
                await stack.enter_async_context(run.client)
            with ProgressDisplay(sys.stdout, jobs_per_run * len(runs)) as display:
                complete = await Comparison(emulator, display, runs).run_all(photos, jobs_per_run, stop)
    if not complete:
        click.echo("Stopped. Nothing was paid: the providers were emulated.")
        return EXIT_SOME_FAILED
    _report(runs)
    return EXIT_SOME_FAILED if any(run.errors for run in runs) else EXIT_OK


@asynccontextmanager
async def _callback_server() -> AsyncIterator[CallbackReceiver]:
    """Serve a receiver on any free port of this machine."""
    # the port is known only when the server listens, and no URL is created before that
    receiver = CallbackReceiver("http://127.0.0.1/wm")
    async with CallbackServer(receiver, port=0) as server:
        receiver.public_url = f"http://127.0.0.1:{server.port}/wm"
        yield receiver


def _compared_runs(emulator: Emulator, receiver: CallbackReceiver) -> list[ComparedRun]:
    """Return the runs of both providers by both methods, with the polling intervals of the real providers."""
    runs = []
    for name in _PROVIDERS:
        # `emulator.provider` polls fast by default, for tests
        polling = fields_dict(provider_class(name))["polling"].default or Polling()
        for method, callbacks in ((_POLLING, None), (_CALLBACK, receiver)):
            client = Client(emulator.provider(name, polling=polling), callbacks=callbacks, drain=0)
            runs.append(ComparedRun(method, client))
    return runs


def _providers_left_out() -> list[str]:
    return [provider_class(name).display_name for name in provider_names() if name not in _PROVIDERS]


def _processing() -> Callable[[EmulatedTask], float]:
    """Return a function from a job to its processing time: 1.5 to 5.3 seconds, as real jobs take, mixed."""
    numbers = count()
    return lambda _: 1.5 + next(numbers) * 7 % 20 * 0.2


def _report(runs: Sequence[ComparedRun]) -> None:
    table = Table(box=None, padding=(0, 2), header_style="dim")
    for heading in ("provider", "method"):
        table.add_column(heading)
    for heading in ("jobs", "queries per job", "latency", "total time"):
        table.add_column(heading, justify="right")
    for run in runs:
        table.add_row(run.client.provider.display_name, run.method, *_cells(run))
    make_console(sys.stdout).print("", table, "", sep="\n")
    for error in (error for run in runs for error in run.errors):
        say(f"failed: {error_text(error)}")
    polled, called_back = (_latencies(runs, method) for method in (_POLLING, _CALLBACK))
    if polled and called_back:
        say(_conclusion(polled, called_back), bold=True)


def _cells(run: ComparedRun) -> tuple[str, ...]:
    jobs = f"{len(run.latencies)}/{len(run.latencies) + len(run.errors)}"
    if not run.latencies:
        return jobs, "-", "-", "-"
    queries = mean(latency.queries for latency in run.latencies)
    delay = median(latency.delay for latency in run.latencies)
    return jobs, f"{queries:.2f}", _format_delay(delay), f"{run.seconds:.1f} s"


def _latencies(runs: Sequence[ComparedRun], method: str) -> list[Latency]:
    return [latency for run in runs if run.method == method for latency in run.latencies]


def _conclusion(polled: Sequence[Latency], called_back: Sequence[Latency]) -> str:
    """Return the difference in one sentence."""
    queries = [mean(latency.queries for latency in latencies) for latencies in (called_back, polled)]
    delays = [_format_delay(median(latency.delay for latency in latencies)) for latencies in (called_back, polled)]
    return (
        f"With callbacks a job is asked for {queries[0]:.2f} times instead of {queries[1]:.2f}, and its end is known "
        f"after {delays[0]} instead of {delays[1]} (medians)."
    )


def _format_delay(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
