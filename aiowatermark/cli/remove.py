"""`aiowatermark remove`: files and links through a provider, a few at a time, into a folder."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from attrs import frozen

from .. import Client, JobHandle, as_media
from .accounts import account, base_url_option, chosen, provider_option
from .crew import Item
from .errands import run_errand
from .outputs import stem_and_suffix
from .report import Errand
from .running import run
from .sources import sources

folder_option = click.option(
    "-o", "--output", "folder", required=True, metavar="DIR", type=click.Path(path_type=Path), help="Where results go."
)
json_option = click.option(
    "--json", "as_json", is_flag=True, help="One JSON object a line on stdout; the rest on stderr."
)
jobs_option = click.option(
    "--jobs", default=16, show_default=True, type=click.IntRange(1, 1000), help="Jobs in flight at once."
)
deadline_option = click.option(
    "--deadline",
    default=600.0,
    show_default=True,
    metavar="SECONDS",
    type=click.FloatRange(0, min_open=True),
    help="How long a job may take.",
)


@frozen
class _Task:
    """What is to be done to every item."""

    mask: str | None
    options: Mapping[str, Any]

    async def begin(self, client: Client, item: Item) -> JobHandle:
        return await client.submit(item.source, mask=self.mask, key=item.key, **self.options)


@click.command()
@click.argument("files", nargs=-1, required=True)
@provider_option
@folder_option
@click.option("--mask", metavar="FILE", help="White where something is to go, black elsewhere; one for all files.")
@jobs_option
@deadline_option
@click.option("--option", "given", multiple=True, metavar="NAME=VALUE", help="An option of the provider's own.")
@base_url_option
@json_option
def remove(  # noqa: PLR0917 - click calls it by name
    files: Sequence[str],
    name: str,
    folder: Path,
    mask: str | None,
    jobs: int,
    deadline: float,
    given: Sequence[str],
    base_url: str | None,
    as_json: bool,  # noqa: FBT001 - click's way
) -> None:
    """Remove the marks from FILES: paths, https links, or - for paths on stdin, one a line.

    Results are written as NAME-clean into the folder; nothing is overwritten. A file that fails stops no other.

    Exits with 0 when all are done, 1 when some failed or Ctrl-C came, 2 when nothing could start.
    """
    provider = account(name, base_url)
    task = _Task(mask, chosen(provider, given))
    total = None if "-" in files else len(dict.fromkeys(files))
    errand = Errand(name, provider.title, folder, base_url, as_json)

    async def work(stop: asyncio.Event) -> int:
        await _check_mask(mask)
        return await run_errand(
            errand, provider, task.begin, _items(files), stop, total=total, jobs=jobs, deadline=deadline
        )

    run(work)


async def _check_mask(mask: str | None) -> None:
    """One mask for all: where it is missing, nothing starts."""
    if mask is not None:
        await as_media(mask).measure()


async def _items(files: Sequence[str]) -> AsyncGenerator[Item, None]:
    """Each file once, as there is room for it; its job's key begins with its name."""
    seen: set[str] = set()
    async for source in sources(files):
        if source not in seen:
            seen.add(source)
            stem, suffix = stem_and_suffix(source)
            yield Item(source, stem, suffix, f"{_readable(stem)}-{uuid.uuid4().hex[:16]}")


def _readable(stem: str) -> str:
    """The part of a key that a person recognises, and `resume` names the result after."""
    media = as_media(b"")
    media.rename(stem[:80])
    return media.name
