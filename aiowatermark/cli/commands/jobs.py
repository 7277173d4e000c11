"""Command `jobs`: lists the unfinished jobs of a store; `jobs forget` deletes jobs from it."""

from __future__ import annotations

import asyncio
import json
import shlex
import time
from collections.abc import Sequence

import click

from ...jobs import Record
from ..console.runner import EXIT_OK, EXIT_SOME_FAILED, printable, run
from ..options.store import existing_store_from, existing_store_option, store_from

_IN_DOUBT, _UNSENT, _RUNNING = "in doubt", "unsent", "running"
_ADVICE = {
    _RUNNING: (
        "running at the provider. To fetch the results:\n"
        "  aiowatermark resume --all --store {store} --provider NAME -o DIR"
    ),
    _UNSENT: "unsent: the upload was not complete, nothing was paid. Repeat the `aiowatermark remove` command.",
    _IN_DOUBT: (
        "in doubt: sent, but no answer was received; may have been paid. Check your account at the provider.\n"
        "For a job that it does not show, run this and repeat the `aiowatermark remove` command:\n"
        "  aiowatermark jobs forget --store {store} KEY"
    ),
}
_ROW = "{:<40}  {:<12}  {:<9}  {:>7}  {}"
_HEADER = _ROW.format("key", "provider", "status", "age", "task id, token")


@click.group(invoke_without_command=True)
@existing_store_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per job.")
@click.pass_context
def jobs(context: click.Context, store: str | None, as_json: bool) -> None:  # noqa: FBT001 - click's way
    """List the unfinished jobs of a store: key, provider, status, age, the provider's task id, and the token.

    `aiowatermark resume KEY --store STORE --provider NAME -o DIR` fetches a running one. A job in doubt may have been
    paid: check your account at the provider before you forget it.
    """
    if context.invoked_subcommand is not None:
        context.obj = store
        return
    location = existing_store_from(store)

    async def work(stop: asyncio.Event) -> int:
        counts = dict.fromkeys(_ADVICE, 0)
        async with store_from(location) as opened:
            async for record in opened.unfinished():
                if stop.is_set():
                    return EXIT_SOME_FAILED
                if not as_json and not any(counts.values()):
                    click.echo(click.style(_HEADER, dim=True))
                counts[_status(record)] += 1
                click.echo(_json_line(record) if as_json else _lines(record))
        if not as_json:
            _print_advice(counts, location)
        return EXIT_OK

    run(work)


@jobs.command()
@click.argument("keys", nargs=-1, required=True, metavar="KEY...")
@existing_store_option
@click.pass_obj
def forget(group_store: str | None, keys: Sequence[str], store: str | None) -> None:
    """Delete jobs from the store by their KEYs.

    The next `aiowatermark remove` of the same file submits it again and is paid for again.
    """
    location = existing_store_from(store or group_store)

    async def work(_: asyncio.Event) -> int:
        missing = 0
        async with store_from(location) as opened:
            for key in dict.fromkeys(keys):
                record = await opened.get(key)
                missing += record is None
                if record is None:
                    click.echo(f"unknown    {printable(key)}: the store contains no job with this key", err=True)
                    continue
                await opened.forget(record)
                click.echo(f"forgotten  {printable(key)}{_remaining_token(record)}")
        return EXIT_SOME_FAILED if missing else EXIT_OK

    run(work)


def _remaining_token(record: Record) -> str:
    """Return a note with the token if the job may still be fetched although it is forgotten, else an empty text."""
    if not record.at_provider:
        return ""
    return f"; the job continues at the provider, `aiowatermark resume` fetches it by its token: {record.token}"


def _status(record: Record) -> str:
    """Return the status by what the user can do: wait, submit again, or check the account."""
    if record.in_doubt:
        return _IN_DOUBT
    return _UNSENT if record.unsent else _RUNNING


def _lines(record: Record) -> str:
    row = (record.key, record.provider, _status(record), _age(record), record.snapshot.task_id or "-")
    return printable(_ROW.format(*row)) + "\n" + click.style(f"    {record.token}", dim=True)


def _json_line(record: Record) -> str:
    snapshot = record.snapshot
    return json.dumps(
        {
            "key": record.key,
            "provider": record.provider,
            "status": snapshot.status.value,
            "age": round(time.time() - record.created_at, 1) if record.created_at else None,
            "task_id": snapshot.task_id,
            "token": record.token,
        }
    )


def _age(record: Record) -> str:
    """Return the age in the largest unit of which it has at least two."""
    if not record.created_at:
        return "-"
    seconds = max(0.0, time.time() - record.created_at)
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def _print_advice(counts: dict[str, int], location: str) -> None:
    if not any(counts.values()):
        click.echo("The store contains no unfinished jobs.")
    for status, count in counts.items():
        if count:
            click.echo(f"{count} {_ADVICE[status].format(store=shlex.quote(location))}")
