"""Records as Redis keeps them: a hash with the record as JSON, and one beside it with the media in its answer."""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from ...errors import StoreError
from ...jobs import Record
from ...media.base import Media
from ...media.memory import Base64Text, Bytes
from ..records.dump import dump, load
from .connection import Connection
from .keys import Command, RedisKeys, digest
from .scripts import OPEN, PUT

log = logging.getLogger("aiowatermark")


def nonce() -> str:
    """What tells one writing from another, so that it can be sent twice."""
    return uuid.uuid4().hex


def create_command(names: RedisKeys, record: Record, once: str) -> Command:
    """What writes a new record."""
    data, parts = dump(record)
    if parts:
        raise StoreError("a record that holds media cannot be opened: only an answer holds media")
    return OPEN(names.job(digest(record.key)), once, json.dumps(data), record.version)


def update_command(names: RedisKeys, record: Record, keep: float) -> Command:
    """What writes news of a record; a finished one is kept for `keep` seconds."""
    data, parts = dump(record)
    content = [item for name, media in parts.items() for item in (name, _pack_media(media))]
    ended = int(record.snapshot.status.terminal)
    age = int(keep * 1000)
    return PUT(names.job(digest(record.key)), nonce(), json.dumps(data), record.version, ended, age, *content)


async def load_many(wire: Connection, names: RedisKeys, jobs: Sequence[str]) -> list[Record | None]:
    """The records of keys' digests in one round trip; None where there is none, or where it cannot be read.

    A second one fetches the media of those that hold any.
    """
    keys = [names.job(job) for job in jobs]
    found = await wire.execute(*(Command("HGET", (record,), ("record",)) for record, *_ in keys)) if jobs else []
    holding = [parts for (_, parts, _), data in zip(keys, found, strict=True) if data and b'"part"' in data]
    media = dict(zip(holding, await wire.execute(*(Command("HGETALL", (parts,)) for parts in holding)), strict=True))
    return [_decode_or_log(data, media.get(parts, {})) for (_, parts, _), data in zip(keys, found, strict=True)]


def _decode_or_log(data: bytes | None, parts: Mapping[bytes, bytes]) -> Record | None:
    try:
        return decode(data, parts)
    except StoreError as error:
        log.warning("a record in the store is passed over: %s", error)
        return None


def decode(data: bytes | None, parts: Mapping[bytes, bytes]) -> Record | None:
    """The record that was read, if there is one; raises StoreError for what is none."""
    if data is None:
        return None
    try:
        plain = json.loads(data)
    except ValueError:
        raise StoreError("the record is damaged: it is no JSON") from None
    return load(plain, lambda name: _unpack_media(parts[name.encode()]))


def _pack_media(media: Media) -> bytes:
    if isinstance(media, Base64Text):
        return b"e" + media.text.encode()
    if isinstance(media, Bytes):
        return b"b" + media.data
    raise StoreError(f"a store keeps media in memory, not {type(media).__name__}")


def _unpack_media(data: bytes) -> Media:
    media: Any = Base64Text(data[1:].decode()) if data[:1] == b"e" else Bytes(data[1:])
    return media  # type: ignore[no-any-return]
