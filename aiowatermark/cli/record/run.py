"""Runs a recording: opens the callback server and the store, records the paths one by one, and reports.

The report is written and printed however the run ends, with the commands that fetch the results of paid jobs.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
import click
from attrs import field, frozen

from ... import Provider, SQLiteStore
from ...jobs import Record
from ..console.runner import EXIT_OK, EXIT_SOME_FAILED, print_error, wait_for_all
from ..options.callbacks import CallbackOptions
from .cassette import CassetteDocument
from .paths import RecordingPath
from .recording import Recording
from .redactor import Redactor
from .report import report_lines, resume_lines
from .samples import MediaChoice
from .session import RecordingSession


@frozen
class RecordingPlan:
    """What to record, with what, and where its files go; `callback_wait` and `deadline` are seconds."""

    provider: Provider
    paths: Sequence[RecordingPath]
    media: MediaChoice
    folder: Path
    callbacks: CallbackOptions = field(factory=CallbackOptions)
    base_url: str | None = None
    deadline: float = 600.0
    callback_wait: float = 30.0

    def provider_for(self, path: RecordingPath) -> Provider:
        """Return the provider with the settings of a path; with a key that is not valid if the path says so."""
        settings: dict[str, Any] = dict(path.settings(type(self.provider)))
        if path.wrong_key:
            # an account that was not named is named after its key
            settings |= {"account": None, **{name: secrets.token_hex(16) for name in self.provider.env}}
        return attrs.evolve(self.provider, **settings) if settings else self.provider


async def record_paths(plan: RecordingPlan, stop: asyncio.Event) -> int:
    """Record the paths and return the exit code; raises InvalidInput or StoreError if that cannot be started."""
    stem = await asyncio.to_thread(_new_stem, plan.folder, plan.provider.name)
    store_path = plan.folder / "jobs.db"
    document = CassetteDocument(
        Recording(type(plan.provider), datetime.now(UTC).strftime("%Y-%m-%d")),
        Redactor.for_provider(plan.provider),
        plan.callbacks.url and plan.callbacks.url.rstrip("/"),
    )
    async with AsyncExitStack() as stack:
        receiver = await stack.enter_async_context(plan.callbacks.open(plan.provider))
        store = await stack.enter_async_context(SQLiteStore(store_path))
        session = RecordingSession(
            document, plan.media, stem, store, receiver, plan.deadline, plan.callback_wait, click.echo
        )
        try:
            await _run_paths(plan, session, stop)
        finally:
            unfinished = [each async for each in store.unfinished() if _is_ours(each, plan.provider)]
            jobs = resume_lines(unfinished, plan.provider.name, store_path, plan.base_url)
            _print_report(session)
            click.echo("\n".join(jobs), err=True, nl=bool(jobs))
    recorded = document.recording.paths
    complete = len(recorded) == len(plan.paths) and not (stop.is_set() or session.problem or unfinished)
    return EXIT_OK if complete and all(each.exchanges for each in recorded) else EXIT_SOME_FAILED


async def _run_paths(plan: RecordingPlan, session: RecordingSession, stop: asyncio.Event) -> None:
    for path in plan.paths:
        provider = plan.provider_for(path)
        task = asyncio.create_task(session.record(path, provider))
        try:
            if not await wait_for_all([task], stop):
                click.echo("Stopping: waiting for the answer to what has been sent.", err=True)
                return
        finally:
            # the client of the path waits for the answer to a paid request, and leaves the job at the provider
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def _is_ours(record: Record, provider: Provider) -> bool:
    return record.provider == provider.name and record.account == provider.account


def _print_report(session: RecordingSession) -> None:
    """Write the report beside the cassette, and print it."""
    report = session.stem.with_name(f"{session.stem.name}.report.txt")
    if (document := session.write()) is not None:
        lines = report_lines(document)
        report.write_text("\n".join(lines) + "\n", encoding="utf-8")
        click.echo("\n" + "\n".join(lines))
        click.echo(f"\nCassette: {session.cassette}\nReport:   {report}")
    if session.problem:
        print_error(session.problem)


def _new_stem(folder: Path, name: str) -> Path:
    """Create the folder, and return the first of NAME-1, NAME-2 … in it that no cassette has."""
    folder.mkdir(parents=True, exist_ok=True)
    number = 1
    while (folder / f"{name}-{number}.json").exists() or (folder / f"{name}-{number}.report.txt").exists():
        number += 1
    return folder / f"{name}-{number}"
