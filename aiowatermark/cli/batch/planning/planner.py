"""Planner: what the same command finds of its items in the store and the output folder, before anything is sent.

    the output folder   the store                                 plan
    has the result      -                                         DONE      skipped
    -                   finished, or at the provider              OPEN      waited for and fetched, at no further cost
    -                   being submitted by a running command      OPEN      shared with that command
    -                   failed at the provider                    FAILED    reported; not paid again
    -                   settled as paid                           LOST      reported; not paid again
    -                   sent, and no client waits for the answer  IN_DOUBT  reported; not sent again
    -                   nothing, or an upload that ended early    NEW       submitted

What is NEW may have been done under another account or base URL: see elsewhere.

With --again what is DONE, FAILED, LOST or IN_DOUBT becomes NEW in another round: its key gets the number of the round.
The rounds of a run are open until it has come to its end, so that the same command continues a run that was interrupted
and does not begin another round.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence

from attrs import define, field

from .... import InvalidInput, JobStore, Status, WatermarkError
from ....client.engine.settle import settled_paid
from ....client.engine.submission.claims import owners_of
from ....jobs import Record
from ...advice.other_accounts import OpenElsewhere
from ..advice import is_paid_by_again
from ..items import BatchItem, Plan
from ..output_folder import OutputFolder
from .elsewhere import find_elsewhere
from .job_keys import KeyMaker, key_in_round

_CONCURRENT = 16


@define(eq=False)
class Planner:
    """Plans the items of one run; without a store, nothing was done before.

    `planned` counts the items that were passed to `plan`, and `paid_by_again` those that --again would submit.

    `done_elsewhere` counts the items that other accounts have done, by the descriptions of these.
    """

    keys: KeyMaker
    outputs: OutputFolder
    store: JobStore | None
    again: bool = False
    dry_run: bool = False
    done_elsewhere: Counter[str] = field(factory=Counter, init=False)
    planned: int = field(default=0, init=False)
    paid_by_again: int = field(default=0, init=False)
    _open_rounds: set[str] = field(factory=set, init=False)

    async def plan(self, item: BatchItem) -> None:
        """Set the key of an item, and what is to be done with it; raises InvalidInput if it cannot be read."""
        if item.plan is not None:
            return
        self.planned += 1
        try:
            await self._plan(item)
        except OpenElsewhere:
            self.paid_by_again += 1
            raise
        self.paid_by_again += is_paid_by_again(item)

    async def _plan(self, item: BatchItem) -> None:
        if item.problem:
            raise InvalidInput(item.problem)
        work = await self.keys.work_of(item.source)
        item.base, item.content = work.base, work.content
        number, again_open = await self.outputs.round_of(item.base)
        item.key = key_in_round(item.base, number)
        plan = await self._find(item)
        if again_open or self.again:
            self._open_rounds.add(item.base)
        elif plan is Plan.NEW:
            plan = await find_elsewhere(item, work, self.outputs, self.store, self.keys.provider)
        if self.again and not again_open:
            plan = await self._begin_round(item, plan)
        item.plan = plan
        if item.elsewhere:
            self.done_elsewhere[item.elsewhere] += 1

    async def plan_all(self, items: Sequence[BatchItem], stop: asyncio.Event) -> None:
        """Plan items; one that cannot be read becomes REFUSED, and its worker finds the reason again."""
        pending = iter(items)

        async def work() -> None:
            for item in pending:
                if stop.is_set():
                    return
                try:
                    await self.plan(item)
                except (WatermarkError, OSError, ValueError) as error:
                    item.error = error

        async with asyncio.TaskGroup() as group:
            for _ in range(_CONCURRENT):
                group.create_task(work())

    async def end_rounds(self) -> None:
        """Note that the run has come to its end, so that --again begins another round."""
        if not self.dry_run:
            await self.outputs.end_rounds(self._open_rounds)

    async def _begin_round(self, item: BatchItem, plan: Plan) -> Plan:
        """Return the plan of an item that --again pays anew, if it is not new or open anyway."""
        anew = plan not in {Plan.NEW, Plan.OPEN}
        if not self.dry_run:
            item.key = key_in_round(item.base, await self.outputs.begin_round(item.base, anew=anew))
        if anew:
            item.output, item.saved_before, item.ended_before = None, False, False
        return Plan.NEW if anew else plan

    async def _find(self, item: BatchItem) -> Plan:
        item.output = await self.outputs.find_saved(item.key, item.identity)
        if item.output is not None:
            item.saved_before = True
            return Plan.DONE
        record = None if self.store is None else await self.store.get(item.key)
        if record is None or record.unsent:
            return Plan.NEW
        plan = await self._plan_of(record)
        item.ended_before = record.snapshot.status.terminal or plan is Plan.IN_DOUBT
        return plan

    async def _plan_of(self, record: Record) -> Plan:
        if record.snapshot.status is Status.FAILED:
            return Plan.LOST if settled_paid(record) else Plan.FAILED
        if record.in_doubt and not (record.answer_pending and await self._has_owner(record)):
            return Plan.IN_DOUBT
        return Plan.OPEN

    async def _has_owner(self, record: Record) -> bool:
        """Whether a running command works on the job."""
        return self.store is not None and not await owners_of(self.store).is_gone(record)
