"""How long to wait before trying again: backoff's generators with full jitter, never below a server's word."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import backoff

MAX_ATTEMPTS = 6


def delays(tries: int = MAX_ATTEMPTS, *, first: float = 0.5, ceiling: float = 30.0) -> Iterator[float]:
    """The pauses between `tries` attempts, in seconds: one fewer than there are attempts."""
    growing = backoff.expo(base=2, factor=first, max_value=ceiling)
    next(growing)  # the generator's first value is None, for its own decorators
    for _ in range(tries - 1):
        yield backoff.full_jitter(next(growing))


def delay_before_attempt(tried: int, tries: int) -> float | None:
    """The pause after so many attempts; None where there are to be no more."""
    return next(islice(delays(tries), tried - 1, None), None)


def respect_retry_after(delay: float, hint: float | None) -> float:
    """A pause of our own that is never shorter than what the server asked for."""
    return delay if hint is None else hint + min(delay, 0.1 * hint)
