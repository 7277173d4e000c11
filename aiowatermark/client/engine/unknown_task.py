"""UnknownTask: decides when a provider's 404s prove that it does not know a task that it had accepted.

A provider may answer 404 until a task is known everywhere, and a 404 may be about the route of the query and not about
the task. So the first 30 seconds count as "not yet", an answer that names a route or a host says nothing about the
task, and two 404s at least 5 seconds apart are needed, with no other answer in between.
"""

from __future__ import annotations

import re

from attrs import define, field

from ...errors import Rejected, WatermarkError

GRACE_SECONDS = 30.0
_SECONDS_APART = 5.0
_NOT_ABOUT_THE_TASK = re.compile(
    r"\bcannot (get|post)\b|\broutes?\b|<html|\w\.\w+ not found"
    r"|\b(url|uri|path|page|endpoint|host|domain|api)\b[^.]{0,20}\b(not|unknown)\b"
    r"|\b(no|unknown|invalid) (such )?(url|uri|path|page|endpoint|host|domain|api)\b",
    re.IGNORECASE,
)


def is_about_the_task(error: WatermarkError) -> bool:
    """Whether a refused query is a 404 that may mean the task."""
    return isinstance(error, Rejected) and error.status == 404 and not _NOT_ABOUT_THE_TASK.search(error.answer or "")


@define(eq=False)
class UnknownTask:
    """The 404s of one job; times are on the loop's clock. `known_since`: when it was accepted, or first queried."""

    known_since: float
    _first: float | None = field(default=None, init=False)

    def is_proven(self, problem: WatermarkError | None, time: float) -> bool:
        """Note the outcome of a query; whether the task is certainly not known to the provider."""
        if problem is None or not is_about_the_task(problem):
            # a lost connection says nothing; an answer of another kind ends the series
            self._first = self._first if problem is not None and not isinstance(problem, Rejected) else None
            return False
        if time < self.known_since + GRACE_SECONDS:
            return False
        if self._first is None:
            self._first = time
        return time >= self._first + _SECONDS_APART
