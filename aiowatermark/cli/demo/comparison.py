"""`aiowatermark demo --callbacks`: runs the same jobs by polling and by callback and compares queries and latency.

Four runs (two providers, each by polling and by callback) share one emulator, one callback server and one display, and
do their jobs concurrently. A job's latency is the time from its end at the emulator until `await handle` returns here;
emulator and clients are in one process, so both ends are read from one clock.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count
from pathlib import Path
from statistics import mean, median

import click
from attrs import define, field, fields_dict, frozen
from rich.table import Table

from ... import CallbackReceiver, CallbackServer, Client, Polling, WatermarkError, provider_class
from ...emulator import EmulatedTask, Emulator
from ...providers import built_in_names
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
    jobs: int
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
        self.display.finish(row, line, "" if line.startswith("done") else "failed")

    async def run_all(self, photos: Sequence[DemoPhoto], stop: asyncio.Event) -> bool:
        """Do the jobs of all runs concurrently; return whether all ended before `stop` was set."""
        tasks = [
            asyncio.create_task(self.run_one(run, number + 1, photos[number % len(photos)]))
            for number in range(max(run.jobs for run in self.runs))
            for run in self.runs
            if number < run.jobs
        ]
        try:
            return await wait_for_all(tasks, stop)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def compare(paths: Sequence[Path], jobs: int, seed: int, stop: asyncio.Event) -> int:
    """Do `jobs` jobs by each method, over both providers, print the comparison and return the exit code."""
    most = -(-jobs // len(_PROVIDERS))  # jobs of one run
    photos = await asyncio.to_thread(lambda: read_photos(paths) if paths else make_photos(min(most, _MAX_PHOTOS), seed))
    async with Emulator(restore=False, processing=_processing()) as emulator, _callback_server() as receiver:
        say(f"{jobs} job{'s' * (jobs != 1)} by polling and as many by callback, to {receiver.public_url}")
        for note in _left_out(len(photos) - most, len(photos), jobs):
            say(f"Left out: {note}.")
        click.echo()
        async with AsyncExitStack() as stack:
            runs = _compared_runs(emulator, receiver, jobs)
            for run in runs:
                await stack.enter_async_context(run.client)
            with ProgressDisplay(sys.stdout, sum(run.jobs for run in runs)) as display:
                complete = await Comparison(emulator, display, runs).run_all(photos, stop)
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


def _compared_runs(emulator: Emulator, receiver: CallbackReceiver, jobs: int) -> list[ComparedRun]:
    """Return the runs of the providers by both methods, with the polling intervals of the real providers.

    The jobs are spread over the providers in turn.
    """
    runs = []
    for index, name in enumerate(_PROVIDERS[:jobs]):
        # `emulator.provider` polls fast by default, for tests
        polling = fields_dict(provider_class(name))["polling"].default or Polling()
        for method, callbacks in ((_POLLING, None), (_CALLBACK, receiver)):
            client = Client(emulator.provider(name, polling=polling), callbacks=callbacks, drain=0)
            runs.append(ComparedRun(method, client, len(range(index, jobs, len(_PROVIDERS)))))
    return runs


def _left_out(unused: int, photos: int, jobs: int) -> Iterator[str]:
    """Yield what is not compared, and why; `unused` of so many photos are in no job."""
    without_callbacks = [provider_class(name).display_name for name in built_in_names() if name not in _PROVIDERS]
    yield f"{', '.join(without_callbacks)}: these have no callbacks"
    for name in _PROVIDERS[jobs:]:
        yield f"{provider_class(name).display_name}: no job; --jobs {len(_PROVIDERS)} or more gives each provider one"
    if unused > 0:
        yield f"{unused} of {photos} photos are in no job: give more --jobs"


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
