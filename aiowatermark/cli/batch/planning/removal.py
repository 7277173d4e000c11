"""Removal: how `remove` plans its inputs and submits them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from functools import partial
from typing import Any

from attrs import frozen

from .... import InvalidInput, JobHandle, Media, Provider, Source
from ...console.progress import ProgressRow
from ...console.texts import shown_name
from ..advice import again_text
from ..batch import BatchContext, BatchWork
from ..items import BatchItem, PaidAndLost, Plan
from ..manifest import Work
from ..output_names import Target, is_link
from .acceptance import AcceptanceCheck
from .elsewhere import describe_counts, describe_elsewhere
from .inputs import InputReader
from .job_keys import KeyMaker, new_key
from .masks import check_mask_size, check_provider_takes, load_mask
from .plan_texts import describe_new, describe_plans, describe_stdin
from .planner import Planner
from .prices import Prices, cost_group_of, describe_cost, find_prices

NOTHING_ON_STDIN = "there was no input on stdin: - reads a path, a pattern or a URL from each line"


@frozen
class Removal:
    """What `remove` was asked to do with which inputs.

    `uses_shared_store`: the store is not that of the output folder, so that a new folder says nothing about its jobs.
    """

    provider: Provider
    arguments: Sequence[str]
    mask: str | None
    options: Mapping[str, Any]
    recursive: bool = False
    again: bool = False
    can_serve_files: bool = False
    uses_shared_store: bool = False

    async def prepare(self, context: BatchContext) -> BatchWork:
        """Plan the inputs, as far as they can be known beforehand, and say what is done anew."""
        outputs = context.outputs
        reader = InputReader(outputs.folder, self.recursive, outputs.uses_manifest)
        planner, keys = None, await self.make_keys()
        if context.store is not None:
            planner = Planner(keys, outputs, context.store, self.again)
        action = RemoveAction(context, keys.mask, self.options, planner)
        at_end = None if planner is None else planner.end_rounds
        prices = await find_prices(self.provider, self.options, outputs)
        if "-" in self.arguments:
            context.display.say(describe_stdin(prices))
            if self.again:
                context.display.say("--again pays anew for each line of stdin that is done, has failed or is in doubt")
            at_end = None if planner is None else partial(_end, planner, context)
            nothing = NOTHING_ON_STDIN
            return BatchWork(action, self.read_items(reader, context), at_end=at_end, nothing=nothing, needs_items=True)
        items = [item async for item in self.read_items(reader)]
        _say_skipped(context, reader)
        await check_mask_size(keys.mask, items)
        if planner is not None and (outputs.used_before or self.uses_shared_store or self.again):
            context.display.notice(f"comparing {len(items)} files with earlier runs")
            await planner.plan_all(items, context.stop)
            context.display.notice("")
            await self._mark_refused(items, keys.mask)
            self._say_plan(context, items, prices)
        else:
            await self._say_first_plan(context, items, keys.mask, prices)
        pending = sum(item.plan is not Plan.DONE for item in items)
        nothing = f"There are no images or videos in {', '.join(map(shown_name, self.arguments))}."
        return BatchWork(action, _iterate(items), len(items), pending, at_end, nothing)

    async def make_keys(self) -> KeyMaker:
        """Return what makes keys; raises InvalidInput if the mask cannot be read, is missing or is not accepted."""
        check_provider_takes(self.mask, self.provider, self.options)
        # all jobs use this mask: if it cannot be read, no job may start
        mask = None if self.mask is None else await load_mask(self.mask)
        return KeyMaker(self.provider, mask, self.options)

    async def read_items(
        self, reader: InputReader, context: BatchContext | None = None
    ) -> AsyncGenerator[BatchItem, None]:
        """Yield the inputs; with a context, what was left out is said at the end."""
        async for found in reader.read(self.arguments):
            yield BatchItem(found.source, found.identity, found.target, found.problem)
        if context is not None:
            _say_skipped(context, reader)

    def _say_plan(self, context: BatchContext, items: Sequence[BatchItem], prices: Prices) -> None:
        """Say what was found, and what is paid now: what is new, or with --again the jobs that are paid anew."""
        if items and not (self.again and all(item.plan is Plan.NEW for item in items)):
            context.display.say(describe_plans(items, None if self.again else prices))
        if done_elsewhere := describe_elsewhere(items):
            context.display.say(done_elsewhere)
        if self.again:
            cost = describe_cost(prices, items, at=f" at {self.provider.display_name}")
            context.display.say(f"--again pays anew: {cost}")

    async def _say_first_plan(
        self, context: BatchContext, items: Sequence[BatchItem], mask: Media | None, prices: Prices
    ) -> None:
        """Say how many inputs there are, as far as that is known without reading all of their content."""
        check = self._acceptance(mask)
        context.display.notice(f"looking at {len(items)} files")
        refused = {} if check is None else await check.check(items)
        context.display.notice("")
        new = [item for item in items if item not in refused and not item.problem]
        words = [describe_new(new, prices)] if new else []
        words += [f"{len(items) - len(new)} refused"] if len(new) < len(items) else []
        if words:
            context.display.say(", ".join(words))

    def _acceptance(self, mask: Media | None) -> AcceptanceCheck | None:
        """Return what finds out what the client will refuse; None if the mask would have to be downloaded."""
        if self.mask is not None and is_link(self.mask):
            return None
        return AcceptanceCheck(self.provider, mask, self.options, self.can_serve_files)

    async def _mark_refused(self, items: Sequence[BatchItem], mask: Media | None) -> None:
        """Plan as refused what the client will refuse; each worker finds the reason again, before anything is sent."""
        check = self._acceptance(mask)
        new = [item for item in items if item.plan is Plan.NEW]
        for item in {} if check is None else await check.check(new):
            item.plan = Plan.REFUSED


@frozen
class RemoveAction:
    """Submits each item; without a planner, each under a key of its own."""

    context: BatchContext
    mask: Media | None
    options: Mapping[str, Any]
    planner: Planner | None

    async def name(self, item: BatchItem) -> None:
        """Set the item's key: the same in every run, unless nothing is remembered."""
        if self.planner is not None:
            await self.planner.plan(item)
        elif item.problem:
            raise InvalidInput(item.problem)
        else:
            item.key = new_key(item.target.stem)
        item.cost_group = cost_group_of(self.context.client.provider, self.options, item.source)

    async def start(self, item: BatchItem, row: ProgressRow) -> JobHandle:
        """Submit the item, or join the job of another run.

        Raises SubmissionInDoubt if that may have been paid, and PaidAndLost if it was, under whichever account.
        """
        if item.plan is Plan.LOST:
            raise PaidAndLost
        if item.plan is Plan.OPEN:  # the provider has it, whatever it says of further submissions
            return await self._submit(item, row)
        return await self.context.gate.submit(item.key, lambda: self._submit(item, row))

    async def _submit(self, item: BatchItem, row: ProgressRow) -> JobHandle:
        media: Source = item.source
        if self.planner is not None:
            media = await self.planner.keys.media_of(item.source, item.base)
        await self.context.outputs.register(item.key, item.identity, item.target)
        if item.content and not item.elsewhere:
            provider = self.context.client.provider
            await self.context.outputs.note_work(Work(item.content, item.base, provider.account, provider.base_url))
        submit = self.context.client.submit
        return await submit(media, mask=self.mask, key=item.key, progress=row.on_upload, **self.options)

    async def is_unsent(self, item: BatchItem) -> bool:
        """Whether the store has no job of the item, or one that was not sent."""
        return await self.context.gate.is_unsent(item.key)

    async def destinations(self, item: BatchItem) -> list[tuple[str, Target]]:
        """Return the input itself."""
        return [(item.identity, item.target)]


async def _iterate(items: Sequence[BatchItem]) -> AsyncGenerator[BatchItem, None]:
    for item in items:
        yield item


async def _end(planner: Planner, context: BatchContext) -> None:
    """End a run over lines of stdin: only now it is known what other accounts have done."""
    await planner.end_rounds()
    again = again_text(planner.paid_by_again, planner.planned)
    if done_elsewhere := describe_counts(planner.done_elsewhere, again):
        context.display.say(done_elsewhere)


def _say_skipped(context: BatchContext, reader: InputReader) -> None:
    if text := reader.describe_skipped():
        context.display.say(text)
