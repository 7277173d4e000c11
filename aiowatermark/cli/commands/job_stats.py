"""Option `jobs --stats`: what a store holds, in a few numbers."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import NoReturn

import click

from ...redaction import short_text
from ...stores.summary import JobGroup, StoreSummary, summarize
from ..console.runner import EXIT_OK, run
from ..options.store import store_to_read

_ROW = "{:<14}  {:<14}  {:>8}  {:>8}  {:>8}  {:>10}"
_HEADER = _ROW.format("provider", "state", "jobs", "oldest", "newest", "charged")
_NAME_LENGTH = 14
_META = "aiowatermark.stats"

stats_option = click.option(
    "--stats",
    is_flag=True,
    expose_value=False,
    callback=lambda context, _, value: context.meta.update({_META: value}),
    help="Show how many jobs there are by provider and state, how old they are, and what they cost.",
)


def wants_stats(context: click.Context) -> bool:
    """Whether `--stats` was given."""
    return bool(context.meta.get(_META))


def show_stats(location: str, *, as_json: bool) -> NoReturn:
    """Print the summary of a store as a table, or as one JSON object, and exit."""

    async def work(_: object) -> int:
        async with store_to_read(location) as store:
            summary = await summarize(store)
        click.echo(_json(summary) if as_json else "\n".join(_table(summary)))
        return EXIT_OK

    run(work)


def _json(summary: StoreSummary) -> str:
    fields = ("provider", "state", "count", "oldest", "newest", "charged", "charged_jobs")
    groups = [{name: getattr(group, name) for name in fields} for group in summary.groups]
    return json.dumps({"v": 1, "complete": summary.complete, "groups": groups})


def _table(summary: StoreSummary) -> list[str]:
    if not summary.groups:
        return ["The store contains no jobs."]
    rows = [_row(group.provider, group.state, [group]) for group in summary.groups]
    known = sum(group.charged_jobs for group in summary.groups)
    lines = [click.style(_HEADER, dim=True), *rows, _row("all", "", summary.groups)]
    if 0 < known < (total := sum(group.count for group in summary.groups)):
        lines.append(f"What a job cost is known of {known} of {total} jobs.")
    return lines


def _row(provider: str, state: str, groups: Sequence[JobGroup]) -> str:
    oldest = [group.oldest for group in groups if group.oldest is not None]
    newest = [group.newest for group in groups if group.newest is not None]
    charged = sum(group.charged for group in groups)
    return _ROW.format(
        short_text(provider, _NAME_LENGTH),
        short_text(state.replace("_", " "), _NAME_LENGTH),
        sum(group.count for group in groups),
        _age(min(oldest)) if oldest else "-",
        _age(max(newest)) if newest else "-",
        f"{charged:g}" if any(group.charged_jobs for group in groups) else "-",
    )


def _age(created_at: float) -> str:
    """Return how long ago that was, in the largest unit of which it is at least two."""
    seconds = max(0.0, time.time() - created_at)
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
