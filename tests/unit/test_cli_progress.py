"""The progress bar names what is not done as the summary does."""

from __future__ import annotations

from io import StringIO

from rich.console import Console

from aiowatermark.cli.batch.items import COUNT_WORDS, ItemStatus
from aiowatermark.cli.console.progress import ProgressDisplay


def shown_bar(display: ProgressDisplay) -> str:
    """Return the bar as text."""
    console = Console(file=StringIO(), width=100)
    with console.capture() as capture:
        console.print(display._bar(100))
    return capture.get()


def test_the_bar_counts_what_is_not_done_by_what_became_of_it() -> None:
    display = ProgressDisplay(StringIO(), 9)
    for words in ("", "refused", "", "failed", "refused"):
        display.finish(display.start("a.jpg", "Kaze"), "", words)
    assert "5/9 2 refused 1 failed " in shown_bar(display)


def test_a_bar_of_jobs_that_are_done_has_no_further_counts() -> None:
    display = ProgressDisplay(StringIO(), 2)
    display.finish(display.start("a.jpg", "Kaze"), "")
    assert "1/2 0 s" in shown_bar(display)


def test_each_status_that_is_not_done_has_a_word() -> None:
    assert COUNT_WORDS.keys() == set(ItemStatus) - {ItemStatus.DONE}
