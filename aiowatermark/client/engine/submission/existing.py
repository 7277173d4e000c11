"""A key that is known to the store: checks that it names the same job, waits for its owner, and takes it over.

A client that finds a record of another owner waits, without a submit slot, until the record is settled: its answer is
recorded, it is deleted, its owner is gone, or no answer can come any more. Whether an owner is gone is decided by the
store (`Owners`), never by a process id or by comparing the clocks of two machines.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence

from attrs import define, evolve

from ....clock import pause
from ....errors import InvalidInput
from ....jobs import Record, Status
from ....media.fingerprints import same_job
from ....provider import Provider
from ...handle import ActiveJob
from ..context import EngineContext
from ..failures import deadline_exceeded
from ..flows import SUBMIT_TIMEOUT, loop_time
from .claims import new_epoch

log = logging.getLogger("aiowatermark")

_FIRST_RECHECK_SECONDS, _MAX_RECHECK_SECONDS = 0.05, 1.0
"""Seconds until another client's record is read again: half as long again each time."""


@define(eq=False)
class ExistingRecords:
    """Records of keys that are known, as one client sees them."""

    context: EngineContext

    async def wait_until_settled(self, record: Record, job: ActiveJob) -> Record | None:
        """Wait until the record of another owner is settled; see the head of this module. None if it was deleted.

        Raises DeadlineExceeded if its upload has not ended by the deadline of `job`, which waits for it.
        """
        existing: Record | None = record
        delay, answer_until = _FIRST_RECHECK_SECONDS, None
        while existing is not None and existing.before_payment:
            if await self.context.is_gone(existing):
                latest = await self.context.store.get(existing.key)
                if latest is None or latest.same_version(existing):
                    return latest
                existing = latest  # its owner wrote once more before it ended
                continue
            if existing.answer_pending:
                answer_until = answer_until or loop_time() + _answer_seconds_left(existing)
                if loop_time() >= answer_until:
                    break
            elif loop_time() >= job.deadline:
                raise deadline_exceeded(existing, job.time_limit)
            await pause(delay)
            delay = min(delay * 1.5, _MAX_RECHECK_SECONDS)
            existing = await self.context.store.get(existing.key)
        return existing

    async def are_gone(self, records: Sequence[Record]) -> list[bool]:
        """Whether the owner of each record has certainly ended; its lease, where there are leases, is ours then."""
        if self.context.store.coordinator is not None:
            return await asyncio.gather(*map(self.context.is_gone, records))
        owners = {record.owner: record for record in records}
        gone = dict(zip(owners, await asyncio.gather(*map(self.context.is_gone, owners.values())), strict=True))
        return [gone[record.owner] for record in records]

    async def adopt(self, records: Sequence[Record]) -> list[Record]:
        """Become the owner of jobs at the provider; returns the records of those that no other client took first."""
        if self.context.store.coordinator is not None:
            return list(records)  # their leases say who waits for them
        mine = [
            record if record.owner == self.context.owner else record.adopt(self.context.owner, new_epoch())
            for record in records
        ]
        changed = [record for record, before in zip(mine, records, strict=True) if record is not before]
        stored = await asyncio.gather(*map(self.context.store.put, changed))
        lost = {record.key for record, known in zip(changed, stored, strict=True) if not record.is_written(known)}
        return [record for record in mine if record.key not in lost]

    async def take_over(self, record: Record, mine: Record) -> Record | None:
        """Become the owner of a job that is unsent or failed; returns its record, None if another client was first."""
        note = _take_over_note(record)
        taken_over = record.take_over(self.context.owner, new_epoch(), time.time(), mine.callback, note)
        taken_over = evolve(taken_over, labels=mine.labels)
        if not taken_over.is_written(await self.context.store.put(taken_over)):
            return None
        if record.owner:  # a job that was settled as unpaid has none
            log.warning("job %s: %s", record.key, note)
        return taken_over


def _take_over_note(record: Record) -> str:
    """Return what the history of a record says when another client submits its job again."""
    why = "it had failed" if record.snapshot.status is Status.FAILED else "nothing was paid"
    return f"taken over from the client {record.owner}: {why}" if record.owner else f"submitted again: {why}"


def belongs_to(record: Record, provider: Provider) -> bool:
    """Whether a job is one of this account; a record without an account may be of any: the provider knows."""
    return record.provider == provider.name and record.account in {"", provider.account}


def check_same_account(record: Record, provider: Provider) -> None:
    """Raise InvalidInput if the record's key belongs to a job at another provider or of another account."""
    if record.provider != provider.name:
        raise InvalidInput(
            f"the key {record.key!r} belongs to a job at {record.provider}: use another key for this one"
        )
    if not belongs_to(record, provider):
        raise InvalidInput(
            f"the key {record.key!r} belongs to a job of another {provider.display_name} account: use another key, or "
            "give both the same `account=` if only the API key has changed"
        )


def check_same_job(record: Record, fingerprint: str) -> None:
    """Raise InvalidInput if the record's key belongs to another job."""
    if not same_job(record.fingerprint, fingerprint):
        raise InvalidInput(f"the key {record.key!r} belongs to another job: use another key for this one")


def _answer_seconds_left(record: Record) -> float:
    """Seconds that the answer to a paid request may still take."""
    # a record of another machine may be dated in the future: clocks differ
    age = max(0.0, time.time() - record.attempts[-1].at) if record.attempts else 0.0
    return max(0.0, SUBMIT_TIMEOUT - age)
