"""Progress display: rows and a bar on a terminal, one line for each result anywhere else.

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
the bar counts, and the summary of the batch names the failures. If the stream is a pipe or a file, or the terminal
cannot move its cursor (TERM=dumb), nothing is redrawn and finish() prints the job's line.

What else happens is said with say(), which is a line above the bar, or with notice(), which passes: on a terminal it
is one line below the rows for some seconds, elsewhere a line, at most one of a kind in ten seconds.

Columns fit the terminal: from 80 on the provider and a bar are shown, from 120 on the rate and the time left, too.

Concurrency: the event loop changes rows and counts, rich's thread only reads them, without a lock. list(dict.values())
runs in C under the GIL, a row's meter is read once, and a meter always has at least one sample. The worst outcome is
a frame that mixes two updates; the next one corrects it.

close() stops the redrawing and erases the display. It must be called before other text is printed to the stream, may be
called repeatedly, and is called at the end of the `with` block, also after an error or a cancellation.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import Self, TextIO

from attrs import define, field, frozen
from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from .consoles import make_console
from .rate import RateMeter
from .texts import MAX_NAME, discard_output, encodable, has_unicode, printable, shown_on

_MAX_ROWS = 8
_MEDIUM, _WIDE = 80, 120
"""Columns from which on a row has room for the provider and a bar, and for its rate and its remaining time."""
_LIMIT_IN_BAR = 100
_NOTICE_SECONDS = 10.0


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
    """Counts finished jobs and shows running ones; `total` is None if the number of jobs is not known.

    `not_done` counts those that are not done by the word for what became of them, such as `failed`.
    Without `live` nothing is redrawn, also on a terminal. `output_closed`: nothing can be written to stdout any more.
    """

    stream: TextIO
    total: int | None
    live: bool = True
    done: int = 0
    not_done: Counter[str] = field(factory=Counter)
    started: float = field(factory=time.monotonic, init=False)
    output_closed: bool = field(default=False, init=False)
    _limit: str = field(default="", init=False)
    _rows: dict[int, ProgressRow] = field(factory=dict, init=False)
    _live: Live | None = field(default=None, init=False)
    _spinner: Spinner = field(init=False)
    _notice: tuple[str, float] = field(default=("", 0.0), init=False)
    _noticed: dict[str, float] = field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        """Choose a spinner that the stream can show."""
        self._spinner = Spinner("dots" if has_unicode(self.stream) else "line", style="cyan")

    @property
    def is_redrawn(self) -> bool:
        """Whether rows and a bar are drawn on a terminal at this moment."""
        return self._live is not None and self._live.is_started

    def __enter__(self) -> Self:
        """Start redrawing if the stream is a terminal whose cursor can move."""
        if self.live and self.stream.isatty() and os.environ.get("TERM") != "dumb":
            self._live = Live(
                get_renderable=self._render,
                console=make_console(self.stream),
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
        row = ProgressRow(encodable(printable(label, MAX_NAME), self.stream), title)
        self._rows[id(row)] = row
        return row

    def finish(self, row: ProgressRow, line: str, not_done: str = "") -> None:
        """Remove a job's row and count the job, as done or by a word; print `line` if the stream is not a terminal."""
        self._rows.pop(id(row), None)
        if not_done:
            self.not_done[not_done] += 1
        else:
            self.done += 1
        if self._live is None and line:
            self._print(line)

    def say(self, text: str) -> None:
        """Print a line that stays, above the bar."""
        if self._live is None or not self._live.is_started:
            self._print(text)
        else:
            self._live.console.print(Text(shown_on(self.stream, text)), soft_wrap=True)

    def show_limit(self, text: str) -> None:
        """Show from now on what bounds the rate of all jobs, such as `PicWish: 2 requests per second`."""
        self._limit = text
        if self._live is None and text:
            self._print(text)

    def notice(self, text: str, kind: str = "") -> None:
        """Show a text that is of interest for a while only; `kind` is what it has in common with others.

        Without a kind it is shown on a terminal only.
        """
        now = time.monotonic()
        if self._live is not None:
            self._notice = encodable(printable(text), self.stream), now
        elif kind and now - self._noticed.get(kind, -_NOTICE_SECONDS) >= _NOTICE_SECONDS:
            self._noticed[kind] = now
            self._print(text)

    def lose_output(self, stream: TextIO) -> None:
        """Note that the reader of stdout has ended: the run must stop, and the rest is printed on stderr."""
        self.output_closed = True
        discard_output(stream)

    def _print(self, text: str) -> None:
        try:
            print(shown_on(self.stream, text), file=self.stream, flush=True)
        except BrokenPipeError:  # caught here, since notices are printed below the library's own loggers
            self.lose_output(self.stream)

    def _render(self) -> RenderableType:
        """Build the next frame; called by rich, in its thread."""
        rows = list(self._rows.values())
        width = self._live.console.width if self._live is not None else _MEDIUM
        columns = _Columns(width, any(row.meter for row in rows))
        table = columns.table()
        for row in rows[:_MAX_ROWS]:
            table.add_row(*columns.cells(row))
        hidden = len(rows) - _MAX_ROWS
        more = [Text(f"and {hidden} more", "dim")] if hidden > 0 else []
        return Group(table, *more, *self._notice_line(width), self._bar(width))

    def _notice_line(self, width: int) -> list[RenderableType]:
        """Return the last notice while it is new; else the limit, where the bar has no room for it."""
        text, since = self._notice
        if text and time.monotonic() - since <= _NOTICE_SECONDS:
            return [Text(text, "yellow", no_wrap=True, overflow="ellipsis")]
        limit = self._limit if width < _LIMIT_IN_BAR else ""
        return [Text(limit, "dim", no_wrap=True, overflow="ellipsis")] if limit else []

    def _bar(self, width: int) -> RenderableType:
        counts = dict(self.not_done)  # copied at once: the event loop may add a word
        finished = self.done + sum(counts.values())
        grid = Table.grid(padding=(0, 1))
        bar = ProgressBar(
            self.total,
            finished,
            width=min(max(width - 34, 4), 40),
            complete_style="cyan",
            finished_style="cyan",
            pulse=not self.total,
        )
        count = Text(f"{finished}/{self.total}" if self.total else str(finished), no_wrap=True)
        for word, number in counts.items():
            count.append(f" {number} {word}", "red")
        limit = Text(self._limit if width >= _LIMIT_IN_BAR else "", "dim", no_wrap=True, overflow="ellipsis")
        grid.add_row(self._spinner, bar, count, Text(f"{self.seconds:.0f} s", "dim", no_wrap=True), limit)
        return grid


