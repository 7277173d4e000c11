"""Command `demo`: puts watermarks on photos and removes them through the five emulated APIs."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from itertools import count
from pathlib import Path

import click
from attrs import define, field
from click.core import ParameterSource

from ... import Client, InvalidInput, Source, WatermarkError
from ...emulator import EmulatedTask, Emulator
from ...providers import built_in_names
from ..batch.workers import show_progress
from ..console.progress import ProgressDisplay, ProgressRow
from ..console.runner import EXIT_OK, EXIT_SOME_FAILED, run, wait_for_all
from ..demo.comparison import compare
from ..demo.folders import create_run_folder
from ..demo.samples import DemoJob, DemoPlan, make_photos, plan_demo, read_photos
from ..demo.summary import PSNR, DemoOutcome, print_summary
from ..options.providers import no_base_url_option
from ..options.report import HtmlReport, report_option
from ..report.page import ReportText, write_report
from ..report.rows import ReportRows


def _processing() -> Callable[[EmulatedTask], float]:
    """Return a function for the seconds that each job takes: 0.4 to 1.9, so that jobs finish one after another."""
    numbers = count()
    # 7 and 20 have no common factor: twenty jobs in a row take twenty different times
    return lambda _: 0.4 + next(numbers) * 7 % 20 * 0.08


@click.command()
@click.argument("photos", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    "folder",
    default=Path("aiowatermark-demo"),
    show_default=True,
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Folder for the images before and after, and the report. If it is not empty, DIR-2 and so on is used.",
)
@click.option(
    "--jobs",
    default=20,
    show_default=True,
    type=click.IntRange(1, 500),
    help="Number of jobs, spread over five providers.",
)
@click.option(
    "--seed",
    default=1,
    show_default=True,
    type=click.IntRange(0),
    help="Seed for the generated photos: another number gives others.",
)
@click.option("--callbacks", is_flag=True, help="Compare polling with callbacks instead: the same jobs both ways.")
@report_option
@no_base_url_option("the demo starts an emulator of its own and sends nothing elsewhere")
def demo(  # noqa: PLR0917 - click calls it by name
    photos: Sequence[Path],
    folder: Path,
    jobs: int,
    seed: int,
    callbacks: bool,  # noqa: FBT001 - click's way
    report: HtmlReport | None,
) -> None:
    """Put a watermark on PHOTOS, or on generated ones, and remove it through all five APIs.

    The APIs are emulated on this machine; everything else is real: the client, HTTP, polling and downloads. The demo
    needs no account and no network, and costs nothing. At its end it says what was restored, and writes a page with
    the images before and after: index.html in the folder, or the --report.

    \b
      aiowatermark demo photo.jpg -o shown
    """  # noqa: D301 - \b keeps click from rewrapping the example
    if callbacks and (report is not None or _is_given("folder")):
        raise click.UsageError("--callbacks compares queries and times and keeps no images: -o, --report have no use")

    async def work(stop: asyncio.Event) -> int:
        if callbacks:
            return await compare(photos, jobs, seed, stop)
        plan = await asyncio.to_thread(
            lambda: plan_demo(read_photos(photos) if photos else make_photos(jobs, seed), jobs)
        )
        return await _run_demo(plan, folder, report, stop)

    run(work)


def _is_given(parameter: str) -> bool:
    return click.get_current_context().get_parameter_source(parameter) is ParameterSource.COMMANDLINE


@define(eq=False)
class DemoRun:
    """One run of the demo: the emulator, a client for each provider, the output folder and the display."""

    emulator: Emulator
    folder: Path
    display: ProgressDisplay
    clients: dict[str, Client] = field(factory=dict)
    _measure_lock: asyncio.Lock = field(factory=asyncio.Lock, init=False)

    async def perform(self, job: DemoJob) -> DemoOutcome:
        """Run one job and save its images before and after; an error becomes part of the outcome."""
        row = self.display.start(f"{job.number:02}  {job.photo.name}", job.provider.display_name)
        outcome = DemoOutcome(job, self.folder / f"{job.stem}-before{job.suffix}")
        started = time.monotonic()
        await asyncio.to_thread(outcome.before.write_bytes, job.marked)
        try:
            outcome.after = await self._remove(outcome, row)
            outcome.seconds = time.monotonic() - started
            async with self._measure_lock:  # comparing large photos takes much memory: one at a time
                outcome.psnr = await asyncio.to_thread(_measure, job, outcome.after)
        except (WatermarkError, ValueError) as error:
            outcome.error = error
        self.display.finish(row, outcome.line, "" if outcome.restored else "failed")
        return outcome

    async def _remove(self, outcome: DemoOutcome, row: ProgressRow) -> Path:
        """Submit the job, wait for it, and save the result as a user's program would; note the charge."""
        job = outcome.job
        media: Source = job.marked
        if not job.provider.capabilities.files:  # it accepts URLs only: the emulator serves the image
            media = self.emulator.host(job.marked, f"photo{job.suffix}")
        row.show("submitting")
        handle = await self.clients[job.provider.name].submit(media, mask=job.sent_mask)
        try:
            result = await show_progress(handle, row)
        finally:
            tasks = (task for task in self.emulator.tasks if task.task_id == handle.task_id)
            outcome.charge = next((task.charges * task.price for task in tasks), None)
        row.show("saving")
        return await result.save(self.folder / f"{job.stem}-after{job.suffix}")


