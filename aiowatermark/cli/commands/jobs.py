"""Command `jobs`: lists the jobs of a store that need attention; shows, settles and deletes single ones."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NoReturn, TypeAlias

import click

from ... import JobStore
from ...client.engine.settle import write_settlement
from ...client.engine.submission.claims import owners_of
from ...jobs import Record
from ...observation.commands import Commands
from ..advice.job_states import state_of
from ..advice.listed_jobs import JobAdvice
from ..advice.lookup import find_job
from ..batch.output_folder import OutputFolder
from ..batch.planning.inputs import name_of_input
from ..console.runner import EXIT_OK, EXIT_SOME_FAILED, run
from ..console.texts import say, terminal_columns
from ..console.verbosity import is_verbose
from ..options.providers import (
    base_url_is_from_environment,
    base_url_option,
    optional_provider_option,
)
from ..options.store import existing_store_from, existing_store_option, store_folder_option, store_from, store_to_read
from .deletion import JobDeletion
from .job_rows import as_json, as_text, header, name_of
from .job_rows import show as shown
from .job_stats import show_stats, stats_option, wants_stats
from .settlement import find_unsettled, outcome_of, say_settled, say_settled_by_task, settle_by_task

_Where: TypeAlias = tuple[str | None, Path | None]
"""The store and the output folder that were given to `jobs` before its subcommand."""
_EPILOG = """\b
Examples:
  aiowatermark jobs -o clean
  aiowatermark jobs settle -o clean KEY --unpaid
"""
_SHOW_EPILOG = """\b
Example:
  aiowatermark jobs show -o clean KEY
"""
_SETTLE_EPILOG = """\b
Examples:
  aiowatermark jobs settle -o clean KEY --task-id 4711
  aiowatermark jobs settle -o clean KEY --unpaid
"""
_FORGET_EPILOG = """\b
Example:
  aiowatermark jobs forget -o clean KEY
"""


@click.group(invoke_without_command=True, epilog=_EPILOG)
@store_folder_option
@existing_store_option
@click.option("--json", "json_lines", is_flag=True, help="Print one JSON object per job.")
@stats_option
@click.pass_context
def jobs(context: click.Context, folder: Path | None, store: str | None, json_lines: bool) -> None:  # noqa: FBT001
    """List the jobs of a store that are unfinished, or whose results were not taken.

    Input, size, status and age; with -v also key, provider, task id and token. `aiowatermark resume KEY --provider
    NAME -o DIR` fetches a running one, or a result that was not taken. A job in doubt may have been paid: look for it
    in your account at the provider, then settle it.
    """
    if context.invoked_subcommand is not None:
        context.obj = (store, folder)
        return
    location = existing_store_from(store, folder)
    if wants_stats(context):
        show_stats(location, as_json=json_lines)

    verbose, columns = is_verbose(), terminal_columns(sys.stdout)

    advice = JobAdvice(_commands_for(store, folder))

    async def work(stop: asyncio.Event) -> int:
        async with store_to_read(location) as opened, _open_names(folder) as names:
            for records in (opened.unfinished(), opened.unacknowledged()):
                async for record in records:
                    if stop.is_set():
                        return EXIT_SOME_FAILED
                    if not json_lines and advice.is_empty:
                        click.echo(click.style(header(columns), dim=True))
                    state = state_of(record, is_gone=await _is_gone(opened, record))
                    inputs = [] if json_lines else await names(record.key)
                    advice.add(record, state, name_of(record, inputs))
                    if json_lines:
                        click.echo(as_json(record, state))
                    else:
                        click.echo(as_text(record, state, inputs, columns=columns, verbose=verbose))
        if not json_lines:
            _print_advice(advice)
        return EXIT_OK

    run(work)


@asynccontextmanager
async def _open_names(folder: Path | None) -> AsyncIterator[Callable[[str], Awaitable[list[str]]]]:
    """Give a function that returns the names of a job's inputs, as far as the output folder knows them."""
    outputs = OutputFolder(folder or Path(), uses_manifest=True)
    if folder is not None:
        await asyncio.to_thread(outputs.open_existing)

    async def names_of(key: str) -> list[str]:
        return [name_of_input(outputs.folder, *found) for found in await outputs.find_targets(key)]

    try:
        yield names_of
    finally:
        outputs.close()


@jobs.command(short_help="Show what the store knows of a job, as JSON.", epilog=_SHOW_EPILOG)
@click.argument("key")
@store_folder_option
@existing_store_option
@click.pass_obj
def show(group: _Where, key: str, folder: Path | None, store: str | None) -> None:
    """Show what the store knows of the job KEY, as JSON, with local times."""
    where = _choose(group, folder, store)
    location = existing_store_from(*where)

    async def work(_: asyncio.Event) -> int:
        async with store_to_read(location) as opened:
            record = await find_job(opened, key, _commands_for(*where))
            state = state_of(record, is_gone=await _is_gone(opened, record))
        click.echo(shown(record, state))
        return EXIT_OK

    run(work)