@frozen
class _Columns:
    """The columns of the rows in a terminal of this width."""

    width: int
    has_meters: bool

    @property
    def _widths(self) -> list[int]:
        """Of name, provider, stage, bar, meter and seconds; 0 for a column that has no room."""
        bar, meter = (16, 41) if self.width >= _WIDE else (8, 0) if self.width >= _MEDIUM else (0, 0)
        if not self.has_meters:
            bar = meter = 0
        title, stage, seconds = 14 if self.width >= _MEDIUM else 0, 10, 8
        others = [title, stage, bar, meter, seconds]
        name = self.width - sum(others) - 2 * sum(map(bool, others)) - 1
        return [min(max(name, 8), 60), *others]

    def table(self) -> Table:
        """Return a table without rows; widths are fixed, since columns that grow would make the rows jump."""
        table = Table.grid(padding=(0, 2, 0, 0))
        for index, width in enumerate(self._widths):
            if width:
                table.add_column(
                    no_wrap=True, overflow="ellipsis", width=width, justify="right" if index == 5 else "left"
                )
        return table

    def cells(self, row: ProgressRow) -> tuple[RenderableType, ...]:
        """Return a row's cells; the bar is shown only while the row has a meter."""
        # read once: the event loop may drop the meter meanwhile
        meter, widths = row.meter, self._widths
        bar = meter and ProgressBar(
            meter.total, meter.done, width=widths[3] or 1, complete_style="cyan", pulse=meter.total is None
        )
        seconds = Text(f"{row.seconds:.1f} s", "dim")
        cells = [
            Text(_end_of(row.label, widths[0])),
            Text(row.title, "dim"),
            Text(row.stage),
            bar or "",
            Text(meter.text if meter else ""),
        ]
        return tuple(cell for cell, width in zip([*cells, seconds], widths, strict=True) if width)


def _end_of(text: str, width: int) -> str:
    """Return the end of a text that fits in so many columns: names of a batch often begin alike."""
    if cell_len(text) <= width:
        return text
    end = text[-width + 1 :]
    while cell_len(end) >= width:
        end = end[1:]
    return f"…{end}"
