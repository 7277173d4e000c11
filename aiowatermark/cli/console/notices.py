"""Notices: what the library logs while a batch runs, as a person in front of the terminal wants to read it.

logged                                     shown
a request is repeated later                a notice: `PicWish: not reachable, next try in 4 s`
a query failed                             a notice: `a query failed, and is repeated: …`
a warning, for example of a mask           a line that stays, once for each text
anything else                              nothing
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from attrs import define, field

from ... import ProviderUnavailable, RateLimited
from ...observation.events import QUERY_FAILED, REQUEST_REPEATED
from .progress import ProgressDisplay

_MAX_WARNINGS = 20
_IN_SUMMARY = ("is in doubt", "is unchanged", "the end of the result's file", "resume it with", "taken over")
"""Parts of warnings that the summary of a batch makes superfluous: the same command continues what was interrupted."""


@define(eq=False)
class NoticeHandler:
    """Shows log records on a display; `title` is the provider's display name."""

    display: ProgressDisplay
    title: str
    _said: set[str] = field(factory=set, init=False)

    def show(self, record: logging.LogRecord) -> bool:
        """Show a record if it is of interest; always True, as `Handler.handle` returns for a record that it took."""
        event, fields = getattr(record, "event", None), vars(record)  # the fields are those that events.py lists
        if event == REQUEST_REPEATED.name:
            self._show_pause(fields["seconds"], fields["error"], fields["reason"])
        elif event == QUERY_FAILED.name:
            self.display.notice(f"{self.title}: a query failed and is repeated: {fields['reason']}", "query")
        elif record.levelno >= logging.WARNING and not str(event).startswith("job."):
            self._warn(record.getMessage())
        return True

    def _show_pause(self, seconds: float, error: str, reason: str) -> None:
        if error == RateLimited.__name__:
            problem = "too many requests"
        elif error == ProviderUnavailable.__name__ and "server error" not in reason:
            problem = "not reachable"
        else:
            problem = f"an error ({reason})"
        self.display.notice(f"{self.title}: {problem}, next try in {max(seconds, 1):.0f} s", "pause")

    def _warn(self, text: str) -> None:
        if text in self._said or len(self._said) > _MAX_WARNINGS or any(part in text for part in _IN_SUMMARY):
            return
        self._said.add(text)
        more = len(self._said) > _MAX_WARNINGS
        self.display.say("Warning: further warnings are not shown" if more else f"Warning: {text}")


@contextmanager
def show_notices(display: ProgressDisplay, title: str) -> Iterator[None]:
    """Show what the library logs on the display, for the time of the block."""
    logger = logging.getLogger("aiowatermark")
    level, handler = logger.level, logging.NullHandler(logging.INFO)
    handler.handle = NoticeHandler(display, title).show  # type: ignore[method-assign]
    logger.addHandler(handler)
    if not logger.isEnabledFor(logging.INFO):
        logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