@jobs.command(short_help="Settle jobs in doubt: paid, unpaid, or by task id.", epilog=_SETTLE_EPILOG)
@click.argument("keys", nargs=-1, required=True, metavar="KEY...")
@click.option("--task-id", metavar="ID", help="It was accepted as this task of the provider; one query confirms that.")
@click.option("--paid", is_flag=True, help="It was paid and its result is lost: it is not submitted again.")
@click.option(
    "--unpaid", is_flag=True, help="It was not paid: the same `aiowatermark remove` command submits it again."
)
@optional_provider_option
@base_url_option
@store_folder_option
@existing_store_option
@click.pass_obj
def settle(  # noqa: PLR0917 - click passes each option as an argument
    group: _Where,
    keys: Sequence[str],
    task_id: str | None,
    paid: bool,  # noqa: FBT001
    unpaid: bool,  # noqa: FBT001
    name: str | None,
    base_url: str | None,
    folder: Path | None,
    store: str | None,
) -> None:
    """Settle jobs in doubt by their KEYs, when you know from your account at the provider what became of them.

    --task-id needs the API key of the job's account in the environment, as `aiowatermark remove` does; the job knows
    its provider and its account.
    """
    where = _choose(group, folder, store)
    location = existing_store_from(*where)
    if [task_id is not None, paid, unpaid].count(True) != 1:
        raise click.UsageError("give one of --task-id ID, --paid and --unpaid")
    if task_id is not None:
        _settle_by_task(keys, task_id, name, base_url, where)
    if base_url is not None and not base_url_is_from_environment():
        raise click.UsageError("--base-url has no use without --task-id: nothing is asked of the provider")

    async def work(_: asyncio.Event) -> int:
        async with store_from(location) as opened:
            # all are checked first: a key that is not known settles none of them
            commands = _commands_for(*where)
            records = [await find_unsettled(opened, key, commands, as_unpaid=unpaid) for key in dict.fromkeys(keys)]
            for record in records:
                await write_settlement(opened, record, paid=paid)
                say_settled(record.key, outcome_of(paid=paid, in_folder=where[0] is None))
        return EXIT_OK

    run(work)


def _settle_by_task(
    keys: Sequence[str], task_id: str, name: str | None, base_url: str | None, where: _Where
) -> NoReturn:
    """Settle a job as a task of its provider, say what is next, and exit."""
    if len(keys) > 1:
        raise click.UsageError("--task-id is of one job: give one KEY")
    location, commands = existing_store_from(*where), _commands_for(*where)

    async def work(_: asyncio.Event) -> int:
        async with store_from(location) as opened:
            account = await settle_by_task(opened, keys[0], task_id, name, base_url, commands)
        say_settled_by_task(keys[0], task_id, account, commands)
        return EXIT_OK

    run(work)


@jobs.command(short_help="Delete jobs from the store.", epilog=_FORGET_EPILOG)
@click.argument("keys", nargs=-1, required=True, metavar="KEY...")
@click.option("--force", is_flag=True, help="Also jobs in doubt, and those of living clients: they may have been paid.")
@store_folder_option
@existing_store_option
@click.pass_obj
def forget(
    group: _Where,
    keys: Sequence[str],
    force: bool,  # noqa: FBT001 - click's way
    folder: Path | None,
    store: str | None,
) -> None:
    """Delete jobs from the store by their KEYs.

    The next `aiowatermark remove` of the same file submits it again and is paid for again. A job in doubt may have been
    paid: it is kept, and the commands that settle it are printed. Jobs of living clients are kept, too.
    """
    where = _choose(group, folder, store)
    location, commands = existing_store_from(*where), _commands_for(*where)

    async def work(_: asyncio.Event) -> int:
        async with store_from(location) as opened:
            return await JobDeletion(opened, commands, force).run(keys)

    run(work)


def _choose(group: _Where, folder: Path | None, store: str | None) -> _Where:
    """Return the store and the output folder of the subcommand, or else those that were given to `jobs`."""
    group_store, group_folder = group
    return store or (None if folder else group_store), folder or group_folder


def _commands_for(store: str | None, folder: Path | None) -> Commands:
    """Return what composes commands for this store, as it was given, and this output folder."""
    return Commands(store or None, None if folder is None else str(folder))


async def _is_gone(store: JobStore, record: Record) -> bool:
    return await owners_of(store).is_gone(record)


def _print_advice(advice: JobAdvice) -> None:
    if advice.is_empty:
        say("The store contains no unfinished jobs.")
    for line in advice.lines():
        say(line)
