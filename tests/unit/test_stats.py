"""Percentiles of durations: within 5 %, in constant memory."""

from __future__ import annotations

import random
import sys

import pytest

from aiowatermark.observation.stats import Histogram


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("share", [0.5, 0.9, 0.99, 1.0])
def test_a_percentile_is_at_most_five_percent_wrong(seed: int, share: float) -> None:
    numbers = random.Random(seed)  # noqa: S311 - not a secret
    durations = sorted(numbers.lognormvariate(2.0, 1.5) for _ in range(1000))
    histogram = Histogram()
    for seconds in durations:
        histogram.add(seconds)
    assert histogram.percentile(share) == pytest.approx(durations[round(1000 * share) - 1], rel=0.05)


def test_memory_does_not_grow_with_the_number_of_durations() -> None:
    histogram = Histogram()
    before = sys.getsizeof(histogram._buckets)
    for number in range(100_000):
        histogram.add(number / 10)
    assert sys.getsizeof(histogram._buckets) == before
    assert histogram.count == 100_000


@pytest.mark.parametrize("seconds", [0.0, -1.0, 1e-9, 0.001, 1e9, 1e300])
def test_any_duration_is_counted(seconds: float) -> None:
    histogram = Histogram()
    histogram.add(seconds)
    value = histogram.percentile(0.5)
    assert value is not None
    assert 0.001 <= value <= 1.3e6


def test_there_are_no_percentiles_of_nothing() -> None:
    assert Histogram().percentiles().p50 is None
