"""Command `resume`: fetches the results of earlier submissions by token or key; it submits nothing."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from pathlib import Path

import click
from attrs import frozen

from ... import InvalidInput, JobHandle
from ...tokens import PREFIXES
from ..batch.batch import BatchContext, BatchLimits, run_batch
from ..batch.inputs import read_inputs
from ..batch.report import BatchRequest
from ..batch.workers import BatchAction, BatchItem
from ..console.progress import ProgressRow
from ..console.runner import run
from ..options.callbacks import CallbackOptions, callback_options
from ..options.providers import base_url_option, exit_with_error, provider_from_env, provider_option
from ..options.store import existing_store_from, existing_store_option
from .remove import deadline_option, folder_option, jobs_option, json_option

# the digest at the end of a key of `remove`: the rest is the name of the file
_KEY_DIGEST = re.compile(r"-[0-9a-f]{16}$")


@frozen
class _ResumeAction:
    """Resumes the job of each item."""

    context: BatchContext

    async def name(self, item: BatchItem) -> None:
        """Set key and stem of an item that was given by its key; a token is decoded by `start`."""
        if not item.source.startswith(PREFIXES):
            item.key, item.stem = item.source, _KEY_DIGEST.sub("", item.source)

    async def start(self, item: BatchItem, row: ProgressRow) -> JobHandle:  # noqa: ARG002 - nothing is uploaded
        """Resume the job, by the token or by the record in the store."""
        handle = self.context.client.resume(await self._find_token(item) if item.key else item.source)
        item.key, item.stem = handle.key, _KEY_DIGEST.sub("", handle.key)
        return handle

    async def _find_token(self, item: BatchItem) -> str:
        if self.context.store is None:
            raise InvalidInput("not a valid job token; if it is a key, give the --store that contains the job")
        record = await self.context.find_record(item.key)
        if record is None:
            raise InvalidInput("the store contains no job with this key")
        if record.unsent:
            raise InvalidInput(
                "the upload was not complete, so nothing was paid: repeat the `aiowatermark remove` command"
            )
        return record.token


@click.command()
@click.argument("tokens", nargs=-1, metavar="[TOKEN|KEY]...")
@provider_option
@folder_option
@existing_store_option
@click.option("--all", "everything", is_flag=True, help="All unfinished jobs of this account in the store.")
@callback_options
@jobs_option
@deadline_option
@base_url_option
@json_option
def resume(  # noqa: PLR0917 - click calls it by name
    tokens: Sequence[str],
    name: str,
    folder: Path,
    store: str | None,
    everything: bool,  # noqa: FBT001 - click's way
    callbacks: CallbackOptions,
    jobs: int,
    deadline: float,
    base_url: str | None,
    as_json: bool,  # noqa: FBT001 - click's way
) -> None:
    """Fetch the results of jobs that were submitted before. Nothing is submitted, so nothing is paid.

    A job is given by its TOKEN, which `aiowatermark remove` and errors print, or by its KEY in the --store; - reads
    tokens or keys from stdin, one per line.

    --all covers unfinished jobs only. To fetch the result of a finished job that was not saved, give its key or repeat
    the `aiowatermark remove` command.

    Exit status: 0 if all jobs are done, 1 if some failed or Ctrl-C was pressed, 2 if nothing could be started.
    """
    if everything == bool(tokens):
        exit_with_error("give the tokens or keys of jobs, or --all with the --store that contains the jobs")
    if everything or store is not None:
        store = existing_store_from(store)
    provider = provider_from_env(name, base_url)
    distinct = list(dict.fromkeys(tokens))
    total = None if everything or "-" in distinct else len(distinct)
    request = BatchRequest(name, provider.display_name, folder, base_url, as_json, total=total, store=store)

    def prepare(context: BatchContext) -> tuple[BatchAction, AsyncIterator[BatchItem]]:
        return _ResumeAction(context), _unfinished_items(context) if everything else _read_items(distinct)

    async def work(stop: asyncio.Event) -> int:
        limits = BatchLimits(jobs, deadline)
        return await run_batch(request, provider, prepare, stop, batch_limits=limits, callbacks=callbacks)

    run(work)


async def _read_items(tokens: Sequence[str]) -> AsyncGenerator[BatchItem, None]:
    async for token in read_inputs(tokens):
        yield BatchItem(token, "media", "")


async def _unfinished_items(context: BatchContext) -> AsyncGenerator[BatchItem, None]:
    """Yield an item for each unfinished job of this account."""
    provider = context.client.provider
    if context.store is None:
        return
    async for record in context.store.unfinished():
        # a record without an account may be of any: the provider refuses the query if it is another one's
        if record.provider == provider.name and record.account in {"", provider.account}:
            yield BatchItem(record.key, "media", "")
