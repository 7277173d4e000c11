"""`aiowatermark resume`: jobs of before taken up again by their tokens; nothing is submitted."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

import click

from .. import Client, JobHandle
from .accounts import account, base_url_option, provider_option
from .crew import Item
from .errands import run_errand
from .remove import deadline_option, folder_option, jobs_option, json_option
from .report import Errand
from .running import run
from .sources import sources

_OF_OURS = re.compile(r"-[0-9a-f]{16}$")


@click.command()
@click.argument("tokens", nargs=-1, required=True)
@provider_option
@folder_option
@jobs_option
@deadline_option
@base_url_option
@json_option
def resume(  # noqa: PLR0917 - click calls it by name
    tokens: Sequence[str],
    name: str,
    folder: Path,
    jobs: int,
    deadline: float,
    base_url: str | None,
    as_json: bool,  # noqa: FBT001 - click's way
) -> None:
    """Fetch the results of jobs by their TOKENS, as `remove` or an error gave them; - for tokens on stdin.

    Nothing is submitted and nothing paid for it.

    Exits with 0 when all are done, 1 when some failed or Ctrl-C came, 2 when nothing could start.
    """
    provider = account(name, base_url)
    errand = Errand(name, provider.title, folder, base_url, as_json)
    unique = list(dict.fromkeys(tokens))
    total = None if "-" in unique else len(unique)

    async def work(stop: asyncio.Event) -> int:
        return await run_errand(
            errand, provider, _begin, _items(unique), stop, total=total, jobs=jobs, deadline=deadline
        )

    run(work)


async def _begin(client: Client, item: Item) -> JobHandle:
    """Take the job up, and name its result after it."""
    handle = client.resume(item.source)
    item.key, item.stem = handle.key, _OF_OURS.sub("", handle.key)
    return handle


async def _items(tokens: Sequence[str]) -> AsyncGenerator[Item, None]:
    async for token in sources(tokens):
        yield Item(token, "media", "", "")
