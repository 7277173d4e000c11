"""`aiowatermark resume`: jobs of before taken up again, by token or by key; nothing is submitted."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from pathlib import Path

import click
from attrs import frozen

from ... import InvalidInput, JobHandle, Status
from ..batch.batch import Means, Pace, run_errand
from ..batch.inputs import sources
from ..batch.report import Errand
from ..batch.workers import Item, Task
from ..console.progress import Row
from ..console.runner import run
from ..options.callbacks import Callbacks, callback_options
from ..options.providers import account, base_url_option, provider_option, refuse
from ..options.store import existing, needed_store_option
from .remove import deadline_option, folder_option, jobs_option, json_option

_OF_OURS = re.compile(r"-[0-9a-f]{16}$")
_TOKEN = "aw1."  # noqa: S105 - how tokens begin


@frozen
class _Resumption:
    """Takes jobs up."""

    means: Means

    async def name(self, item: Item) -> None:
        """The job's key, and its result named after it."""
        if not item.source.startswith(_TOKEN):
            item.key, item.stem = item.source, _OF_OURS.sub("", item.source)

    async def begin(self, item: Item, row: Row) -> JobHandle:  # noqa: ARG002 - nothing is uploaded
        """Watch it again, as the token or the store knows it."""
        handle = self.means.client.resume(await self._token(item) if item.key else item.source)
        item.key, item.stem = handle.key, _OF_OURS.sub("", handle.key)
        return handle

    async def _token(self, item: Item) -> str:
        if self.means.store is None:
            msg = "this is no token of a job; a key needs the --store that knows it"
            raise InvalidInput(msg)
        record = await self.means.known(item.key)
        if record is None:
            msg = "the store knows no job of this key"
            raise InvalidInput(msg)
        if record.snapshot.status is Status.UPLOADING:
            msg = "it was never sent whole and nothing was paid: run `aiowatermark remove` again"
            raise InvalidInput(msg)
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
    callbacks: Callbacks,
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
        store = existing(store)
    provider = account(name, base_url)
    unique = list(dict.fromkeys(tokens))
    total = None if everything or "-" in unique else len(unique)
    errand = Errand(name, provider.title, folder, base_url, as_json, total=total, store=store)

    def begun(means: Means) -> tuple[Task, AsyncIterator[Item]]:
        return _Resumption(means), _unfinished(means) if everything else _given(unique)

    async def work(stop: asyncio.Event) -> int:
        return await run_errand(errand, provider, begun, stop, pace=Pace(jobs, deadline), callbacks=callbacks)

    run(work)


async def _given(tokens: Sequence[str]) -> AsyncGenerator[Item, None]:
    async for token in sources(tokens):
        yield Item(token, "media", "")


async def _unfinished(means: Means) -> AsyncGenerator[Item, None]:
    """What the store knows of this account."""
    provider = means.client.provider
    if means.store is None:
        return
    async for record in means.store.unfinished():
        if record.provider == provider.name and record.account in {"", provider.account}:
            yield Item(record.key, "media", "")
