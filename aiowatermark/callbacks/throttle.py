"""ThrottledLog: messages about hostile input, at most one per kind and minute, with a count."""

from __future__ import annotations

import logging
from time import monotonic

from attrs import define, field

_INTERVAL_SECONDS = 60.0


@define
class _Kind:
    due: float = 0.0
    suppressed: int = 0


@define(eq=False)
class ThrottledLog:
    """Logs the first event of a kind; further ones within a minute are only counted, and named by the next message.

    A kind is its message, a constant text: the number of kinds is bounded, and no stranger's text gets into it.
    """

    logger: logging.Logger
    _kinds: dict[str, _Kind] = field(factory=dict, init=False)

    def log(self, level: int, message: str, detail: object = "") -> None:
        """Log one event, with a detail of this one event; or count it."""
        kind = self._kinds.setdefault(message, _Kind())
        now = monotonic()
        if now < kind.due:
            kind.suppressed += 1
            return
        more = f" ({kind.suppressed} more before)" if kind.suppressed else ""
        kind.due, kind.suppressed = now + _INTERVAL_SECONDS, 0
        self.logger.log(level, "%s%s%s", message, f": {detail}" if detail else "", more)
