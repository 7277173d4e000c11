"""What operators and callers say of records: settles jobs in doubt, and forgets jobs that ended or were not paid.

An operator, who looked into the account at the provider, settles a job in doubt:

    settle(key, task_id=…)   it was accepted as this task: one query confirms that, then it is a job like any other
    settle(key, paid=True)   it was paid and its result is lost (a provider without queries): its key stays used
    settle(key, paid=False)  it was not paid: its key is free, and its record keeps what happened

A job that was settled as unpaid by mistake can be settled in the other ways until it is submitted again. Each is
refused while the answer may still come: the owner is alive and waits for it, or the job runs in this client. A
settlement is conditional on the version of the record that was looked at, and noted in its history: when, by an
operator, and as what. A later proof that contradicts it is an error in the log (snapshots.py), and never touches
another job.
"""

from __future__ import annotations

import time

from attrs import define, evolve

from ...errors import InvalidInput
from ...jobs import Record, Snapshot, Status
from ...ledger import is_settlement, settlement
from ...observation.events import JOB_FORGOTTEN, JOB_SETTLED
from ...observation.events import write as write_event
from ...redaction import short_text
from ...stores import JobStore
from ...stores.owners import Owners
from .context import EngineContext
from .flows import FlowContext, loop_time
from .submission.claims import new_epoch
from .submission.existing import check_same_account

_QUERY_SECONDS = 60.0
_SETTLED_PAID = "settled as paid: its result is lost"
_MAX_TASK_ID = 200


@define(eq=False)
class Settlement:
    """Settles and forgets the jobs of one client's account."""

    context: EngineContext

    async def settle(self, key: str, task_id: str | None, *, paid: bool | None) -> Record:
        """Settle a job in doubt; returns its record. Raises InvalidInput if it cannot be settled so."""
        if (task_id is None) == (paid is None):
            raise InvalidInput("settle needs either task_id=…, or paid=True, or paid=False")
        store, owners = self.context.store, self.context.owners
        record = await load_unsettled(store, owners, key, own=self.context.owner)
        check_same_account(record, self.context.provider)
        if task_id is None:
            return await write_settlement(store, record, paid=bool(paid))
        return await write(store, await self._confirm(record, task_id), f"it was accepted as task {task_id}")

    async def forget(self, key: str) -> bool:
        """Delete the record of a job that ended or was not paid; False if there is none; see `Client.forget`."""
        while (record := await self.context.store.get(key)) is not None:
            check_same_account(record, self.context.provider)
            await self._check_forgettable(record)
            if await self.context.store.forget(record):
                self.context.observer.job(JOB_FORGOTTEN, record)
                return True
        return False

    async def _check_forgettable(self, record: Record) -> None:
        if record.in_doubt:
            raise InvalidInput(f"the job {record.key!r} is in doubt and may be paid: settle it instead")
        if record.at_provider:
            raise InvalidInput(f"the job {record.key!r} is at the provider and is paid: resume it with its token")
        if record.unsent and not await self.context.is_gone(record):
            raise InvalidInput(f"the job {record.key!r} is being submitted by a client that is alive")

    async def _confirm(self, record: Record, task_id: str) -> Record:
        """The record with its task, if the provider knows that and no other job has it."""
        holder = await self.context.store.by_task(record.account, task_id)
        if holder is not None and holder.key != record.key:
            raise InvalidInput(f"the task {task_id!r} belongs to the job {holder.key!r}")
        named = record.advance(Snapshot(task_id, Status.QUEUED), time.time())
        query = self.context.provider.query(named)
        answer = await self.context.flows.run(query, FlowContext(loop_time() + _QUERY_SECONDS))
        confirmed = named.advance(answer, time.time())
        return confirmed.note(settlement(f"task {short_text(task_id, _MAX_TASK_ID)}", time.time()))


async def load_unsettled(store: JobStore, owners: Owners, key: str, *, own: str = "") -> Record:
    """Return the record of a job in doubt whose answer no client waits for, other than perhaps the client `own`.

    A job that was settled as unpaid, and not submitted since, counts as in doubt: that may have been a mistake. Raises
    InvalidInput if there is no such record.
    """
    record = await store.get(key)
    if record is None:
        raise InvalidInput(f"the store contains no job with the key {key!r}")
    if not can_be_settled(record):
        raise InvalidInput(f"the job {key!r} is not in doubt: its status is {record.snapshot.status}")
    if record.answer_pending and record.owner != own and not await owners.is_gone(record):
        raise InvalidInput(f"the job {key!r} belongs to a client that is alive: its answer may still come")
    return record


def can_be_settled(record: Record) -> bool:
    """Whether a job is in doubt, or was settled as unpaid and can be settled otherwise."""
    return record.in_doubt or record.settled_unpaid


def settled_paid(record: Record) -> bool:
    """Whether a doubt was settled as "paid, and its result is lost".

    The history tells, not the reason, which may be a text of the provider. A later attempt of the same job that the
    provider accepted, and that failed there, has the time of its acceptance.
    """
    ended = record.snapshot.status is Status.FAILED and record.accepted_at is None
    return ended and any(is_settlement(note, "paid") for note in record.history)


async def write_settlement(store: JobStore, record: Record, *, paid: bool) -> Record:
    """Settle a job in doubt as paid or unpaid; returns its record. Raises InvalidInput if it was changed meanwhile."""
    if not paid and record.settled_unpaid:
        raise InvalidInput(f"the job {record.key!r} is not in doubt: it was settled as unpaid")
    now = time.time()
    if paid:
        ended = record.advance(Snapshot(None, Status.FAILED, reason=_SETTLED_PAID)).note(settlement("paid", now))
        return await write(store, evolve(ended, acknowledged=True), "it was paid and its result is lost")
    # the job is as old as it was: only its next submission begins anew
    settled = record.take_over("", new_epoch(), record.created_at, record.callback, settlement("unpaid", now))
    return await write(store, settled, "it was not paid, and its key is free")


async def write(store: JobStore, settled: Record, outcome: str) -> Record:
    """Put the record of a settled job and log the outcome; raises InvalidInput if the stored one was changed."""
    if not settled.is_written(await store.put(settled)):
        raise InvalidInput(f"the job {settled.key!r} was changed meanwhile: look at it again")
    snapshot = settled.snapshot
    facts = {"job": settled.key, "provider": settled.provider, "task_id": snapshot.task_id, "status": snapshot.status}
    write_event(JOB_SETTLED, {**facts, "reason": outcome})
    return settled
