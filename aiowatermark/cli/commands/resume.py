"""Command `resume`: fetches the results of earlier submissions by token or key; it submits nothing."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
from attrs import frozen

from ... import InvalidInput, JobHandle, SubmissionInDoubt
from ...client.engine.submission.claims import owners_of
from ...client.engine.submission.existing import belongs_to
from ...jobs import Record
from ...observation.commands import Commands
from ...redaction import is_loopback
from ...tokens import PREFIXES, decode_token
from ..advice.accounts import account_of_record, account_of_run, describe_account, identity_of
from ..advice.job_states import State, how_to_submit_again, state_of
from ..advice.lookup import unknown_job
from ..advice.other_accounts import JobsElsewhere, OpenElsewhere, OtherAccount
from ..batch.batch import BatchContext, BatchLimits, BatchWork, run_batch
from ..batch.items import BatchItem
from ..batch.output_names import Target, safe_target, target_of
from ..batch.planning.inputs import name_of_input
from ..batch.planning.stdin import read_lines
from ..batch.request import BatchRequest
from ..batch.state_folder import StateFolder
from ..console.progress import ProgressRow
from ..console.runner import EXIT_OK, EXIT_SOME_FAILED, run
from ..console.texts import say
from ..options.batch import deadline_option, folder_option, jobs_option, json_option
from ..options.callbacks import CallbackOptions, callback_options
from ..options.providers import account_option, base_url_option, exit_with_error, provider_from_env, provider_option
from ..options.store import existing_store_from, existing_store_option
from .job_rows import FILE_IDENTITY, name_of

# the digest at the end of a key of `remove`: the rest is a name
_KEY_DIGEST = re.compile(r"-[0-9a-f]{16,}(-\d+)?$")
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
    commands: Commands

    async def name(self, item: BatchItem) -> None:
        """Set the key of an item that was given by its key, and its output if all are saved.

        A token is decoded by `start`.
        """
        if item.given.startswith(PREFIXES):
            return
        item.key = item.given
        item.source = (await self._names_of(item) or [item.source])[-1]
        saved = [await self.context.outputs.find_saved(item.key, source) for source, _ in await self.destinations(item)]
        if all(saved):
            item.output = saved[-1]

    async def start(self, item: BatchItem, row: ProgressRow) -> JobHandle:
        """Resume the job, by the token or by the record in the store."""
        try:
            return self.context.client.resume(await self._find_token(item))
        finally:
            row.label = item.source

    async def _names_of(self, item: BatchItem) -> list[str]:
        """Return the names of the job's inputs, as far as the output folder knows them."""
        outputs = self.context.outputs
        return [name_of_input(outputs.folder, *found) for found in await outputs.find_targets(item.key)]

    async def is_unsent(self, item: BatchItem) -> bool:  # noqa: ARG002 - nothing is submitted
        """No: each item is a job that was submitted."""
        return False

    async def destinations(self, item: BatchItem) -> list[tuple[str, Target]]:
        """Return the inputs that `remove` submitted under this key; else a name that is made of the key."""
        planned = await self.context.outputs.find_targets(item.key)
        return planned or [(f"key:{item.key}", _target_of(item))]

    async def _find_token(self, item: BatchItem) -> str:
        """Return the token of an item's job; raises an error for one that cannot be resumed from here."""
        from_token = None if item.key else self._read_token(item.given)
        if from_token is not None:
            item.key = from_token.key
        store = self.context.store
        record = None if store is None else await store.get(item.key)
        if from_token is None and record is None:
            raise unknown_job(item.key, None if store is None else self.commands)
        if (known := record or from_token) is not None:
            # the name of its input says more than a key or a token
            item.source = name_of(known, (await self._names_of(item))[-1:])
        self._check_account(record, from_token)
        return item.given if record is None or from_token is not None else self._token_of(record)

    def _read_token(self, text: str) -> Record:
        try:
            return Record.from_token(text)
        except InvalidInput:
            raise unknown_job(text, self.commands) from None

    def _check_account(self, record: Record | None, from_token: Record | None) -> None:
        """Raise OpenElsewhere for a job of another account: the store knows it, the token alone only its provider."""
        known = record or from_token
        provider = self.context.client.provider
        if known is None or (known.provider == provider.name and (record is None or belongs_to(record, provider))):
            return
        # a token does not say where its job is: an emulator, which serves all providers, may have it
        emulator = provider.base_url if record is None and is_loopback(urlsplit(provider.base_url).hostname) else None
        account = OtherAccount(account_of_record(known, emulator), describe_account(known, provider))
        raise OpenElsewhere(known, account, in_store=record is not None)

    def _token_of(self, record: Record) -> str:
        if record.in_doubt:
            raise SubmissionInDoubt(
                "it was sent before and no usable answer was received: it may have been paid, or another process is "
                "sending it"
            ).about(provider=record.provider, key=record.key, token=record.token)
        if record.unsent:
            raise InvalidInput(self._why_unpaid() if record.settled_unpaid else _UNSENT)
        return record.token

    def _why_unpaid(self) -> str:
        again = how_to_submit_again(in_folder=self.commands.store is None)
        return f"was settled as unpaid, so there is no result to fetch. {again.removesuffix('.')}"


