"""Option `--report`: an HTML page that shows the images before and after."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path

import click
from attrs import define, field

from ... import InvalidInput
from ..batch.items import Outcome
from ..batch.report_rows import row_of
from ..batch.request import BatchRequest
from ..console.runner import EXIT_SOME_FAILED, error_text, print_error
from ..report.page import ReportText, check_target, write_report
from ..report.rows import ReportRows

_MANY = 50
"""Jobs from which on writing takes a while."""

report_option = click.option(
    "--report",
    "report",
    metavar="FILE",
    type=click.Path(path_type=Path),
    callback=lambda _, __, path: None if path is None else HtmlReport(path),
    help="Write an HTML page with the images before and after, such as out/index.html. It needs no other file.",
)


@define(eq=False)
class HtmlReport:
    """The page that a command writes at its end, and the rows that it collects for it.

    `total` is the number of inputs if it is known; those without a row were not submitted. `request` is what the
    command was asked for: it leads to the commands in the page.
    """

    path: Path
    request: BatchRequest | None = field(default=None, init=False)
    rows: ReportRows = field(factory=ReportRows, init=False)
    total: int | None = None
    _started: float = field(factory=time.monotonic, init=False)
    _places: dict[int, tuple[bool, int]] = field(factory=dict, init=False)

    async def check(self) -> None:
        """Raise InvalidInput if the page cannot be written; called before anything is paid."""
        await asyncio.to_thread(check_target, self.path)

    def add(self, outcome: Outcome) -> None:
        """Add a row for an item that has ended."""
        row = row_of(outcome, self.request)
        self.rows.add(row)
        if self.rows.kept and self.rows.kept[-1] is row:
            self._places[id(row)] = row.done, outcome.number

    def _sort(self) -> None:
        """Put what needs attention first, and each kind in the order of the inputs: jobs end in any order."""
        self.rows.kept.sort(key=lambda row: self._places[id(row)])

    async def save(self, code: int, *, err: bool = False) -> int:
        """Write the page, print where it is, and return the exit code: `code`, or 1 if it could not be written."""
        left_out = (self.total or 0) - self.rows.total
        remarks = [f"The run was stopped: {left_out:,} inputs are not shown, they were not submitted."] * (left_out > 0)
        text = ReportText("aiowatermark remove", time.monotonic() - self._started, remarks)
        if len(self.rows.kept) > _MANY:
            click.echo("Writing the report …", err=True)
        self._sort()
        ended = threading.Event()
        try:
            await asyncio.to_thread(write_report, self.path, self.rows, text, ended=ended)
        except InvalidInput as error:
            print_error(error_text(error))
            return EXIT_SOME_FAILED
        except OSError as error:
            print_error(f"the report {self.path} cannot be written: {error_text(error)}")
            return EXIT_SOME_FAILED
        finally:
            ended.set()  # the second Ctrl-C cancels this task, and the process waits for its threads
        click.echo(f"The images before and after: {self.path}", err=err)
        return code
