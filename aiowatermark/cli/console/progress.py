"""Progress display: rows and a bar on a terminal, one line for each finished job anywhere else.

A ProgressDisplay belongs to one command. Each running job has one ProgressRow, which its worker updates:

    stage                  meter                      set by
    waiting                -                          start
    reading, submitting    -                          show
    uploading              bytes, rate, time left     on_upload
    sent                   -                          on_upload, when the last byte has been sent
    queued, running        percent, if reported       show, with each snapshot
    saving                 bytes, rate, time left     on_download

A new stage drops the meter of the one before, so that a rate never spans two stages.

If the stream is a terminal, rich redraws from a thread of its own, ten times a second. A redraw shows the eight oldest
rows and counts the rest, so that a display of 1000 jobs costs no more than one of eight. finish() prints nothing then:
the bar counts, and the summary of the batch names the failures. If the stream is a pipe or a file, nothing is redrawn
and finish() prints the job's line.

Concurrency: the event loop changes rows and counts, rich's thread only reads them, without a lock. list(dict.values())
runs in C under the GIL, a row's meter is read once, and a meter always has at least one sample. The worst outcome is
a frame that mixes two updates; the next one corrects it.

close() stops the redrawing and erases the display. It must be called before other text is printed to the stream, may be
called repeatedly, and is called at the end of the `with` block, also after an error or a cancellation.
"""

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

_MAX_ROWS = 8
_WIDE = 100
"""Columns from which on a row has room for its rate and its remaining time."""


@define(eq=False)
class ProgressRow:
    """One running job on the display: `label` is its file, `title` the provider."""

    label: str
    title: str
    stage: str = "waiting"
    since: float = field(factory=time.monotonic)
    meter: RateMeter | None = None

    def show(self, stage: str, fraction: float | None = None) -> None:
        """Set the stage, and its progress from 0 to 1 if known."""
        if stage != self.stage:
            self.stage, self.meter = stage, None
        if fraction:
            # providers report in large steps: a short window would show a rate of 0 between two of them
            self._ensure_meter(lambda: RateMeter(in_bytes=False, window=float("inf"))).update(fraction, 1.0)

    def on_upload(self, sent: int, total: int | None) -> None:
        """Set the bytes sent; when all are sent, the job waits for the provider's answer."""
        if sent == total:
            self.show("sent")
        else:
            self._on_transfer("uploading", sent, total)

    def on_download(self, received: int, total: int | None) -> None:
        """Set the bytes received."""
        self._on_transfer("saving", received, total)

    def _on_transfer(self, stage: str, done: int, total: int | None) -> None:
        self.show(stage)
        self._ensure_meter(RateMeter).update(done, total)

    def _ensure_meter(self, create: Callable[[], RateMeter]) -> RateMeter:
        if self.meter is None:
            self.meter = create()
        return self.meter

    @property
    def seconds(self) -> float:
        """Seconds since the job was started."""
        return time.monotonic() - self.since


@define(eq=False)
class ProgressDisplay:
    """Counts finished jobs and shows running ones; `total` is None if the number of jobs is not known."""

    stream: TextIO
    total: int | None
    done: int = 0
    failed: int = 0
    started: float = field(factory=time.monotonic, init=False)
    _rows: dict[int, ProgressRow] = field(factory=dict, init=False)
    _live: Live | None = field(default=None, init=False)
    _spinner: Spinner = field(factory=lambda: Spinner("dots", style="cyan"), init=False)

    def __enter__(self) -> Self:
        """Start redrawing if the stream is a terminal."""
        if self.stream.isatty():
            console = Console(file=self.stream, highlight=False)
            self._live = Live(
                get_renderable=self._render,
                console=console,
                refresh_per_second=10,
                transient=True,
                # redirected, the JSON lines for stdout would be written to this stream
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Erase the display, so that the summary begins on a clean line."""
        self.close()

    def close(self) -> None:
        """Stop redrawing and erase the display."""
        if self._live is not None:
            self._live.stop()

    @property
    def seconds(self) -> float:
        """Seconds since the display was created."""
        return time.monotonic() - self.started

    def start(self, label: str, title: str) -> ProgressRow:
        """Add a row for a job and return it."""
        row = ProgressRow(printable(label), title)
        self._rows[id(row)] = row
        return row

    def finish(self, row: ProgressRow, line: str, *, ok: bool) -> None:
        """Remove a job's row and count the job; print `line` if the stream is not a terminal."""
        self._rows.pop(id(row), None)
        self.done += ok
        self.failed += not ok
        if self._live is None:
            print(printable(line), file=self.stream, flush=True)

    def _render(self) -> RenderableType:
        """Build the next frame; called by rich, in its thread."""
        rows = list(self._rows.values())
        wide = self._live is not None and self._live.console.width >= _WIDE
        table = Table.grid(padding=(0, 2), expand=False)
        for width in (40 if wide else 20, 14, 12):
            table.add_column(no_wrap=True, overflow="ellipsis", max_width=width)
        # reserve the full width of meters as soon as one is shown: columns that grow would make the rows jump
        for width in (16, 41) if wide else (8, 0):
            table.add_column(no_wrap=True, min_width=width if any(row.meter for row in rows) else 0)
        table.add_column(justify="right", no_wrap=True)
        for row in rows[:_MAX_ROWS]:
            table.add_row(*_cells(row, 16 if wide else 8))
        hidden = len(rows) - _MAX_ROWS
        more = Text(f"and {hidden} more" if hidden > 0 else "", "dim")
        return Group(table, more, self._bar())

    def _bar(self) -> RenderableType:
        finished = self.done + self.failed
        grid = Table.grid(padding=(0, 2))
        bar = ProgressBar(
            self.total, finished, width=40, complete_style="cyan", finished_style="cyan", pulse=not self.total
        )
        count = Text(f"{finished}/{self.total}" if self.total else str(finished))
        if self.failed:
            count.append(f"  {self.failed} failed", "red")
        grid.add_row(self._spinner, bar, count, Text(f"{self.seconds:.0f} s", "dim"))
        return grid


def _cells(row: ProgressRow, width: int) -> tuple[RenderableType, ...]:
    """Return a row's cells; the bar is `width` columns wide and shown only while the row has a meter."""
    # read once: the event loop may drop the meter meanwhile
    meter = row.meter
    first = Text(row.label), Text(row.title, "dim"), Text(row.stage)
    seconds = Text(f"{row.seconds:.1f} s", "dim")
    if meter is None:
        return *first, "", "", seconds
    bar = ProgressBar(meter.total, meter.done, width=width, complete_style="cyan", pulse=meter.total is None)
    return *first, bar, Text(meter.text), seconds
