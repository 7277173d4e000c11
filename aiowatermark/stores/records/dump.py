"""dump: a record as a JSON object with a format number, and apart from it the media that are held in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from attrs import evolve

from ... import errors
from ...errors import ResultExpired, StoreError, WatermarkError
from ...jobs import Output, Record, Session, Snapshot
from ...media.base import Media
from ...media.files import File
from ...media.memory import Base64Text, Bytes, Link

FORMAT = 2
"""The format number `dump` writes; raise it when an older version could no longer read the result."""
OLD_FORMATS = frozenset({1})
"""Formats of earlier versions that `load` still reads: format 1 has none of the optional fields."""

_AddPart: TypeAlias = Callable[[str, Media], str]
"""Called with an output's position and its media in memory; stores it as a part and returns the part's name."""


def dump(record: Record) -> tuple[dict[str, Any], dict[str, Media]]:
    """Return a record as a JSON object, and by name the parts: its media in memory (Bytes, Base64Text).

    A part's name is a digest of the job, the part's position and its content. It can be a file name or a database key
    and is never that of another job's part, not even of a later job with the same key. Links keep their whole URL,
    files their path. Raises StoreError for media that can be read only once.
    """
    parts: dict[str, Media] = {}

    def add_part(position: str, media: Media) -> str:
        identity = (record.key, record.owner, repr(record.created_at), position, media.identity)
        name = hashlib.blake2b("\0".join(identity).encode(), digest_size=16).hexdigest()
        parts[name] = media
        return name

    data: dict[str, Any] = {
        "v": FORMAT,
        "key": record.key,
        "provider": record.provider,
        "snapshot": _dump_snapshot(record.snapshot, add_part),
        "fingerprint": record.fingerprint,
        "video": record.video,
        "inputs": list(record.inputs),
        "callback": record.callback,
        "account": record.account,
        "owner": record.owner,
        "created_at": record.created_at,
        "version": record.version,
    }
    _add_optional(record, data)
    _add_ledger(record, data)
    return data, parts


def _add_optional(record: Record, data: dict[str, Any]) -> None:
    """Add the fields that format 2 stores only if they are set."""
    # written out, like the snapshot: a loop over their names takes half as long again for the whole record
    if record.epoch:
        data["epoch"] = record.epoch
    if record.masked:
        data["masked"] = True
    if record.route is not None:
        data["route"] = record.route
    if record.accepted_at is not None:
        data["accepted_at"] = record.accepted_at
    if record.acknowledged:
        data["acknowledged"] = True
    if record.trace is not None:
        data["trace"] = record.trace
    if record.labels:
        data["labels"] = dict(record.labels)


def _add_ledger(record: Record, data: dict[str, Any]) -> None:
    """Add what was attempted, charged and noted."""
    if record.charged is not None:
        # the amount is a number, as earlier versions of this format read it
        data["charged"], data["charge_source"] = record.charged.credits, record.charged.source
    if record.attempts:
        data["attempts"] = [[attempt.at, attempt.account, attempt.outcome] for attempt in record.attempts]
    if record.history:
        data["history"] = list(record.history)


def has_inline_media(record: Record) -> bool:
    """Whether `dump` would return any parts."""
    snapshot = record.snapshot
    media = [output.media for output in snapshot.outputs]
    if snapshot.session is not None:
        media.append(snapshot.session.mask)
    return any(isinstance(each, Bytes | Base64Text) for each in media)


def without_inline_media(record: Record) -> Record:
    """Return the record with ResultExpired in place of results in memory; the record itself if it holds none."""
    if not has_inline_media(record):
        return record
    outputs = tuple(_expire(output) for output in record.snapshot.outputs)
    return evolve(record, snapshot=evolve(record.snapshot, outputs=outputs, session=None))


def _expire(output: Output) -> Output:
    if not isinstance(output.media, Bytes | Base64Text):
        return output
    return Output(error=ResultExpired("the result is no longer in memory: use a SQLiteStore, or a larger `content`"))


def _dump_snapshot(snapshot: Snapshot, add_part: _AddPart) -> dict[str, Any]:
    """Return only the fields that are set; most snapshots are a status and a task id."""
    data: dict[str, Any] = {"status": snapshot.status.value}
    if snapshot.task_id is not None:
        data["task_id"] = snapshot.task_id
    if snapshot.progress is not None:
        data["progress"] = snapshot.progress
    if snapshot.reason is not None:
        data["reason"] = snapshot.reason
    if snapshot.retry_after is not None:
        data["retry_after"] = snapshot.retry_after
    if snapshot.key is not None:
        data["key"] = snapshot.key
    if snapshot.outputs:
        data["outputs"] = [
            _dump_output(output, f"output {index}", add_part) for index, output in enumerate(snapshot.outputs)
        ]
    if snapshot.details:
        data["details"] = _to_json(snapshot.details)
    if snapshot.session is not None:
        data["session"] = _dump_session(snapshot.session, add_part)
    return data


def _dump_session(session: Session, add_part: _AddPart) -> dict[str, Any]:
    mask = None if session.mask is None else _dump_media(session.mask, "mask", add_part)
    return {"id": session.id, "mask": mask, "refinements": session.refinements}


def _dump_output(output: Output, position: str, add_part: _AddPart) -> dict[str, Any]:
    media = None if output.media is None else _dump_media(output.media, position, add_part)
    return {"media": media, "error": None if output.error is None else _dump_error(output.error)}


def _dump_error(error: WatermarkError) -> dict[str, Any]:
    """Return an error's class, message and redacted answer."""
    # `load` finds classes by name in errors.py, so an application's own subclass is stored as its nearest base there
    kind = next(cls for cls in type(error).__mro__ if cls.__module__ == errors.__name__)
    return {"kind": kind.__name__, "message": error.message, "answer": error.answer}


def _dump_media(media: Media, position: str, add_part: _AddPart) -> dict[str, Any]:
    if isinstance(media, Link):
        return {"link": media.url, "size": media.size, "name": media.name}
    if isinstance(media, File):
        return {"file": str(media.path), "size": media.size, "name": media.name}
    if isinstance(media, Bytes | Base64Text):
        return {"part": add_part(position, media), "size": media.size, "name": media.name}
    raise StoreError(f"a record can hold links, files and media in memory, not {type(media).__name__}")


def _to_json(value: Any) -> Any:
    """Return a provider's details as JSON types; a value of any other type becomes text."""
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, Mapping):
        return {str(name): _to_json(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_to_json(each) for each in value]
    return str(value)