def _measure(job: DemoJob, after: Path) -> tuple[float, float]:
    """Return how close the image is to the original photo, in dB (PSNR), before and after the removal."""
    return job.psnr_of(job.marked), job.psnr_of(after.read_bytes())


async def _run_demo(plan: DemoPlan, folder: Path, report: HtmlReport | None, stop: asyncio.Event) -> int:
    for note in plan.notes:
        click.echo(f"Left out: {note}.", err=True)
    if not plan.assignments:
        raise InvalidInput("no provider accepts these photos: the notes above say why")
    if report is not None:
        await report.check()
    folder = await asyncio.to_thread(create_run_folder, folder)
    page = folder / "index.html" if report is None else report.path
    async with Emulator(mark=plan.mark, processing=_processing()) as emulator:
        click.echo(f"{_counts(plan)} emulated at {emulator.base_url}\n")
        with ProgressDisplay(sys.stdout, len(plan.assignments)) as display:
            outcomes = await _run_jobs(DemoRun(emulator, folder, display), plan, stop)
        if stop.is_set():
            click.echo("Stopped. Nothing was paid: the providers were emulated.")
            return EXIT_SOME_FAILED
        await asyncio.to_thread(_write_report, page, outcomes, plan.notes, display.seconds)
        print_summary(outcomes, emulator.charged, folder, page, display.seconds)
    return EXIT_OK if all(outcome.error is None for outcome in outcomes) else EXIT_SOME_FAILED


def _counts(plan: DemoPlan) -> str:
    """Return how many jobs there are, and at how many of the APIs."""
    jobs, apis = len(plan.assignments), len({provider.name for _, provider, _ in plan.assignments})
    return f"{jobs} job{'s' * (jobs != 1)}, {'' if apis == len(built_in_names()) else f'{apis} of '}five APIs"


def _write_report(path: Path, outcomes: Sequence[DemoOutcome], notes: Sequence[str], seconds: float) -> None:
    remarks = [PSNR, *(f"Left out: {note}." for note in notes)]
    rows = ReportRows.of(outcome.row for outcome in outcomes)
    write_report(path, rows, ReportText("aiowatermark demo", seconds, remarks))


async def _run_jobs(demo_run: DemoRun, plan: DemoPlan, stop: asyncio.Event) -> list[DemoOutcome]:
    """Run all jobs concurrently and return their outcomes in order; an empty list if stopped."""
    async with AsyncExitStack() as stack:
        for name in built_in_names():
            client = Client(demo_run.emulator.provider(name), drain=0)
            demo_run.clients[name] = await stack.enter_async_context(client)
        tasks, jobs = [], plan.jobs()
        # jobs are made one by one in a thread, and the first ones run meanwhile
        while (job := await asyncio.to_thread(next, jobs, None)) is not None and not stop.is_set():
            tasks.append(asyncio.create_task(demo_run.perform(job)))
        try:
            return [task.result() for task in tasks] if await wait_for_all(tasks, stop) else []
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
