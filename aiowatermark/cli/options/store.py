"""Option `--store`: where jobs are remembered between runs, an SQLite file or a Redis server."""

from __future__ import annotations

from pathlib import Path

import click

from ... import JobStore, RedisStore, SQLiteStore
from .providers import exit_with_error

store_option = click.option(
    "--store",
    metavar="PATH|redis://...",
    help="Remember jobs in this SQLite file or on this Redis server: repeating the command then never pays twice.",
)
existing_store_option = click.option(
    "--store", metavar="PATH|redis://...", help="The store that was given to `aiowatermark remove --store`."
)


def store_from(location: str) -> JobStore:
    """Return the store for a path (SQLite) or a URL (Redis); raise InvalidInput if the URL is not valid."""
    return RedisStore(location) if is_network_url(location) else SQLiteStore(location)


def existing_store_from(location: str | None) -> str:
    """Return the location if a store exists there; else exit, because a new store would contain no jobs."""
    if not location:
        exit_with_error("--store is required: the path or redis:// URL that was given to `aiowatermark remove --store`")
    if not is_network_url(location) and not Path(location).exists():
        exit_with_error(f"no store exists at {location}: check the path given to `aiowatermark remove --store`")
    return location


def is_network_url(location: str) -> bool:
    """Whether the location is a URL and not a path."""
    return "://" in location
