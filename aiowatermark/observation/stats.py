"""Counters of what a client did, and `Stats`, a copy of them at one moment."""

from __future__ import annotations

from math import ceil, log

from attrs import define, field, frozen

from ..introspection import documented

_SMALLEST = 0.001
_GROWTH = 1.1
_BUCKETS = 220
"""The last bucket begins at _SMALLEST * _GROWTH ** (_BUCKETS - 1), about ten days."""
_LOG_GROWTH = log(_GROWTH)


@documented
@frozen
class Percentiles:
    """How long jobs took from their submission to their result, in seconds; None while no job succeeded.

    They are read from 220 buckets, each 10 % wider than the one before, so a value is at most 5 % wrong.

    Args:
        count: the jobs.
        p50: half of them took no longer.
        p90: nine of ten took no longer.
        p99: 99 of 100 took no longer.
    """

    count: int = 0
    p50: float | None = None
    p90: float | None = None
    p99: float | None = None


@define(eq=False)
class Histogram:
    """Counts durations in buckets of a constant relative width: adding one takes constant time and no memory."""

    count: int = field(default=0, init=False)
    _buckets: list[int] = field(factory=lambda: [0] * _BUCKETS, init=False, repr=False)

    def add(self, seconds: float) -> None:
        """Count a duration."""
        index = int(log(seconds / _SMALLEST) / _LOG_GROWTH) if seconds > _SMALLEST else 0
        self._buckets[min(index, _BUCKETS - 1)] += 1
        self.count += 1

    def percentile(self, share: float) -> float | None:
        """Return what this share of the durations does not exceed, within 5 %; None if there are none."""
        left = ceil(self.count * share)
        for index, count in enumerate(self._buckets):
            left -= count
            if count and left <= 0:
                return float(_SMALLEST * _GROWTH ** (index + 0.5))  # the middle of the bucket
        return None

    def percentiles(self) -> Percentiles:
        """Return the usual percentiles."""
        return Percentiles(self.count, *map(self.percentile, (0.5, 0.9, 0.99)))


@documented
@frozen
class Stats:
    """What a client has done since it was made, and its views with it; see `Client.stats`.

    Args:
        in_flight: jobs that have a slot: they are being submitted, or waited for.
        waiting: jobs that wait for a slot.
        submitted: jobs that the client took; each ends as accepted, rejected, in doubt, unsent or found.
        accepted: those that the provider accepted.
        rejected: those that the provider refused, at no cost.
        in_doubt: those that may be paid and whose answer did not come; a callback may have settled them since.
        unsent: those that ended before anything was paid.
        found: those whose key was known, so that nothing was submitted.
        succeeded: jobs whose result came, also of jobs that were resumed.
        failed: jobs that the provider reported as failed, also of jobs that were resumed.
        polls: queries for the state of a job.
        callbacks: callbacks that arrived for jobs of this client.
        requests: HTTP requests that ended, transfers included.
        bytes_up: bytes of bodies that were sent in requests that ended.
        bytes_down: bytes of bodies that were received in requests that ended.
        charged: the sum of what ended jobs cost, in the provider's credits, where that is known.
        charged_jobs: the number of jobs in that sum.
        seconds_to_result: how long jobs took from their submission to their result.
    """

    in_flight: int
    waiting: int
    submitted: int
    accepted: int
    rejected: int
    in_doubt: int
    unsent: int
    found: int
    succeeded: int
    failed: int
    polls: int
    callbacks: int
    requests: int
    bytes_up: int
    bytes_down: int
    charged: float
    charged_jobs: int
    seconds_to_result: Percentiles


@define(eq=False)
class Counters:
    """The numbers behind `Stats`; everything that observes adds to them."""

    submitted: int = 0
    accepted: int = 0
    rejected: int = 0
    in_doubt: int = 0
    unsent: int = 0
    found: int = 0
    succeeded: int = 0
    failed: int = 0
    polls: int = 0
    callbacks: int = 0
    requests: int = 0
    bytes_up: int = 0
    bytes_down: int = 0
    charged: float = 0.0
    charged_jobs: int = 0
    durations: Histogram = field(factory=Histogram)

    def snapshot(self, *, in_flight: int, waiting: int) -> Stats:
        """Return a copy with the numbers of this moment."""
        return Stats(
            in_flight,
            waiting,
            self.submitted,
            self.accepted,
            self.rejected,
            self.in_doubt,
            self.unsent,
            self.found,
            self.succeeded,
            self.failed,
            self.polls,
            self.callbacks,
            self.requests,
            self.bytes_up,
            self.bytes_down,
            self.charged,
            self.charged_jobs,
            self.durations.percentiles(),
        )
