"""Retry delays: backoff's exponential generator with full jitter, never shorter than a server's Retry-After.

A server's hint ("Retry-After", "wait_time") lengthens a wait and never shortens it, and it is kept within bounds: it
may be 0, a date in the past, the time of day, or 1e308.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice, repeat
from math import isnan

import backoff

MAX_ATTEMPTS = 6
MIN_HINT = 0.25
"""Seconds: a server that asks for less gets this."""
MAX_HINT = 300.0
"""Seconds of the longest wait that a server may ask for, unless the user sets another bound."""


def delays(attempts: int | None = MAX_ATTEMPTS, *, first: float = 0.5, ceiling: float = 30.0) -> Iterator[float]:
    """Yield the delays between `attempts` attempts, in seconds: one fewer than there are attempts; None: endless."""
    upper_bounds = backoff.expo(base=2, factor=first, max_value=ceiling)
    next(upper_bounds)  # backoff's generators yield None first, for its own decorators
    for _ in repeat(None) if attempts is None else repeat(None, attempts - 1):
        yield backoff.full_jitter(next(upper_bounds))


def delay_before_attempt(attempted: int, max_attempts: int | None) -> float | None:
    """Return the delay in seconds after `attempted` attempts, or None if there are no attempts left."""
    return next(islice(delays(max_attempts), attempted - 1, None), None)


def bounded_hint(seconds: float | None, ceiling: float = MAX_HINT) -> float | None:
    """Return what a server asked to wait, within bounds; None if it asked for nothing, or for something else."""
    return None if seconds is None or isnan(seconds) else min(max(seconds, MIN_HINT), ceiling)


def respect_retry_after(delay: float, retry_after: float | None, ceiling: float = MAX_HINT) -> float:
    """Return a delay in seconds that is never shorter than what the server asked for, within bounds."""
    hint = bounded_hint(retry_after, ceiling)
    # the jitter comes on top, so that clients that were refused together do not return together
    return delay if hint is None else max(delay, hint + min(delay, 0.1 * hint))
