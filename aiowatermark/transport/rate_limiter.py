"""LocalRateLimiter: spaces the requests of one account, submissions and polls alike, within this process.

When the provider demands a pause:

    up to a minute     no request starts: a limit of the request rate counts all of them
    a longer one       no submission starts; jobs that are paid go on being polled, each at its own interval
"""

from __future__ import annotations

from ..clock import now, pause
from ..errors import RateLimited

MAX_COMMON_PAUSE = 60.0


class SubmissionPause:
    """Holds submissions back for a time, in this process."""

    def __init__(self) -> None:
        self._end = 0.0

    @property
    def active(self) -> bool:
        """Whether submissions are held back now."""
        return bool(self._end) and self._end > now()

    def extend(self, seconds: float) -> None:
        """Let no submission start within the next `seconds`."""
        self._end = max(self._end, now() + seconds)

    async def wait(self, until: float) -> None:
        """Wait for the end of the pause; raises RateLimited if that is after `until` on the SDK's clock."""
        while self._end and (seconds := self._end - now()) > 0:
            if self._end > until:
                raise rate_limit_timeout(seconds)
            await pause(seconds)


class LocalRateLimiter:
    """Starts at most `rate` requests per second, in the order in which they asked; None: without a limit.

    Each request reserves the next free point in time and sleeps until then: no queue and no background task. A request
    that is cancelled while it sleeps leaves its reservation unused.
    """

    def __init__(self, rate: float | None) -> None:
        self._interval = 1 / rate if rate else 0.0
        self._next_start = 0.0
        self._submissions = SubmissionPause()

    @property
    def may_wait(self) -> bool:
        """Whether a submission that asks now may have to wait: there is a rate, or the provider demanded a pause."""
        return bool(self._interval) or self._submissions.active or (bool(self._next_start) and self._next_start > now())

    async def acquire(self, *, is_submission: bool, until: float) -> None:
        """Wait until a request may start; raises RateLimited if that is after `until` on the SDK's clock."""
        if is_submission:
            # before a point in time is reserved: behind one that lies after the pause, polls would wait, too
            await self._submissions.wait(until)
        if not self._next_start and not self._interval:
            return  # no rate and never paused: the usual case costs nothing
        time = now()
        start = max(time, self._next_start)
        if start > max(until, time):
            raise rate_limit_timeout(start - time)
        self._next_start = start + self._interval
        if start > time:
            await pause(start - time)

    async def pause_for(self, seconds: float) -> None:
        """Let no request start within the next `seconds`, as a server's Retry-After demands; see the module's head."""
        if seconds > MAX_COMMON_PAUSE:
            self._submissions.extend(seconds)
        else:
            self._next_start = max(self._next_start, now() + seconds)


def rate_limit_timeout(retry_after: float | None = None) -> RateLimited:
    """Return the error for a request that cannot start before its deadline; `retry_after` is in seconds."""
    return RateLimited("the account's rate limit left no free slot before the deadline", retry_after=retry_after)
