"""`aiowatermark remove`: files and links through a provider, a few at a time, into a folder."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from attrs import frozen

from ... import JobHandle, as_media
from ..batch.batch import BatchContext, BatchLimits, run_batch
from ..batch.inputs import read_inputs
from ..batch.job_keys import KEY_PARTS, identity, readable, stable_key
from ..batch.output_folder import stem_and_suffix
from ..batch.report import BatchRequest
from ..batch.workers import BatchAction, BatchItem
from ..console.progress import ProgressRow
from ..console.runner import run
from ..options.callbacks import CallbackOptions, callback_options
from ..options.providers import base_url_option, parse_options, provider_from_env, provider_option
from ..options.store import store_option

folder_option = click.option(
    "-o", "--output", "folder", required=True, metavar="DIR", type=click.Path(path_type=Path), help="Where results go."
)
json_option = click.option(
    "--json", "as_json", is_flag=True, help="One JSON object a line on stdout; the rest on stderr."
)
jobs_option = click.option(
    "--jobs", default=16, show_default=True, type=click.IntRange(1, 1000), help="Jobs in flight at once."
)
deadline_option = click.option(
    "--deadline",
    default=600.0,
    show_default=True,
    metavar="SECONDS",
    type=click.FloatRange(0, min_open=True),
    help="How long a job may take.",
)


@frozen
class _RemoveAction:
    """What is to be done to every item."""

    context: BatchContext
    mask: str | None
    mask_identity: tuple[str, str] | None
    options: Mapping[str, Any]

    async def name(self, item: BatchItem) -> None:
        """With a store, the same name in every run; else one that nobody else has."""
        item.key = f"{readable(item.stem)}-{uuid.uuid4().hex[:16]}"
        if self.context.store is not None:
            provider = self.context.client.provider
            media = await identity(item.source)
            item.key = stable_key(provider, item.stem, media, self.mask_identity, self.options)

    async def start(self, item: BatchItem, row: ProgressRow) -> JobHandle:
        """Submit it, unless an earlier run did: then its job is joined."""
        await self.context.known(item.key)
        submit = self.context.client.submit
        return await submit(item.source, mask=self.mask, key=item.key, progress=row.on_upload, **self.options)


@click.command(epilog=KEY_PARTS)
@click.argument("files", nargs=-1, required=True)
@provider_option
@folder_option
@click.option("--mask", metavar="FILE", help="White where something is to go, black elsewhere; one for all files.")
@store_option
@callback_options
@jobs_option
@deadline_option
@click.option("--option", "given", multiple=True, metavar="NAME=VALUE", help="An option of the provider's own.")
@base_url_option
@json_option
def remove(  # noqa: PLR0917 - click calls it by name
    files: Sequence[str],
    name: str,
    folder: Path,
    mask: str | None,
    store: str | None,
    callbacks: CallbackOptions,
    jobs: int,
    deadline: float,
    given: Sequence[str],
    base_url: str | None,
    as_json: bool,  # noqa: FBT001 - click's way
) -> None:
    """Remove the marks from FILES: paths, https links, or - for paths on stdin, one a line.

    Results are written as NAME-clean into the folder; nothing is overwritten. A file that fails stops no other.

    With --store a run that was killed is continued by the same command: what is done is not done again, what is under
    way is joined, what may have been paid is listed and not sent again.

    Exits with 0 when all are done, 1 when some failed or Ctrl-C came, 2 when nothing could start.
    """
    provider = provider_from_env(name, base_url)
    options = parse_options(provider, given)
    total = None if "-" in files else len(dict.fromkeys(files))
    errand = BatchRequest(name, provider.display_name, folder, base_url, as_json, total=total, store=store)

    async def work(stop: asyncio.Event) -> int:
        known = await _mask_identity(mask, store)

        def begun(means: BatchContext) -> tuple[BatchAction, AsyncIterator[BatchItem]]:
            return _RemoveAction(means, mask, known, options), _items(files)

        return await run_batch(errand, provider, begun, stop, pace=BatchLimits(jobs, deadline), callbacks=callbacks)

    run(work)


async def _mask_identity(mask: str | None, store: str | None) -> tuple[str, str] | None:
    """One mask for all: where it is missing, nothing starts."""
    if mask is None:
        return None
    await as_media(mask).measure()
    return await identity(mask) if store is not None else None


async def _items(files: Sequence[str]) -> AsyncGenerator[BatchItem, None]:
    """Each file once, as there is room for it."""
    seen: set[str] = set()
    async for source in read_inputs(files):
        if source not in seen:
            seen.add(source)
            yield BatchItem(source, *stem_and_suffix(source))
