"""`aiowatermark resume`: jobs of before taken up again, by token or by key; nothing is submitted."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from pathlib import Path

import click
from attrs import frozen

from ... import InvalidInput, JobHandle, Status
from ..batch.batch import BatchContext, BatchLimits, run_batch
from ..batch.inputs import read_inputs
from ..batch.report import BatchRequest
from ..batch.workers import BatchAction, BatchItem
from ..console.progress import ProgressRow
from ..console.runner import run
from ..options.callbacks import CallbackOptions, callback_options
from ..options.providers import base_url_option, provider_from_env, provider_option, refuse
from ..options.store import existing_store_from, needed_store_option
from .remove import deadline_option, folder_option, jobs_option, json_option

_TOKEN_MARK = re.compile(r"-[0-9a-f]{16}$")
_TOKEN = "aw1."  # noqa: S105 - how tokens begin


@frozen
class _ResumeAction:
    """Takes jobs up."""

    context: BatchContext

    async def name(self, item: BatchItem) -> None:
        """The job's key, and its result named after it."""
        if not item.source.startswith(_TOKEN):
            item.key, item.stem = item.source, _TOKEN_MARK.sub("", item.source)

    async def start(self, item: BatchItem, row: ProgressRow) -> JobHandle:  # noqa: ARG002 - nothing is uploaded
        """Watch it again, as the token or the store knows it."""
        handle = self.context.client.resume(await self._token(item) if item.key else item.source)
        item.key, item.stem = handle.key, _TOKEN_MARK.sub("", handle.key)
        return handle

    async def _token(self, item: BatchItem) -> str:
        if self.context.store is None:
            raise InvalidInput("this is no token of a job; a key needs the --store that knows it")
        record = await self.context.known(item.key)
        if record is None:
            raise InvalidInput("the store knows no job of this key")
        if record.snapshot.status is Status.UPLOADING:
            raise InvalidInput("it was never sent whole and nothing was paid: run `aiowatermark remove` again")
        return record.token


@click.command()
@click.argument("tokens", nargs=-1, metavar="[TOKEN|KEY]...")
@provider_option
@folder_option
@needed_store_option
@click.option("--all", "everything", is_flag=True, help="All jobs of this account that the store knows as unfinished.")
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
    """Fetch the results of jobs by their TOKENs, as `remove` or an error gave them, or by KEYs that a store knows.

    - stands for tokens or keys on stdin, one a line. Nothing is submitted and nothing paid for it.

    What has ended and was not saved is fetched by its key, or by repeating the `remove` that began it.

    Exits with 0 when all are done, 1 when some failed or Ctrl-C came, 2 when nothing could start.
    """
    if everything == bool(tokens):
        refuse("give tokens or keys, or --all with the --store that knows them")
    if everything or store is not None:
        store = existing_store_from(store)
    provider = provider_from_env(name, base_url)
    unique = list(dict.fromkeys(tokens))
    total = None if everything or "-" in unique else len(unique)
    errand = BatchRequest(name, provider.display_name, folder, base_url, as_json, total=total, store=store)

    def begun(means: BatchContext) -> tuple[BatchAction, AsyncIterator[BatchItem]]:
        return _ResumeAction(means), _unfinished_items(means) if everything else _tokens_given(unique)

    async def work(stop: asyncio.Event) -> int:
        return await run_batch(errand, provider, begun, stop, pace=BatchLimits(jobs, deadline), callbacks=callbacks)

    run(work)


async def _tokens_given(tokens: Sequence[str]) -> AsyncGenerator[BatchItem, None]:
    async for token in read_inputs(tokens):
        yield BatchItem(token, "media", "")


async def _unfinished_items(means: BatchContext) -> AsyncGenerator[BatchItem, None]:
    """What the store knows of this account."""
    provider = means.client.provider
    if means.store is None:
        return
    async for record in means.store.unfinished():
        if record.provider == provider.name and record.account in {"", provider.account}:
            yield BatchItem(record.key, "media", "")
