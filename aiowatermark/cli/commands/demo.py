"""`aiowatermark demo`: marks put on photographs and taken off again, the whole real way, on this machine."""

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
from ..console.runner import DONE, SOME_FAILED, run, wait_for_all
from ..demo.comparison import compare
from ..demo.contact_sheet import Pair, draw_contact_sheet
from ..demo.report import DemoOutcome, report
from ..demo.samples import DemoJob, DemoPlan, make_photos, plan_demo, read_photos


def _processing() -> Callable[[EmulatedTask], float]:
    """Seconds a job takes: short, and different enough to see them end one by one."""
    turns = count()
    return lambda _: 0.4 + next(turns) * 7 % 20 * 0.08


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
    help="Where the pictures go.",
)
@click.option("--jobs", default=20, show_default=True, type=click.IntRange(1, 500), help="Jobs, over five providers.")
@click.option("--seed", default=1, show_default=True, type=click.IntRange(0), help="Which photographs are made up.")
@click.option("--callbacks", is_flag=True, help="Show instead what callbacks save: the same jobs with and without.")
def demo(photos: Sequence[Path], folder: Path, jobs: int, seed: int, callbacks: bool) -> None:  # noqa: FBT001
    """Put a mark on PHOTOS, or on made-up ones, and have it taken off by all five APIs at once.

    The five APIs are emulated on this machine; everything else is real: client, HTTP, polls, downloads. It needs no
    account and no network, and nothing is paid.
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
    """Where it happens: the emulator, a client for each provider, the folder, and what shows it."""

    emulator: Emulator
    folder: Path
    display: ProgressDisplay
    clients: dict[str, Client] = field(factory=dict)
    measuring: asyncio.Lock = field(factory=asyncio.Lock)

    async def perform(self, piece: DemoJob) -> DemoOutcome:
        """One piece from before to after."""
        row = self.display.start(f"{piece.number:02}  {piece.photo.name}", piece.provider.display_name)
        ended = DemoOutcome(piece, self.folder / f"{piece.stem}-before{piece.suffix}")
        await asyncio.to_thread(ended.before.write_bytes, piece.marked)
        try:
            ended.after = await self._remove(piece, row)
            async with self.measuring:  # large photographs take much memory to compare
                ended.gain = await asyncio.to_thread(_gain, piece, ended.after)
        except (WatermarkError, ValueError) as error:
            ended.error = error
        self.display.finish(row, ended.line, ok=ended.error is None)
        return ended

    async def _remove(self, piece: DemoJob, row: ProgressRow) -> Path:
        """The real way: submit, watch, download."""
        media: Source = piece.marked
        if not piece.provider.capabilities.files:  # it takes links only: the emulator lends one
            media = self.emulator.host(piece.marked, f"photo{piece.suffix}")
        row.show("submitting")
        handle = await self.clients[piece.provider.name].submit(media, mask=piece.sent_mask)
        result = await show_progress(handle, row)
        row.show("saving")
        return await result.save(self.folder / f"{piece.stem}-after{piece.suffix}")


def _gain(piece: DemoJob, after: Path) -> tuple[float, float]:
    return piece.similarity(piece.marked), piece.similarity(after.read_bytes())


def _write_contact_sheet(folder: Path, ended: Sequence[DemoOutcome]) -> Path | None:
    """One picture with a job of each provider that brought one home."""
    handful = {one.piece.provider.name: one for one in reversed(ended) if one.after is not None}
    if not handful:
        return None
    path = folder / "overview.png"
    path.write_bytes(
        draw_contact_sheet([_make_pair(one, one.after) for _, one in sorted(handful.items()) if one.after is not None])
    )
    return path


def _make_pair(one: DemoOutcome, after: Path) -> Pair:
    title, way = one.piece.provider.display_name, "with a mask" if one.piece.sent_mask else "mark found"
    marked, clean = one.gain
    return Pair(one.piece.marked, after.read_bytes(), (f"{title}: marked, {marked:.0f} dB", f"{way}, {clean:.0f} dB"))


async def _run_demo(plan: DemoPlan, folder: Path, stop: asyncio.Event) -> int:
    for note in plan.notes:
        click.echo(f"Note: {note}.", err=True)
    if not plan.places:
        raise InvalidInput("no provider takes these photographs")
    async with Emulator(mark=plan.mark, processing=_processing()) as emulator:
        click.echo(f"{len(plan.places)} jobs, five APIs emulated on {emulator.base_url}\n")
        with ProgressDisplay(sys.stdout, len(plan.places)) as board:
            ended = await _run_jobs(DemoRun(emulator, folder, board), plan, stop)
        if stop.is_set():
            click.echo("Stopped. Nothing was paid: the providers were emulated.")
            return SOME_FAILED
        overall = await asyncio.to_thread(_write_contact_sheet, folder, ended)
        report(ended, emulator.charged, folder, overall, board.seconds)
    return DONE if all(one.error is None for one in ended) else SOME_FAILED


async def _run_jobs(stage: DemoRun, plan: DemoPlan, stop: asyncio.Event) -> list[DemoOutcome]:
    """All jobs at once, each with its provider's client; what has ended when it is all over, or stopped."""
    async with AsyncExitStack() as stack:
        for name in provider_names():
            client = Client(stage.emulator.provider(name), drain=0)
            stage.clients[name] = await stack.enter_async_context(client)
        tasks, pieces = [], plan.jobs()
        while (piece := await asyncio.to_thread(next, pieces, None)) is not None and not stop.is_set():
            tasks.append(asyncio.create_task(stage.perform(piece)))
        try:
            return [task.result() for task in tasks] if await wait_for_all(tasks, stop) else []
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
