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
from ...media.memory import Bytes, Encoded
from ..records.dump import dump, load
from .connection import Wire
from .keys import Call, Names, digest
from .scripts import OPEN, PUT

log = logging.getLogger("aiowatermark")


def nonce() -> str:
    """What tells one writing from another, so that it can be sent twice."""
    return uuid.uuid4().hex


def opening(names: Names, record: Record, once: str) -> Call:
    """What writes a new record."""
    data, parts = dump(record)
    if parts:
        raise StoreError("a record that holds media cannot be opened: only an answer holds media")
    return OPEN(names.job(digest(record.key)), once, json.dumps(data), record.version)


def news(names: Names, record: Record, keep: float) -> Call:
    """What writes news of a record; a finished one is kept for `keep` seconds."""
    data, parts = dump(record)
    content = [item for name, media in parts.items() for item in (name, _packed(media))]
    ended = int(record.snapshot.status.terminal)
    age = int(keep * 1000)
    return PUT(names.job(digest(record.key)), nonce(), json.dumps(data), record.version, ended, age, *content)


async def fetched(wire: Wire, names: Names, jobs: Sequence[str]) -> list[Record | None]:
    """The records of keys' digests in one round trip; None where there is none, or where it cannot be read.

    A second one fetches the media of those that hold any.
    """
    keys = [names.job(job) for job in jobs]
    found = await wire.ask(*(Call("HGET", (record,), ("record",)) for record, *_ in keys)) if jobs else []
    holding = [parts for (_, parts, _), data in zip(keys, found, strict=True) if data and b'"part"' in data]
    media = dict(zip(holding, await wire.ask(*(Call("HGETALL", (parts,)) for parts in holding)), strict=True))
    return [_readable(data, media.get(parts, {})) for (_, parts, _), data in zip(keys, found, strict=True)]


def _readable(data: bytes | None, parts: Mapping[bytes, bytes]) -> Record | None:
    try:
        return read(data, parts)
    except StoreError as error:
        log.warning("a record in the store is passed over: %s", error)
        return None


def read(data: bytes | None, parts: Mapping[bytes, bytes]) -> Record | None:
    """The record that was read, if there is one; raises StoreError for what is none."""
    if data is None:
        return None
    try:
        plain = json.loads(data)
    except ValueError:
        raise StoreError("the record is damaged: it is no JSON") from None
    return load(plain, lambda name: _unpacked(parts[name.encode()]))


def _packed(media: Media) -> bytes:
    if isinstance(media, Encoded):
        return b"e" + media.text.encode()
    if isinstance(media, Bytes):
        return b"b" + media.data
    raise StoreError(f"a store keeps media in memory, not {type(media).__name__}")


def _unpacked(data: bytes) -> Media:
    media: Any = Encoded(data[1:].decode()) if data[:1] == b"e" else Bytes(data[1:])
    return media  # type: ignore[no-any-return]
