"""What the demo says in the end: what came of it at each provider, what it would have cost, where the pictures are."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

import click
from attrs import define
from rich.console import Console
from rich.table import Table

from ..console.runner import error_text
from .samples import DemoJob


@define(eq=False)
class DemoOutcome:
    """One job of the demo: its pictures, and how near they are to the photograph without the mark, in dB."""

    piece: DemoJob
    before: Path
    after: Path | None = None
    gain: tuple[float, float] = (0.0, 0.0)
    error: Exception | None = None

    @property
    def line(self) -> str:
        """What to say of it."""
        name = f"{self.piece.number:02}  {self.piece.provider.display_name:<12}  {self.piece.photo.name}"
        if self.error is not None:
            return f"failed  {name}: {error_text(self.error)}"
        return f"done    {name}  {self.gain[0]:.1f} -> {self.gain[1]:.1f} dB"


def report(
    ended: Sequence[DemoOutcome], charged: Mapping[str, int], folder: Path, overview: Path | None, seconds: float
) -> None:
    """The table, the time, the failures, the places."""
    console = Console(file=sys.stdout, highlight=False)
    console.print("", _table(ended, charged), sep="\n")
    done = sum(one.error is None for one in ended)
    click.echo(f"\n{click.style(f'{done} of {len(ended)} restored', bold=True)} in {seconds:.1f} s")
    for one in ended:
        if one.error is not None:
            click.echo(one.line)
    if overview is not None:
        click.echo(f"\n  overview          {overview}")
    click.echo(f"  before and after  {folder}")
    click.echo(_NEXT)


_NEXT = """
With an account of your own, such as PicWish's:
  export PICWISH_API_KEY=...
  aiowatermark remove photo.jpg --provider picwish -o clean"""


def _table(ended: Sequence[DemoOutcome], charged: Mapping[str, int]) -> Table:
    table = Table(box=None, padding=(0, 2), header_style="dim")
    table.add_column("provider")
    for heading in ("restored", "charged", "marked", "restored to"):
        table.add_column(heading, justify="right")
    for name, title in sorted({(one.piece.provider.name, one.piece.provider.display_name) for one in ended}):
        ours = [one for one in ended if one.piece.provider.name == name]
        table.add_row(title, *_cells(ours, charged[name]))
    table.add_row("all, median", *_cells(ended, sum(charged.values())), style="bold")
    return table


def _cells(ended: Sequence[DemoOutcome], charges: int) -> tuple[str, ...]:
    gains = [one.gain for one in ended if one.error is None]
    count = f"{len(gains)}/{len(ended)}"
    if not gains:
        return count, str(charges), "-", "-"
    before, after = (median(side) for side in zip(*gains, strict=True))
    return count, str(charges), f"{before:.1f} dB", f"{after:.1f} dB"
