"""`aiowatermark jobs`: what a store knows as unfinished, and how to make it forget."""

from __future__ import annotations

import asyncio
import json
import shlex
import time
from collections.abc import Sequence

import click

from ...jobs import Record, Status
from ..console.runner import DONE, SOME_FAILED, printable, run
from ..options.store import existing_store_from, needed_store_option, store_from


@click.group(invoke_without_command=True)
@needed_store_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.pass_context
def jobs(context: click.Context, store: str | None, as_json: bool) -> None:  # noqa: FBT001 - click's way
    """List the jobs a store knows as unfinished: key, provider, status, age, the provider's id, and the token.

    `aiowatermark resume KEY --store STORE` fetches one. Those in doubt may have been paid: look at your account first.
    """
    if context.invoked_subcommand is not None:
        context.obj = store
        return
    where = existing_store_from(store)

    async def work(stop: asyncio.Event) -> int:
        counts = dict.fromkeys(_MEANS, 0)
        async with store_from(where) as opened:
            async for record in opened.unfinished():
                if stop.is_set():
                    return SOME_FAILED
                if not as_json and not any(counts.values()):
                    click.echo(click.style(_HEADINGS, dim=True))
                counts[_status(record)] += 1
                click.echo(_json_line(record) if as_json else _lines(record))
        if not as_json:
            _print_advice(counts, where)
        return DONE

    run(work)


@jobs.command()
@click.argument("keys", nargs=-1, required=True, metavar="KEY...")
@needed_store_option
@click.pass_obj
def forget(given: str | None, keys: Sequence[str], store: str | None) -> None:
    """Forget jobs by their KEYs, so that the same command submits them anew, and pays for them anew."""
    where = existing_store_from(store or given)

    async def work(_: asyncio.Event) -> int:
        missing = 0
        async with store_from(where) as opened:
            for key in dict.fromkeys(keys):
                record = await opened.get(key)
                missing += record is None
                if record is None:
                    click.echo(f"unknown    {printable(key)}: the store knows no job of this key", err=True)
                    continue
                await opened.forget(key)
                click.echo(f"forgotten  {printable(key)}{_is_unfinished(record)}")
        return SOME_FAILED if missing else DONE

    run(work)


def _is_unfinished(record: Record) -> str:
    """What fetches a forgotten job after all."""
    if record.snapshot.task_id is None or record.snapshot.status.terminal:
        return ""
    return f"; it goes on at the provider, and this token still fetches it: {record.token}"


_DOUBT, _UNSENT, _RUNNING = "in doubt", "unsent", "running"
_MEANS = {
    _RUNNING: "under way: `aiowatermark resume --all --store {store} --provider NAME -o DIR` fetches them",
    _UNSENT: "never sent whole, nothing was paid: `aiowatermark remove` sends them",
    _DOUBT: "in doubt, perhaps paid: look at your account; `aiowatermark jobs forget` lets them be sent anew",
}
_ROW = "{:<40}  {:<12}  {:<9}  {:>7}  {}"
_HEADINGS = _ROW.format("key", "provider", "status", "age", "task id, token")


def _status(record: Record) -> str:
    """What it means to whoever has to decide."""
    snapshot = record.snapshot
    if snapshot.status is Status.IN_DOUBT and snapshot.task_id is None:
        return _DOUBT
    return _UNSENT if snapshot.status is Status.UPLOADING else _RUNNING


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
    """In the largest unit that fits."""
    if not record.created_at:
        return "-"
    seconds = max(0.0, time.time() - record.created_at)
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def _print_advice(counts: dict[str, int], where: str) -> None:
    if not any(counts.values()):
        click.echo("Nothing is unfinished.")
    for status, count in counts.items():
        if count:
            click.echo(f"{count} {_MEANS[status].format(store=shlex.quote(where))}")
