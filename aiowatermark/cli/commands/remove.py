"""Command `remove`: removes the watermarks of files and URLs through a provider."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from attrs import frozen

from ... import JobHandle, Provider, as_media
from ..batch.batch import BatchContext, BatchLimits, run_batch
from ..batch.inputs import read_inputs
from ..batch.job_keys import KEY_HELP, identify, readable_name, stable_key
from ..batch.output_folder import stem_and_suffix
from ..batch.report import BatchRequest
from ..batch.workers import BatchAction, BatchItem
from ..console.progress import ProgressRow
from ..console.runner import run
from ..options.callbacks import CallbackOptions, callback_options
from ..options.providers import base_url_option, parse_options, provider_from_env, provider_option
from ..options.report import HtmlReport, report_option
from ..options.store import store_option

folder_option = click.option(
    "-o",
    "--output",
    "folder",
    required=True,
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Folder for the results; it is created if it does not exist.",
)
json_option = click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print one JSON object per job on stdout; everything else goes to stderr.",
)
jobs_option = click.option(
    "--jobs",
    default=16,
    show_default=True,
    type=click.IntRange(1, 1000),
    help="Maximum number of concurrent jobs.",
)
deadline_option = click.option(
    "--deadline",
    default=600.0,
    show_default=True,
    metavar="SECONDS",
    type=click.FloatRange(0, min_open=True),
    help="Maximum time to wait for a job. A job that takes longer can be fetched later with `aiowatermark resume`.",
)


@frozen
class _RemoveAction:
    """Submits each item."""

    context: BatchContext
    mask: str | None
    mask_identity: tuple[str, str] | None
    options: Mapping[str, Any]

    async def name(self, item: BatchItem) -> None:
        """Set the item's key: with a store the same in every run, else a unique one."""
        if self.context.store is None:
            item.key = f"{readable_name(item.stem)}-{uuid.uuid4().hex[:16]}"
            return
        provider = self.context.client.provider
        media = await identify(item.source)
        item.key = stable_key(provider, item.stem, media, self.mask_identity, self.options)

    async def start(self, item: BatchItem, row: ProgressRow) -> JobHandle:
        """Submit the item, or join the job of an earlier run; raise SubmissionInDoubt if that may have been paid."""
        await self.context.find_record(item.key)
        submit = self.context.client.submit
        return await submit(item.source, mask=self.mask, key=item.key, progress=row.on_upload, **self.options)


@click.command(epilog=KEY_HELP)
@click.argument("files", nargs=-1, required=True)
@provider_option
@folder_option
@click.option(
    "--mask",
    metavar="FILE",
    help="Image that marks what to remove: white is removed, black is kept. The same mask is used for all FILES.",
)
@store_option
@callback_options
@jobs_option
@deadline_option
@click.option(
    "--option",
    "option_texts",
    multiple=True,
    metavar="NAME=VALUE",
    help="Option of the provider's API; may be given several times.",
)
@base_url_option
@report_option
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
    option_texts: Sequence[str],
    base_url: str | None,
    report: HtmlReport | None,
    as_json: bool,  # noqa: FBT001 - click's way
) -> None:
    """Remove watermarks from FILES: paths, https URLs, or - to read paths from stdin, one per line.

    Each result is saved as NAME-clean in the output folder; existing files are never overwritten. A file that fails
    does not stop the others.

    With --store, a run that was interrupted is continued by repeating the same command: saved results are skipped,
    running jobs are waited for, and jobs that may have been paid are listed and not submitted again.

    Exit status: 0 if all files are done, 1 if some failed or Ctrl-C was pressed, 2 if nothing could be started.
    """
    provider = provider_from_env(name, base_url)
    options = parse_options(provider, option_texts)
    total = None if "-" in files else len(dict.fromkeys(files))
    request = BatchRequest(name, provider.display_name, folder, base_url, as_json, total, store, report)
    _print_note_on_files(provider, files, callbacks)

    async def work(stop: asyncio.Event) -> int:
        mask_identity = await _identify_mask(mask, store)

        def prepare(context: BatchContext) -> tuple[BatchAction, AsyncIterator[BatchItem]]:
            return _RemoveAction(context, mask, mask_identity, options), _read_items(files)

        limits = BatchLimits(jobs, deadline)
        return await run_batch(request, provider, prepare, stop, batch_limits=limits, callbacks=callbacks)

    run(work)


def _print_note_on_files(provider: Provider, files: Sequence[str], callbacks: CallbackOptions) -> None:
    """Print what a provider that accepts URLs only needs for files; each file's own error cannot name the option."""
    if not provider.capabilities.files and callbacks.url is None and not all("://" in file for file in files):
        click.echo(
            f"Note: {provider.display_name} accepts URLs only. To send files, give --callback-url: "
            "they are then downloaded from this machine.",
            err=True,
        )


async def _identify_mask(mask: str | None, store: str | None) -> tuple[str, str] | None:
    """Return the mask's identity if keys need it; raise InvalidInput if the mask cannot be read."""
    if mask is None:
        return None
    # all jobs use this mask: if it cannot be read, no job may start
    await as_media(mask).measure()
    return await identify(mask) if store is not None else None


async def _read_items(files: Sequence[str]) -> AsyncGenerator[BatchItem, None]:
    """Yield an item for each distinct input."""
    seen: set[str] = set()
    async for source in read_inputs(files):
        if source not in seen:
            seen.add(source)
            yield BatchItem(source, *stem_and_suffix(source))
