"""Command `demo`: puts watermarks on photos and removes them through the five emulated APIs."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from itertools import count
from pathlib import Path

import click
from attrs import define, field

from ... import Client, InvalidInput, Source, WatermarkError, provider_names
from ...emulator import EmulatedTask, Emulator
from ..batch.output_folder import OutputFolder
from ..batch.workers import show_progress
from ..console.progress import ProgressDisplay, ProgressRow
from ..console.runner import EXIT_OK, EXIT_SOME_FAILED, run, wait_for_all
from ..demo.comparison import compare
from ..demo.contact_sheet import Pair, draw_contact_sheet
from ..demo.report import DemoOutcome, report
from ..demo.samples import DemoJob, DemoPlan, make_photos, plan_demo, read_photos
from ..options.providers import no_base_url_option


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
    help="Folder for the images before and after.",
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
@no_base_url_option("the demo starts an emulator of its own and sends nothing elsewhere")
def demo(photos: Sequence[Path], folder: Path, jobs: int, seed: int, callbacks: bool) -> None:  # noqa: FBT001
    """Put a watermark on PHOTOS, or on generated ones, and remove it through all five APIs.

    The APIs are emulated on this machine; everything else is real: the client, HTTP, polling and downloads. The demo
    needs no account and no network, and costs nothing.
    """

    async def work(stop: asyncio.Event) -> int:
        if callbacks:
            return await compare(photos, jobs, seed, stop)
        await asyncio.to_thread(OutputFolder(folder).prepare)
        plan = await asyncio.to_thread(
            lambda: plan_demo(read_photos(photos) if photos else make_photos(jobs, seed), jobs)
        )
        return await _run_demo(plan, folder, stop)

    run(work)


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
        await asyncio.to_thread(outcome.before.write_bytes, job.marked)
        try:
            outcome.after = await self._remove(job, row)
            async with self._measure_lock:  # comparing large photos takes much memory: one at a time
                outcome.psnr = await asyncio.to_thread(_measure, job, outcome.after)
        except (WatermarkError, ValueError) as error:
            outcome.error = error
        self.display.finish(row, outcome.line, ok=outcome.error is None)
        return outcome

    async def _remove(self, job: DemoJob, row: ProgressRow) -> Path:
        """Submit the job, wait for it, and save the result as a user's program would."""
        media: Source = job.marked
        if not job.provider.capabilities.files:  # it accepts URLs only: the emulator serves the image
            media = self.emulator.host(job.marked, f"photo{job.suffix}")
        row.show("submitting")
        handle = await self.clients[job.provider.name].submit(media, mask=job.sent_mask)
        result = await show_progress(handle, row)
        row.show("saving")
        return await result.save(self.folder / f"{job.stem}-after{job.suffix}")


def _measure(job: DemoJob, after: Path) -> tuple[float, float]:
    """Return how close the image is to the original photo, in dB (PSNR), before and after the removal."""
    return job.psnr_of(job.marked), job.psnr_of(after.read_bytes())


def _write_contact_sheet(folder: Path, outcomes: Sequence[DemoOutcome]) -> Path | None:
    """Write one image that shows the first successful job of each provider; None if there is no such job."""
    # reversed: the first job of a provider overwrites its later ones
    shown = {outcome.job.provider.name: outcome for outcome in reversed(outcomes) if outcome.after is not None}
    if not shown:
        return None
    path = folder / "overview.png"
    pairs = [_make_pair(outcome, outcome.after) for _, outcome in sorted(shown.items()) if outcome.after is not None]
    path.write_bytes(draw_contact_sheet(pairs))
    return path


def _make_pair(outcome: DemoOutcome, after: Path) -> Pair:
    title, method = outcome.job.provider.display_name, "with a mask" if outcome.job.sent_mask else "mark found"
    marked, clean = outcome.psnr
    captions = (f"{title}: marked, {marked:.0f} dB", f"{method}, {clean:.0f} dB")
    return Pair(outcome.job.marked, after.read_bytes(), captions)


async def _run_demo(plan: DemoPlan, folder: Path, stop: asyncio.Event) -> int:
    for note in plan.notes:
        click.echo(f"Note: {note}.", err=True)
    if not plan.assignments:
        raise InvalidInput("no provider accepts these photos: the notes above say why")
    async with Emulator(mark=plan.mark, processing=_processing()) as emulator:
        click.echo(f"{len(plan.assignments)} jobs, five APIs emulated at {emulator.base_url}\n")
        with ProgressDisplay(sys.stdout, len(plan.assignments)) as display:
            outcomes = await _run_jobs(DemoRun(emulator, folder, display), plan, stop)
        if stop.is_set():
            click.echo("Stopped. Nothing was paid: the providers were emulated.")
            return EXIT_SOME_FAILED
        overview = await asyncio.to_thread(_write_contact_sheet, folder, outcomes)
        report(outcomes, emulator.charged, folder, overview, display.seconds)
    return EXIT_OK if all(outcome.error is None for outcome in outcomes) else EXIT_SOME_FAILED


async def _run_jobs(demo_run: DemoRun, plan: DemoPlan, stop: asyncio.Event) -> list[DemoOutcome]:
    """Run all jobs concurrently and return their outcomes in order; an empty list if stopped."""
    async with AsyncExitStack() as stack:
        for name in provider_names():
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
