"""Records in Redis: a hash with the record as JSON, and a second hash with the media of its result."""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import evolve

from ...errors import StoreError
from ...jobs import Record
from ...media.base import Media
from ...media.memory import Base64Text, Bytes
from ..records.dump import dump
from ..records.load import load
from .connection import Connection
from .keys import Command, JobKeys, RedisKeys, digest
from .scripts import ACKNOWLEDGE, CREATE, DELETE, NOTE, UPDATE

log = logging.getLogger("aiowatermark")

# the first byte of stored media
_BASE64_TAG = b"e"
_BYTES_TAG = b"b"
# the value of `insert` by which UPDATE writes any later epoch
_WRITE_BACK = 2
# redis-py makes the reply to SET a bool otherwise
_RETURNS_VALUE = {"get": True}


def new_nonce() -> str:
    """Return an identifier for one write, by which a script recognises that it is sent a second time."""
    return uuid.uuid4().hex


def create_command(keys: RedisKeys, record: Record, nonce: str) -> Command:
    """Return the command that inserts a new record; raises StoreError if the record holds media."""
    data, parts = dump(record)
    if parts:
        raise StoreError("a new record must not hold media in memory: only results do")
    return CREATE(keys.job(digest(record.key)), nonce, json.dumps(data), record.epoch, record.version)


def update_command(keys: RedisKeys, record: Record, keep: float, *, insert: int = True) -> Command:
    """Return the command that writes a newer version; `insert` writes a record that Redis does not have, too.

    A finished record then expires after twice `keep` seconds: until `keep`, its result can be acknowledged.
    """
    data, parts = dump(record)
    content = [item for name, media in parts.items() for item in (name, _pack_media(media))]
    ended, keep_ms = int(record.snapshot.status.terminal), int(keep * 2000)
    version = (record.epoch, record.version, ended, keep_ms, int(insert))
    return UPDATE(keys.job(digest(record.key)), new_nonce(), json.dumps(data), *version, *content)


def note_command(keys: RedisKeys, record: Record) -> Command:
    """Return the command that replaces this very version of a record, to which a note was added."""
    data, _ = dump(record)
    return NOTE(keys.job(digest(record.key)), record.epoch, record.version, json.dumps(data))


def write_back_commands(keys: RedisKeys, record: Record, keep: float) -> tuple[Command, ...]:
    """Return the commands that write a record again to a server that may have forgotten any number of its versions.

    One that is terminal or not older in the same epoch, and one of a later epoch, is kept. The first command is UPDATE.
    """
    update = update_command(keys, record, keep, insert=_WRITE_BACK)
    return (update, *claim_task_command(keys, record))


def delete_command(keys: RedisKeys, record: Record, nonce: str = "") -> Command:
    """Return the command that deletes this version of a record, or with a nonce what its creation inserted."""
    return DELETE(keys.job(digest(record.key)), nonce, record.epoch, record.version)


def acknowledge_command(keys: RedisKeys, record: Record, keep: float) -> Command:
    """Return the command that notes that the result of an ended job was taken; it then expires after `keep` seconds."""
    return ACKNOWLEDGE(keys.job(digest(record.key)), record.epoch, int(keep * 1000))


def claim_task_command(keys: RedisKeys, record: Record) -> tuple[Command, ...]:
    """Return the command that maps a job's task to the job, unless another job has it; none without a task.

    Its reply is the digest of the job that has the task already, or None.
    """
    if record.snapshot.task_id is None:
        return ()
    task = keys.task(record.account, record.snapshot.task_id)
    return (Command("SET", (task,), (digest(record.key), "NX", "GET"), _RETURNS_VALUE),)


def is_other_job(record: Record, holder: Sequence[bytes | None]) -> bool:
    """Whether the reply to `claim_task_command`, if there is one, is another job than that of the record."""
    return any(job is not None and job.decode() != digest(record.key) for job in holder)


async def load_many(connection: Connection, keys: RedisKeys, jobs: Sequence[str]) -> list[Record | None]:
    """Return the records of jobs given by the digests of their keys; None for a missing or unreadable record.

    One round trip fetches the records; a second one the media of those that hold any.
    """
    job_keys = [keys.job(name) for name in jobs]
    found = await connection.execute(*(read_command(job) for job in job_keys))
    with_media = [job.parts for job, (data, _) in zip(job_keys, found, strict=True) if data and b'"part"' in data]
    contents = await connection.execute(*(Command("HGETALL", (parts,)) for parts in with_media))
    media = dict(zip(with_media, contents, strict=True))
    return [_decode_or_log(fields, media.get(job.parts, {})) for job, fields in zip(job_keys, found, strict=True)]


def read_command(job: JobKeys) -> Command:
    """Return the command that reads a record; its reply is for `decode`."""
    return Command("HMGET", (job.record,), ("record", "taken"))


def _decode_or_log(reply: Sequence[bytes | None], parts: Mapping[bytes, bytes]) -> Record | None:
    try:
        return decode(reply, parts)
    except StoreError as error:
        log.warning("a record in the store is skipped: %s", error)
        return None


def decode(reply: Sequence[bytes | None], parts: Mapping[bytes, bytes]) -> Record | None:
    """Return the record in the reply to `read_command` and media `parts`, None if there is none.

    Raises StoreError for damaged data.
    """
    data, taken = reply
    if data is None:
        return None
    try:
        fields = json.loads(data)
    except ValueError:
        raise StoreError("the record is damaged: it is not valid JSON") from None
    record = load(fields, lambda name: _unpack_media(parts[name.encode()]))
    return evolve(record, acknowledged=True) if taken == b"1" else record


def _pack_media(media: Media) -> bytes:
    if isinstance(media, Base64Text):
        return _BASE64_TAG + media.text.encode()
    if isinstance(media, Bytes):
        return _BYTES_TAG + media.data
    raise StoreError(f"a store can hold media in memory, not {type(media).__name__}")


def _unpack_media(data: bytes) -> Media:
    media: Any = Base64Text(data[1:].decode()) if data[:1] == _BASE64_TAG else Bytes(data[1:])
    return media  # type: ignore[no-any-return]
