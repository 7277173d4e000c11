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
from .progress import ProgressDisplay
from .runner import error_text

_MAX_WARNINGS = 20
_REPEATED, _QUERY_FAILED = "request.repeated", "query.failed"
_TEMPLATES = {"repeating a request in %.1f s: %s": _REPEATED, "job %s: a query failed: %s": _QUERY_FAILED}
"""Events that have no name in `extra`, by the texts of their lines."""
_IN_SUMMARY = ("is in doubt", "is unchanged", "the end of the result's file", "resume it with")
"""Parts of warnings that the summary of a batch makes superfluous."""


@define(eq=False)
class NoticeHandler:
    """Shows log records on a display; `title` is the provider's display name."""

    display: ProgressDisplay
    title: str
    _said: set[str] = field(factory=set, init=False)

    def show(self, record: logging.LogRecord) -> bool:
        """Show a record if it is of interest; always True, as `Handler.handle` returns for a record that it took."""
        event = getattr(record, "event", None) or _TEMPLATES.get(str(record.msg))
        if event == _REPEATED:
            self._show_pause(*_pause_of(record))
        elif event == _QUERY_FAILED:
            self.display.notice(f"{self.title}: a query failed and is repeated: {_reason_of(record)}", "query")
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


def _pause_of(record: logging.LogRecord) -> tuple[float, str, str]:
    """Return the seconds until a request is repeated, the name of the error's class, and the reason."""
    if hasattr(record, "event"):
        return record.seconds, str(record.error), str(record.reason)  # type: ignore[attr-defined]
    seconds, problem = record.args if isinstance(record.args, tuple) and len(record.args) == 2 else (0.0, "")
    return float(str(seconds)), type(problem).__name__, _text(problem)


def _reason_of(record: logging.LogRecord) -> str:
    reason = getattr(record, "reason", None)
    return reason or (_text(record.args[-1]) if isinstance(record.args, tuple) else "")


def _text(problem: object) -> str:
    return error_text(problem) if isinstance(problem, BaseException) else str(problem)


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
