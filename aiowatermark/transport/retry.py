"""Retry delays: backoff's exponential generator with full jitter, never shorter than a server's Retry-After."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import backoff

MAX_ATTEMPTS = 6


def delays(attempts: int = MAX_ATTEMPTS, *, first: float = 0.5, ceiling: float = 30.0) -> Iterator[float]:
    """Yield the delays between `attempts` attempts, in seconds: one fewer than there are attempts."""
    upper_bounds = backoff.expo(base=2, factor=first, max_value=ceiling)
    next(upper_bounds)  # backoff's generators yield None first, for its own decorators
    for _ in range(attempts - 1):
        yield backoff.full_jitter(next(upper_bounds))


def delay_before_attempt(attempted: int, max_attempts: int) -> float | None:
    """Return the delay in seconds after `attempted` attempts, or None if there are no attempts left."""
    return next(islice(delays(max_attempts), attempted - 1, None), None)


def respect_retry_after(delay: float, retry_after: float | None) -> float:
    """Return a delay in seconds that is never shorter than what the server asked for."""
    # the jitter comes on top, so that clients that were refused together do not return together
    return delay if retry_after is None else retry_after + min(delay, 0.1 * retry_after)
