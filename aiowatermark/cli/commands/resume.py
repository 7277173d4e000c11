"""Command `resume`: fetches the results of earlier submissions by token or key; it submits nothing."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any

import click
from attrs import frozen

from ... import InvalidInput, JobHandle, SubmissionInDoubt
from ...tokens import PREFIXES, decode_token
from ..batch.batch import BatchContext, BatchLimits, BatchWork, run_batch
from ..batch.items import BatchItem
from ..batch.output_names import Target, safe_target, target_of
from ..batch.planning.stdin import read_lines
from ..batch.request import BatchRequest
from ..batch.state_folder import StateFolder
from ..console.progress import ProgressRow
from ..console.runner import run
from ..options.batch import deadline_option, folder_option, jobs_option, json_option
from ..options.callbacks import CallbackOptions, callback_options
from ..options.providers import account_option, base_url_option, exit_with_error, provider_from_env, provider_option
from ..options.store import existing_store_from, existing_store_option
from .job_rows import UNPAID_REASON

# the digest at the end of a key of `remove`: the rest is a name
_KEY_DIGEST = re.compile(r"-[0-9a-f]{16,}(-\d+)?$")
# of a file, in a token: its name and size; of a URL there are digests
_FILE_IDENTITY = re.compile(r"(.+):\d+", re.DOTALL)
_UNSENT = "the submission was not complete, so nothing was paid: repeat the `aiowatermark remove` command"
_EPILOG = """\b
Examples:
  aiowatermark resume --all --provider picwish -o clean
  aiowatermark resume aw2.eyJ... --provider kaze -o clean

Exit status: 0 if all jobs are done, 1 if some failed or Ctrl-C was pressed, 2 if nothing could be started.
"""


@frozen
class _ResumeAction:
    """Resumes the job of each item."""

    context: BatchContext

    async def name(self, item: BatchItem) -> None:
        """Set the key of an item that was given by its key, and its output if all are saved.

        A token is decoded by `start`.
        """
        if item.source.startswith(PREFIXES):
            return
        item.key = item.source
        saved = [await self.context.outputs.find_saved(item.key, source) for source, _ in await self.destinations(item)]
        if all(saved):
            item.output = saved[-1]

    async def start(self, item: BatchItem, row: ProgressRow) -> JobHandle:  # noqa: ARG002 - nothing is uploaded
        """Resume the job, by the token or by the record in the store."""
        handle = self.context.client.resume(await self._find_token(item) if item.key else item.source)
        item.key = handle.key
        return handle

    async def destinations(self, item: BatchItem) -> list[tuple[str, Target]]:
        """Return the inputs that `remove` submitted under this key; else a name that is made of the key."""
        planned = await self.context.outputs.find_targets(item.key)
        return planned or [(f"key:{item.key}", _target_of(item))]

    async def _find_token(self, item: BatchItem) -> str:
        store = self.context.store
        if store is None:
            raise InvalidInput("not a valid job token; if it is a key, give the --store that contains the job")
        record = await store.get(item.key)
        if record is None:
            raise InvalidInput("the store contains no job with this key")
        if record.in_doubt:
            raise SubmissionInDoubt(
                "it was sent before and no answer was received: it may have been paid, or another process is sending it"
            ).about(provider=record.provider, key=record.key, token=record.token)
        if record.unsent:
            raise InvalidInput(UNPAID_REASON if record.settled_unpaid else _UNSENT)
        return record.token


def _target_of(item: BatchItem) -> Target:
    """Return a name of what the job's token says of its input; of a job without a token, of its key."""
    for identity in decode_token(item.token).inputs if item.token else ():
        if (found := _FILE_IDENTITY.fullmatch(identity)) is not None:
            return target_of(found[1])
    return safe_target(_KEY_DIGEST.sub("", item.key))


@click.command(epilog=_EPILOG)
@click.argument("tokens", nargs=-1, metavar="[TOKEN|KEY]...")
@provider_option
@folder_option
@existing_store_option
@click.option("--all", "everything", is_flag=True, help="All unfinished jobs of this account in the store.")
@callback_options
@jobs_option
@deadline_option
@base_url_option
@account_option
@json_option
def resume(tokens: Sequence[str], folder: Path, store: str | None, callbacks: CallbackOptions, **values: Any) -> None:
    """Fetch the results of jobs that were submitted before. Nothing is submitted, so nothing is paid.

    A job is given by its TOKEN, which `aiowatermark remove` and errors print, or by its KEY in the store; - reads
    tokens or keys from stdin, one per line. The store is that of the output folder, unless --store names another one.

    --all covers unfinished jobs only. To fetch the result of a finished job that was not saved, give its key or repeat
    the `aiowatermark remove` command.
    """
    everything = values["everything"]
    if everything == bool(tokens):
        exit_with_error("give the tokens or keys of jobs, or --all for the unfinished jobs of the store")
    is_default = store is None
    if everything or store is not None:
        store = existing_store_from(store, folder)
    elif StateFolder(folder).store.exists():
        store = str(StateFolder(folder).store)
    provider = provider_from_env(values["name"], values["base_url"], values["account"])
    request = BatchRequest(
        provider.name,
        provider.display_name,
        folder,
        values["base_url"],
        values["as_json"],
        store=store,
        default_store=is_default and store is not None,
        arguments=sys.argv[1:],
    )

    async def prepare(context: BatchContext) -> BatchWork:
        return await _prepare(context, tokens, everything=everything)

    async def work(stop: asyncio.Event) -> int:
        limits = BatchLimits(values["jobs"], values["deadline"])
        return await run_batch(request, provider, prepare, stop, batch_limits=limits, callbacks=callbacks)

    run(work)


async def _prepare(context: BatchContext, tokens: Sequence[str], *, everything: bool) -> BatchWork:
    distinct = list(dict.fromkeys(tokens))
    items = _unfinished_items(context) if everything else _read_items(distinct)
    total = None if everything or "-" in distinct else len(distinct)
    return BatchWork(_ResumeAction(context), items, total, total, nothing="nothing to resume" if everything else "")


async def _read_items(texts: Sequence[str]) -> AsyncGenerator[BatchItem, None]:
    for text in texts:
        if text == "-":
            async for line in read_lines():
                yield BatchItem(line)
        else:
            yield BatchItem(text)


async def _unfinished_items(context: BatchContext) -> AsyncGenerator[BatchItem, None]:
    """Yield an item for each unfinished job of this account."""
    provider = context.client.provider
    if context.store is None:
        return
    async for record in context.store.unfinished():
        # a record without an account may be of any: the provider refuses the query if it is another one's
        if record.provider == provider.name and record.account in {"", provider.account}:
            yield BatchItem(record.key)
