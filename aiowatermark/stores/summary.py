"""What a store holds, in a few numbers: jobs by provider and state, their ages, and what they cost.

`summarize` asks a store that can count by itself (SQLiteStore, RedisStore); of any other it reads the records that are
unfinished, or whose results were not taken.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Any, TypeAlias

from attrs import define, field, frozen

from ..jobs import Record, Status
from . import JobStore

ANSWER_PENDING = "answer_pending"
"""The state of a job in doubt whose client waits for the answer, or ended without noting a reason."""

StateKey: TypeAlias = tuple[str, str]
"""A provider, and a status or ANSWER_PENDING."""


@frozen
class JobGroup:
    """The jobs of one provider in one state.

    `oldest` and `newest` are when they were created, in seconds since 1970, None if unknown. `charged` is the sum of
    what `charged_jobs` of them cost, in the provider's credits; of the others it is not known.
    """

    provider: str
    state: str
    count: int
    oldest: float | None
    newest: float | None
    charged: float
    charged_jobs: int


@frozen
class StoreSummary:
    """All groups, by provider and state. `complete`: also the jobs whose results were taken are counted."""

    groups: tuple[JobGroup, ...]
    complete: bool


@define
class _Sums:
    count: int = 0
    oldest: float | None = None
    newest: float | None = None
    charged: float = 0.0
    charged_jobs: int = 0


@define
class SummaryBuilder:
    """Adds up jobs, one by one or many at once, in memory that does not grow with their number."""

    _sums: dict[StateKey, _Sums] = field(factory=dict, init=False)

    def add(self, provider: str, state: str, created_at: float | None, charged: float | None) -> None:
        """Count one job."""
        sums = self._sums.setdefault((provider, state), _Sums())
        sums.count += 1
        if created_at:
            sums.oldest = created_at if sums.oldest is None else min(sums.oldest, created_at)
            sums.newest = created_at if sums.newest is None else max(sums.newest, created_at)
        if charged is not None:
            sums.charged += charged
            sums.charged_jobs += 1

    def add_record(self, record: Record) -> None:
        """Count the job of a record."""
        state = ANSWER_PENDING if record.answer_pending else record.snapshot.status.value
        self.add(record.provider, state, record.created_at, None if record.charged is None else record.charged.credits)

    def add_json(self, data: Any) -> None:
        """Count the job of a record as JSON, of any version of this package; ignores what is none."""
        snapshot = data.get("snapshot") if isinstance(data, dict) else None
        if not isinstance(snapshot, dict):
            return
        state = str(snapshot.get("status"))
        if state == Status.IN_DOUBT and snapshot.get("reason") is None:
            state = ANSWER_PENDING
        self.add(str(data.get("provider")), state, _number(data.get("created_at")), _number(data.get("charged")))

    def build(self, *, complete: bool) -> StoreSummary:
        """Return the sums."""
        return summary_of(
            (
                JobGroup(*key, each.count, each.oldest, each.newest, each.charged, each.charged_jobs)
                for key, each in self._sums.items()
            ),
            complete=complete,
        )


def summary_of(groups: Iterable[JobGroup], *, complete: bool) -> StoreSummary:
    """Return a summary with its groups in order."""
    return StoreSummary(tuple(sorted(groups, key=lambda group: (group.provider, group.state))), complete)


async def summarize(store: JobStore) -> StoreSummary:
    """Return what an open store holds; raises StoreError."""
    if (summary := getattr(store, "summary", None)) is not None:
        known: StoreSummary = await summary()
        return known
    builder = SummaryBuilder()
    for records in (store.unfinished(), _unacknowledged(store)):
        async for record in records:
            builder.add_record(record)
    return builder.build(complete=False)


async def _unacknowledged(store: JobStore) -> AsyncIterator[Record]:
    # a store of one's own may have no such method
    if (unacknowledged := getattr(store, "unacknowledged", None)) is not None:
        async for record in unacknowledged():
            yield record


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
