"""Summary of the demo: what was restored and charged per provider, what was not, and where the files are."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

import click
from attrs import define
from rich.table import Table

from ..console.consoles import make_console
from ..console.runner import error_text
from ..console.texts import say
from ..report.rows import ReportRow
from .samples import DemoJob

PSNR = "PSNR: closeness to the photo without a mark; from about 40 dB on, hardly anyone sees a difference."
_NEXT_STEPS = """
With an account of your own, such as PicWish's:
  export PICWISH_API_KEY=...
  aiowatermark remove photo.jpg --provider picwish -o clean"""


@define(eq=False)
class DemoOutcome:
    """One job of the demo: its files, and the PSNR (dB) before and after, against the photograph without a mark.

    `charge` is in the provider's credits, None while it is not known; `seconds` until the result was saved.
    """

    job: DemoJob
    before: Path
    after: Path | None = None
    psnr: tuple[float, float] = (0.0, 0.0)
    error: Exception | None = None
    charge: float | None = None
    seconds: float = 0.0

    @property
    def restored(self) -> bool:
        """Whether there is a result, and it is closer to the photograph than what was sent."""
        return self.error is None and self.psnr[1] > self.psnr[0]

    @property
    def status(self) -> str:
        """The outcome in one or two words."""
        if self.error is not None:
            return "failed"
        return "restored" if self.restored else "not restored"

    @property
    def row(self) -> ReportRow:
        """The outcome for the report."""
        method = "with a mask" if self.job.sent_mask else "mark found by the provider"
        measured = f"; PSNR {self.psnr[0]:.1f} → {self.psnr[1]:.1f} dB" if self.error is None else ""
        return ReportRow(
            f"{self.job.number:02} {self.job.photo.name}",
            self.before,
            self.after,
            self.status,
            self.job.provider.display_name,
            self.seconds,
            self.charge,
            None if self.error is None else error_text(self.error),
            f"{method}{measured}",
            cost_unknown=self.charge is None and self.error is None,
        )

    @property
    def line(self) -> str:
        """The outcome in one line of text."""
        name = f"{self.job.number:02}  {self.job.provider.display_name:<12}  {self.job.photo.name}"
        if self.error is not None:
            return f"failed  {name}: {error_text(self.error)}"
        return f"{self.status}  {name}  {self.psnr[0]:.1f} -> {self.psnr[1]:.1f} dB"


def print_summary(
    outcomes: Sequence[DemoOutcome], charged: Mapping[str, int], folder: Path, report: Path, seconds: float
) -> None:
    """Print the table, what was not restored, and the paths; `charged` counts charges by provider name."""
    make_console(sys.stdout).print("", _table(outcomes, charged), sep="\n")
    restored = sum(outcome.restored for outcome in outcomes)
    click.echo()
    say(f"{restored} of {len(outcomes)} restored in {seconds:.1f} s", bold=True)
    say(PSNR)
    for outcome in outcomes:
        if not outcome.restored:
            say(outcome.line)
    click.echo(f"\n  to look at  {report}")
    click.echo(f"  the images  {folder}")
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
    count = f"{sum(outcome.restored for outcome in outcomes)}/{len(outcomes)}"
    if not values:
        return count, str(charges), "-", "-"
    before, after = (median(column) for column in zip(*values, strict=True))
    return count, str(charges), f"{before:.1f} dB", f"{after:.1f} dB"