def _target_of(item: BatchItem) -> Target:
    """Return a name of what the job's token says of its input; of a job without a token, of its key."""
    for identity in decode_token(item.token).inputs if item.token else ():
        if (found := FILE_IDENTITY.fullmatch(identity)) is not None:
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

    --all covers unfinished jobs of the account only. To fetch the result of a finished job that was not saved, give its
    key or repeat the `aiowatermark remove` command. If jobs of another account of the provider are open, --all prints
    the command that continues them, and ends with 1.
    """
    everything = values["everything"]
    if everything == bool(tokens):
        exit_with_error("give the tokens or keys of jobs, or --all for the unfinished jobs of the store")
    location = _find_store(store, folder, required=everything)
    provider = provider_from_env(values["name"], values["base_url"], values["account"])
    request = BatchRequest(
        account_of_run(provider),
        provider.display_name,
        folder,
        values["as_json"],
        store=location,
        default_store=store is None and location is not None,
        arguments=sys.argv[1:],
        reads_stdin="-" in tokens,
    )
    elsewhere = JobsElsewhere()

    async def prepare(context: BatchContext) -> BatchWork:
        if everything:
            await _find_elsewhere(context, elsewhere)
        return _work_of(_ResumeAction(context, request.commands), tokens, elsewhere)

    async def work(stop: asyncio.Event) -> int:
        limits = BatchLimits(values["jobs"], values["deadline"])
        code = await run_batch(request, provider, prepare, stop, batch_limits=limits, callbacks=callbacks)
        for line in elsewhere.describe(request.commands):
            say(line, err=request.as_json)
        return code or (EXIT_SOME_FAILED if elsewhere.of_provider(provider.name) else EXIT_OK)

    run(work)


def _find_store(store: str | None, folder: Path, *, required: bool) -> str | None:
    """Return the store that was given, or else that of the output folder; exits if it is required and not there."""
    if required or store is not None:
        return existing_store_from(store, folder)
    in_folder = StateFolder(folder).store
    return str(in_folder) if in_folder.exists() else None


def _work_of(action: _ResumeAction, tokens: Sequence[str], elsewhere: JobsElsewhere) -> BatchWork:
    """Return what is resumed: these tokens and keys, or without any all unfinished jobs of the account."""
    if not tokens:
        nothing = "nothing to resume for this account" if elsewhere.jobs else "nothing to resume"
        return BatchWork(action, _unfinished_items(action.context), nothing=nothing)
    distinct = list(dict.fromkeys(tokens))
    total = None if "-" in distinct else len(distinct)
    return BatchWork(action, _read_items(distinct), total, total)


async def _find_elsewhere(context: BatchContext, elsewhere: JobsElsewhere) -> None:
    """Find the open jobs of other accounts in the store, on which no living client works."""
    provider, store = context.client.provider, context.store
    if store is None:
        return
    accounts: dict[tuple[str, str, str | None], OtherAccount] = {}
    async for record in store.unfinished():
        if belongs_to(record, provider):
            continue
        state = state_of(record, is_gone=await owners_of(store).is_gone(record))
        if state in {State.RUNNING, State.IN_DOUBT}:
            identity = identity_of(record)
            if identity not in accounts:
                accounts[identity] = OtherAccount(account_of_record(record), describe_account(record, provider))
            elsewhere.add(record, accounts[identity])


async def _read_items(texts: Sequence[str]) -> AsyncGenerator[BatchItem, None]:
    for text in texts:
        if text == "-":
            async for line in read_lines():
                yield BatchItem(line, given=line)
        else:
            yield BatchItem(text, given=text)


async def _unfinished_items(context: BatchContext) -> AsyncGenerator[BatchItem, None]:
    """Yield an item for each unfinished job of this account; one that was settled as unpaid has no result to fetch."""
    provider = context.client.provider
    if context.store is None:
        return
    async for record in context.store.unfinished():
        if belongs_to(record, provider) and not record.settled_unpaid:
            yield BatchItem(record.key, given=record.key)
