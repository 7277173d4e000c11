"""Settings of a Redis server that decide what it may forget: persistence, eviction, replicas."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from attrs import frozen

from ....errors import StoreError
from ..connection import Connection
from ..keys import Command
from ..rewind.identity import parse_info

log = logging.getLogger("aiowatermark")


@frozen
class ServerSettings:
    """What INFO and CONFIG GET say; a value is None if the server does not tell it, as managed ones refuse CONFIG."""

    append_only: bool
    """Whether there is an append-only file."""
    fsync: str | None
    """When that file is written to the disk: `always`, `everysec` or `no`."""
    save: str | None
    """When the RDB file is saved, as pairs of seconds and number of changes; empty for never."""
    max_memory: int
    """The limit of memory in bytes; 0 for none."""
    eviction_policy: str
    replicas: int
    """How many replicas are connected."""

    @property
    def evicts(self) -> bool:
        """Whether the server deletes keys when its memory is full."""
        return self.max_memory > 0 and self.eviction_policy != "noeviction"


def parse_settings(info: Mapping[str, str], config: Mapping[str, str]) -> ServerSettings:
    """Return the settings in the fields of INFO (persistence, memory, replication) and of CONFIG GET.

    Fields that are missing count as what Redis does by default.
    """
    return ServerSettings(
        append_only=info.get("aof_enabled", "0") == "1",
        fsync=config.get("appendfsync"),
        save=config.get("save"),
        max_memory=int(info.get("maxmemory", "0")),
        eviction_policy=info.get("maxmemory_policy", "noeviction"),
        replicas=int(info.get("connected_slaves", "0")),
    )


def parse_config(reply: Mapping[Any, Any]) -> dict[str, str]:
    """Return the parameters in a reply to CONFIG GET, which redis-py has parsed."""
    return parse_info({_text(name): _text(value) for name, value in reply.items()})


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


async def read_settings(connection: Connection) -> ServerSettings:
    """Ask a server for its settings; raises StoreError."""
    sections = ("persistence", "memory", "replication")
    replies = await connection.execute(*(Command("INFO", (section,)) for section in sections))
    info = {name: value for reply in replies for name, value in parse_info(reply).items()}
    config: dict[str, str] = {}
    for parameter in ("appendfsync", "save"):
        with suppress(StoreError):  # managed servers refuse CONFIG
            (reply,) = await connection.execute(Command("CONFIG GET", (parameter,)))
            config |= parse_config(reply)
    return parse_settings(info, config)


async def warn_if_evicting(connection: Connection) -> None:
    """Log a warning if the server deletes keys when its memory is full; raises StoreError."""
    # INFO tells the policy also where CONFIG is refused
    (reply,) = await connection.execute(Command("INFO", ("memory",)))
    settings = parse_settings(parse_info(reply), {})
    if settings.evicts:
        log.warning(
            "Redis at %s deletes keys when its memory is full (maxmemory-policy %s), and a deleted key is charged "
            "again: set maxmemory-policy to noeviction",
            connection.address,
            settings.eviction_policy,
        )
