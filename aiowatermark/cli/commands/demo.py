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

from ... import Client, InvalidInput, Source, WatermarkError, known
from ...emulator import Emulator, Task
from ..batch.output_folder import Outputs
from ..batch.workers import watched
from ..console.progress import Board, Row
from ..console.runner import DONE, SOME_FAILED, all_ended, run
from ..demo.comparison import side_by_side
from ..demo.contact_sheet import Pair, overview
from ..demo.report import Ended, report
from ..demo.samples import Piece, Plan, given, made, planned


def _processing() -> Callable[[Task], float]:
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
            return await side_by_side(photos, jobs, seed, stop)
        await asyncio.to_thread(Outputs(folder).prepare)
        plan = await asyncio.to_thread(lambda: planned(given(photos) if photos else made(jobs, seed), jobs))
        return await _shown(plan, folder, stop)

    run(work)


@define(eq=False)
class Stage:
    """Where it happens: the emulator, a client for each provider, the folder, and what shows it."""

    emulator: Emulator
    folder: Path
    board: Board
    clients: dict[str, Client] = field(factory=dict)
    measuring: asyncio.Lock = field(factory=asyncio.Lock)

    async def perform(self, piece: Piece) -> Ended:
        """One piece from before to after."""
        row = self.board.begin(f"{piece.number:02}  {piece.photo.name}", piece.provider.title)
        ended = Ended(piece, self.folder / f"{piece.stem}-before{piece.suffix}")
        await asyncio.to_thread(ended.before.write_bytes, piece.marked)
        try:
            ended.after = await self._cleaned(piece, row)
            async with self.measuring:  # large photographs take much memory to compare
                ended.gain = await asyncio.to_thread(_gain, piece, ended.after)
        except (WatermarkError, ValueError) as error:
            ended.error = error
        self.board.end(row, ended.line, ok=ended.error is None)
        return ended

    async def _cleaned(self, piece: Piece, row: Row) -> Path:
        """The real way: submit, watch, download."""
        media: Source = piece.marked
        if not piece.provider.capabilities.files:  # it takes links only: the emulator lends one
            media = self.emulator.host(piece.marked, f"photo{piece.suffix}")
        row.shows("submitting")
        handle = await self.clients[piece.provider.name].submit(media, mask=piece.sent_mask)
        result = await watched(handle, row)
        row.shows("saving")
        return await result.save(self.folder / f"{piece.stem}-after{piece.suffix}")


def _gain(piece: Piece, after: Path) -> tuple[float, float]:
    return piece.nearness(piece.marked), piece.nearness(after.read_bytes())


def _write_overview(folder: Path, ended: Sequence[Ended]) -> Path | None:
    """One picture with a job of each provider that brought one home."""
    handful = {one.piece.provider.name: one for one in reversed(ended) if one.after is not None}
    if not handful:
        return None
    path = folder / "overview.png"
    path.write_bytes(overview([_pair(one, one.after) for _, one in sorted(handful.items()) if one.after is not None]))
    return path


def _pair(one: Ended, after: Path) -> Pair:
    title, way = one.piece.provider.title, "with a mask" if one.piece.sent_mask else "mark found"
    marked, clean = one.gain
    return Pair(one.piece.marked, after.read_bytes(), (f"{title}: marked, {marked:.0f} dB", f"{way}, {clean:.0f} dB"))


async def _shown(plan: Plan, folder: Path, stop: asyncio.Event) -> int:
    for note in plan.notes:
        click.echo(f"Note: {note}.", err=True)
    if not plan.places:
        msg = "no provider takes these photographs"
        raise InvalidInput(msg)
    async with Emulator(mark=plan.mark, processing=_processing()) as emulator:
        click.echo(f"{len(plan.places)} jobs, five APIs emulated on {emulator.base_url}\n")
        with Board(sys.stdout, len(plan.places)) as board:
            ended = await _performed(Stage(emulator, folder, board), plan, stop)
        if stop.is_set():
            click.echo("Stopped. Nothing was paid: the providers were emulated.")
            return SOME_FAILED
        overall = await asyncio.to_thread(_write_overview, folder, ended)
        report(ended, emulator.charged, folder, overall, board.seconds)
    return DONE if all(one.error is None for one in ended) else SOME_FAILED


async def _performed(stage: Stage, plan: Plan, stop: asyncio.Event) -> list[Ended]:
    """All jobs at once, each with its provider's client; what has ended when it is all over, or stopped."""
    async with AsyncExitStack() as stack:
        for name in known():
            client = Client(stage.emulator.provider(name), drain=0)
            stage.clients[name] = await stack.enter_async_context(client)
        tasks, pieces = [], plan.pieces()
        while (piece := await asyncio.to_thread(next, pieces, None)) is not None and not stop.is_set():
            tasks.append(asyncio.create_task(stage.perform(piece)))
        try:
            return [task.result() for task in tasks] if await all_ended(tasks, stop) else []
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
