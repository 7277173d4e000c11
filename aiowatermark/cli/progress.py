"""What one sees meanwhile: a bar and at most eight rows on a terminal, plain lines anywhere else."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self, TextIO

from attrs import define, field
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from .running import printable

_ROWS = 8


@define(eq=False)
class Row:
    """One job, as it is shown: what it is, whose it is, where it stands, and since when."""

    label: str
    title: str
    stage: str = "waiting"
    since: float = field(factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """How long it has taken so far."""
        return time.monotonic() - self.since


@define(eq=False)
class Board:
    """Counts what ends and shows what runs; `total` is None where nobody knows it."""

    stream: TextIO
    total: int | None
    done: int = 0
    failed: int = 0
    started: float = field(factory=time.monotonic, init=False)
    _rows: dict[int, Row] = field(factory=dict, init=False)
    _live: Live | None = field(default=None, init=False)
    _spinner: Spinner = field(factory=lambda: Spinner("dots", style="cyan"), init=False)

    def __enter__(self) -> Self:
        """Begin to show, where somebody is looking."""
        if self.stream.isatty():
            console = Console(file=self.stream, highlight=False)
            self._live = Live(
                get_renderable=self._picture,
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

    def begin(self, label: str, title: str) -> Row:
        """A job has its turn."""
        row = Row(printable(label), title)
        self._rows[id(row)] = row
        return row

    def end(self, row: Row, line: str, *, ok: bool) -> None:
        """A job has ended; the line is for those who see no bar."""
        self._rows.pop(id(row), None)
        self.done += ok
        self.failed += not ok
        if self._live is None:
            print(printable(line), file=self.stream, flush=True)

    # the picture, made anew ten times a second: eight rows, however many jobs there are

    def _picture(self) -> RenderableType:
        rows = list(self._rows.values())
        table = Table.grid(padding=(0, 2), expand=False)
        for _ in range(3):
            table.add_column(no_wrap=True, overflow="ellipsis", max_width=40)
        table.add_column(justify="right", no_wrap=True)
        for row in rows[:_ROWS]:
            table.add_row(Text(row.label), Text(row.title, "dim"), Text(row.stage), Text(f"{row.seconds:.1f} s", "dim"))
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
