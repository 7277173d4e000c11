"""Options that say where jobs are remembered between runs: the output folder, an SQLite file or a Redis server."""

from __future__ import annotations

from pathlib import Path

import click

from ... import JobStore, RedisStore, SQLiteStore
from ..batch.state_folder import StateFolder
from ..console.texts import mask_password, printable
from .providers import exit_with_error

store_option = click.option(
    "--store",
    metavar="PATH|redis://...",
    help="Remember jobs in this SQLite file or on this Redis server.  [default: .aiowatermark/jobs.db in the output "
    "folder]",
)
no_store_option = click.option(
    "--no-store",
    is_flag=True,
    help="Remember nothing: the same command again pays again for everything.",
)
existing_store_option = click.option(
    "--store",
    metavar="PATH|redis://...",
    help="The store that was given to `aiowatermark remove --store`; not needed if that had none.",
)
store_folder_option = click.option(
    "-o",
    "--output",
    "folder",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="The output folder of `aiowatermark remove`, whose store is used.",
)


def store_from(location: str) -> JobStore:
    """Return the store for a path (SQLite) or a URL (Redis); raise InvalidInput if the URL is not valid."""
    return RedisStore(location) if is_network_url(location) else SQLiteStore(location)


def store_to_read(location: str) -> JobStore:
    """Return a store as `store_from` does, for a command that only reads: it may be one that cannot be written to."""
    return RedisStore(location) if is_network_url(location) else SQLiteStore(location, read_only=True)


def existing_store_from(location: str | None, folder: Path | None = None) -> str:
    """Return the location of a store that exists, given by itself or by the output folder; else exit.

    A new store would contain no jobs.
    """
    if not location:
        if folder is None:
            exit_with_error(
                "give -o with the output folder of `aiowatermark remove`, or --store with the path or redis:// URL "
                "that was given to it"
            )
        location = str(StateFolder(folder).store)
    if not is_network_url(location) and not Path(location).exists():
        exit_with_error(f"no store exists at {printable(mask_password(location))}: check the path")
    return location


def is_network_url(location: str) -> bool:
    """Whether the location is a URL and not a path."""
    return "://" in location
