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


def memory(where: str) -> JobStore:
    """The store: a path is a file, anything with :// a Redis; raises InvalidInput for a URL that is none."""
    return RedisStore(where) if on_network(where) else SQLiteStore(where)


def existing(where: str | None) -> str:
    """The place of a store that is there already; exits where it is not: a new one would know nothing."""
    if not where:
        refuse("--store says where the jobs are remembered: a path, or redis://...")
    if not on_network(where) and not Path(where).exists():
        refuse(f"there is no store at {where}")
    return where


def on_network(where: str) -> bool:
    """Whether it is a URL and no path."""
    return "://" in where
