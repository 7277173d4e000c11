"""What one sees meanwhile: bars and at most eight rows on a terminal, plain lines anywhere else."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self, TextIO

from attrs import define, field
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from .rate import RateMeter
from .runner import printable

_ROWS = 8
_WIDE = 100


@define(eq=False)
class ProgressRow:
    """One job, as it is shown: what it is, whose it is, where it stands, and since when."""

    label: str
    title: str
    stage: str = "waiting"
    since: float = field(factory=time.monotonic)
    meter: RateMeter | None = None

    def show(self, stage: str, share: float | None = None) -> None:
        """It has come to this stage, and in it to a share from 0 to 1 where that is known."""
        if stage != self.stage:
            self.stage, self.meter = stage, None
        if share:
            self._meter(lambda: RateMeter(in_bytes=False, window=float("inf"))).update(share, 1.0)

    def on_upload(self, sent: int, total: int | None) -> None:
        """So many bytes have left; when they all have, the provider's answer is waited for."""
        if sent == total:
            self.show("sent")
        else:
            self._on_transfer("uploading", sent, total)

    def on_download(self, got: int, total: int | None) -> None:
        """So many bytes have come."""
        self._on_transfer("saving", got, total)

    def _on_transfer(self, stage: str, done: int, total: int | None) -> None:
        self.show(stage)
        self._meter(RateMeter).update(done, total)

    def _meter(self, made: Callable[[], RateMeter]) -> RateMeter:
        if self.meter is None:
            self.meter = made()
        return self.meter

    @property
    def seconds(self) -> float:
        """How long it has taken so far."""
        return time.monotonic() - self.since


@define(eq=False)
class ProgressDisplay:
    """Counts what ends and shows what runs; `total` is None where nobody knows it."""

    stream: TextIO
    total: int | None
    done: int = 0
    failed: int = 0
    started: float = field(factory=time.monotonic, init=False)
    _rows: dict[int, ProgressRow] = field(factory=dict, init=False)
    _live: Live | None = field(default=None, init=False)
    _spinner: Spinner = field(factory=lambda: Spinner("dots", style="cyan"), init=False)

    def __enter__(self) -> Self:
        """Begin to show, where somebody is looking."""
        if self.stream.isatty():
            console = Console(file=self.stream, highlight=False)
            self._live = Live(
                get_renderable=self._render,
                console=console,
                refresh_per_second=10,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the screen clean for the report."""
        self.close()

    def close(self) -> None:
        """Show no more rows."""
        if self._live is not None:
            self._live.stop()

    @property
    def seconds(self) -> float:
        """How long it has all taken."""
        return time.monotonic() - self.started

    def start(self, label: str, title: str) -> ProgressRow:
        """A job has its turn."""
        row = ProgressRow(printable(label), title)
        self._rows[id(row)] = row
        return row

    def finish(self, row: ProgressRow, line: str, *, ok: bool) -> None:
        """A job has ended; the line is for those who see no bar."""
        self._rows.pop(id(row), None)
        self.done += ok
        self.failed += not ok
        if self._live is None:
            print(printable(line), file=self.stream, flush=True)

    # the picture, made anew ten times a second: eight rows, however many jobs there are

    def _render(self) -> RenderableType:
        rows = list(self._rows.values())
        wide = self._live is not None and self._live.console.width >= _WIDE
        table = Table.grid(padding=(0, 2), expand=False)
        for width in (40 if wide else 20, 14, 12):
            table.add_column(no_wrap=True, overflow="ellipsis", max_width=width)
        # as wide as they may become, so that nothing jumps
        for width in (16, 41) if wide else (8, 0):
            table.add_column(no_wrap=True, min_width=width if any(row.meter for row in rows) else 0)
        table.add_column(justify="right", no_wrap=True)
        for row in rows[:_ROWS]:
            table.add_row(*_cells(row, 16 if wide else 8))
        left = len(rows) - _ROWS
        more = Text(f"and {left} more" if left > 0 else "", "dim")
        return Group(table, more, self._bar())

    def _bar(self) -> RenderableType:
        ended = self.done + self.failed
        grid = Table.grid(padding=(0, 2))
        bar = ProgressBar(
            self.total, ended, width=40, complete_style="cyan", finished_style="cyan", pulse=not self.total
        )
        count = Text(f"{ended}/{self.total}" if self.total else str(ended))
        if self.failed:
            count.append(f"  {self.failed} failed", "red")
        grid.add_row(self._spinner, bar, count, Text(f"{self.seconds:.0f} s", "dim"))
        return grid


def _cells(row: ProgressRow, width: int) -> tuple[RenderableType, ...]:
    """One job's line: its own bar only while something of it moves."""
    meter = row.meter
    begins = Text(row.label), Text(row.title, "dim"), Text(row.stage)
    seconds = Text(f"{row.seconds:.1f} s", "dim")
    if meter is None:
        return *begins, "", "", seconds
    bar = ProgressBar(meter.total, meter.done, width=width, complete_style="cyan", pulse=meter.total is None)
    return *begins, bar, Text(meter.text), seconds
