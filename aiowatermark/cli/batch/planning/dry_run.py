"""Dry run: what a run would do, what would be refused and why, and the cost. Sends and writes nothing."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import click
from attrs import frozen

from .... import InvalidInput, JobStore
from ...advice.other_accounts import OpenElsewhere
from ...console.notices import show_notices
from ...console.progress import ProgressDisplay
from ...console.runner import EXIT_OK, EXIT_SOME_FAILED
from ...console.texts import say, shown_name
from ...options.store import is_network_url, store_to_read
from ..advice import Advice
from ..batch import describe_rate
from ..items import BatchItem, Plan
from ..json_lines import plan_line
from ..output_folder import OutputFolder
from ..request import BatchRequest
from .acceptance import AcceptanceCheck
from .elsewhere import describe_elsewhere
from .inputs import InputReader
from .masks import check_mask_size
from .plan_texts import describe_plans
from .planner import Planner
from .prices import describe_cost, find_prices
from .removal import NOTHING_ON_STDIN, Removal


async def run_dry(removal: Removal, request: BatchRequest) -> int:
    """Print what the run would do; return EXIT_SOME_FAILED if an input would not be done.

    Raises InvalidInput if nothing could be started, as for an output folder in which nothing can be written.
    """
    await asyncio.to_thread(OutputFolder(request.folder).check)
    reader = InputReader(request.folder, removal.recursive, request.store is not None)
    provider = removal.provider
    display = ProgressDisplay(sys.stderr if request.as_json else sys.stdout, None)
    with show_notices(display, provider.display_name):
        items = [item async for item in removal.read_items(reader)]
        if not items and "-" in removal.arguments:
            raise InvalidInput(NOTHING_ON_STDIN)
        async with _open_existing(request) as (outputs, store):
            keys = await removal.make_keys()
            await check_mask_size(keys.mask, items)
            planner = Planner(keys, outputs, store, removal.again, dry_run=True)
            await planner.plan_all(items, asyncio.Event())
            check = AcceptanceCheck(provider, keys.mask, removal.options, removal.can_serve_files)
            refusals = await check.check(items)
            for item in refusals:
                item.plan = Plan.REFUSED
            cost = describe_cost(await find_prices(provider, removal.options, outputs), items)
    texts = (describe_elsewhere(items), reader.describe_skipped(), describe_rate(provider))
    notes = [text for text in texts if text]
    _DryRunReport(request, items, refusals, cost, notes).print()
    return EXIT_OK if all(item.plan in _DONE_BY_RUN for item in items) else EXIT_SOME_FAILED


@asynccontextmanager
async def _open_existing(request: BatchRequest) -> AsyncIterator[tuple[OutputFolder, JobStore | None]]:
    """Open the manifest and the store of earlier runs, as far as there are any."""
    outputs = OutputFolder(request.folder, uses_manifest=request.store is not None)
    store: JobStore | None = None
    try:
        if request.store is not None:
            await asyncio.to_thread(outputs.open_existing)
            if is_network_url(request.store) or await asyncio.to_thread(Path(request.store).exists):
                store = store_to_read(request.store)
        if store is None:
            yield outputs, None
        else:
            async with store:
                yield outputs, store
    finally:
        outputs.close()


_DONE_BY_RUN = {Plan.DONE, Plan.OPEN, Plan.NEW}
"""Plans of what is done when the run has ended, as far as that can be foreseen."""


@frozen(eq=False)
class _DryRunReport:
    request: BatchRequest
    items: Sequence[BatchItem]
    refusals: Mapping[BatchItem, str]
    cost: str
    notes: Sequence[str]

    def print(self) -> None:
        if self.request.as_json:
            for item in self.items:
                click.echo(plan_line(item, self.refusals.get(item)))
        self._say(f"Dry run: {describe_plans(self.items)}")
        for note in self.notes:
            self._say(note)
        refused = [item for item in self.items if item in self.refusals and not isinstance(item.error, OpenElsewhere)]
        if refused:
            self._say("Would be refused:")
        for item in refused:
            self._say(f"  {shown_name(item.source)}: {self.refusals[item]}")
        self._print_not_done()
        self._say(f"To be paid: {self.cost}")
        self._say("Nothing was sent.")

    def _print_not_done(self) -> None:
        """Print what an earlier run left and this one would report again, with what to do about it."""
        advice = Advice(self.request, on_stderr=self.request.as_json)
        advice.about_other_accounts(self.items, len(self.items))
        advice.about_doubts(self._planned(Plan.IN_DOUBT))
        advice.about_lost(self._planned(Plan.LOST))
        advice.about_failed_jobs(self._planned(Plan.FAILED))

    def _planned(self, plan: Plan) -> list[BatchItem]:
        return [item for item in self.items if item.plan is plan]

    def _say(self, text: str) -> None:
        say(text, err=self.request.as_json)
