"""Summary of the demo: results and charges per provider, failures, and where the files are."""

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

_NEXT_STEPS = """
With an account of your own, such as PicWish's:
  export PICWISH_API_KEY=...
  aiowatermark remove photo.jpg --provider picwish -o clean"""


@define(eq=False)
class DemoOutcome:
    """One job of the demo: its files, and the PSNR (dB) before and after, against the photograph without a mark."""

    job: DemoJob
    before: Path
    after: Path | None = None
    psnr: tuple[float, float] = (0.0, 0.0)
    error: Exception | None = None

    @property
    def line(self) -> str:
        """The outcome in one line of text."""
        name = f"{self.job.number:02}  {self.job.provider.display_name:<12}  {self.job.photo.name}"
        if self.error is not None:
            return f"failed  {name}: {error_text(self.error)}"
        return f"done    {name}  {self.psnr[0]:.1f} -> {self.psnr[1]:.1f} dB"


def report(
    outcomes: Sequence[DemoOutcome], charged: Mapping[str, int], folder: Path, overview: Path | None, seconds: float
) -> None:
    """Print the table, the failures and the paths; `charged` counts charges by provider name."""
    console = Console(file=sys.stdout, highlight=False)
    console.print("", _table(outcomes, charged), sep="\n")
    done = sum(outcome.error is None for outcome in outcomes)
    click.echo(f"\n{click.style(f'{done} of {len(outcomes)} restored', bold=True)} in {seconds:.1f} s")
    for outcome in outcomes:
        if outcome.error is not None:
            click.echo(outcome.line)
    if overview is not None:
        click.echo(f"\n  overview          {overview}")
    click.echo(f"  before and after  {folder}")
    click.echo(_NEXT_STEPS)


def _table(outcomes: Sequence[DemoOutcome], charged: Mapping[str, int]) -> Table:
    table = Table(box=None, padding=(0, 2), header_style="dim")
    table.add_column("provider")
    for heading in ("restored", "charged", "PSNR before", "PSNR after"):
        table.add_column(heading, justify="right")
    providers = {(outcome.job.provider.name, outcome.job.provider.display_name) for outcome in outcomes}
    for name, title in sorted(providers):
        of_provider = [outcome for outcome in outcomes if outcome.job.provider.name == name]
        table.add_row(title, *_cells(of_provider, charged[name]))
    table.add_row("all, median", *_cells(outcomes, sum(charged.values())), style="bold")
    return table


def _cells(outcomes: Sequence[DemoOutcome], charges: int) -> tuple[str, ...]:
    values = [outcome.psnr for outcome in outcomes if outcome.error is None]
    count = f"{len(values)}/{len(outcomes)}"
    if not values:
        return count, str(charges), "-", "-"
    before, after = (median(column) for column in zip(*values, strict=True))
    return count, str(charges), f"{before:.1f} dB", f"{after:.1f} dB"
