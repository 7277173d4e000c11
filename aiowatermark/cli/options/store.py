"""Where jobs are remembered between two runs: `--store`, a file or a Redis."""

from __future__ import annotations

from pathlib import Path

import click

from ... import JobStore, RedisStore, SQLiteStore
from .providers import refuse

store_option = click.option(
    "--store",
    metavar="PATH|redis://...",
    help="Remember jobs there, a file or a Redis: the same command, given again, pays nothing twice.",
)
needed_store_option = click.option("--store", metavar="PATH|redis://...", help="Where `remove --store` remembers jobs.")


def store_from(where: str) -> JobStore:
    """The store: a path is a file, anything with :// a Redis; raises InvalidInput for a URL that is none."""
    return RedisStore(where) if is_network_url(where) else SQLiteStore(where)


def existing_store_from(where: str | None) -> str:
    """The place of a store that is there already; exits where it is not: a new one would know nothing."""
    if not where:
        refuse("--store says where the jobs are remembered: a path, or redis://...")
    if not is_network_url(where) and not Path(where).exists():
        refuse(f"there is no store at {where}")
    return where


def is_network_url(where: str) -> bool:
    """Whether it is a URL and no path."""
    return "://" in where
