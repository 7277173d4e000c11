"""Records as stores keep them: plain JSON with a format number, and beside it the media that are in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import cattrs

from ... import errors
from ...codec import converter
from ...errors import StoreError, WatermarkError
from ...jobs import Output, Record, Session, Snapshot
from ...media.base import Media
from ...media.files import File
from ...media.memory import Base64Text, Bytes, Link
from .load import LoadPart, StoredRecord

FORMAT = 1
"""Of what `dump` writes. It grows when an older version could no longer read it."""


def dump(record: Record) -> tuple[dict[str, Any], dict[str, Media]]:
    """A record as a JSON object, and its media that are in memory (Bytes, Encoded) under the names it gives them.

    A part's name is a digest of the job, the part's place and its content: fit for file names and database keys, and
    never another job's, not even of a later one with the same key. Links keep their whole URL, files their path.
    Raises StoreError for media that can be read once.
    """
    parts: dict[str, Media] = {}

    def part(place: str, media: Media) -> str:
        what = (record.key, record.owner, repr(record.created_at), place, media.identity)
        name = hashlib.blake2b("\0".join(what).encode(), digest_size=16).hexdigest()
        parts[name] = media
        return name

    plain = {
        "v": FORMAT,
        "key": record.key,
        "provider": record.provider,
        "snapshot": _dump_snapshot(record.snapshot, part),
        "fingerprint": record.fingerprint,
        "video": record.video,
        "inputs": list(record.inputs),
        "callback": record.callback,
        "account": record.account,
        "owner": record.owner,
        "created_at": record.created_at,
        "version": record.version,
    }
    return plain, parts


def load(data: Any, parts: LoadPart) -> Record:
    """The record `dump` made this of. Raises StoreError for damage, and for a format newer than this version's.

    An output whose part is gone becomes a ResultExpired; a session whose mask is gone is forgotten, because to go on
    without it would bring back what was erased before.
    """
    version = data.get("v") if isinstance(data, dict) else None
    if isinstance(version, int) and version > FORMAT:
        raise StoreError(
            f"the record is of format {version}, and this aiowatermark reads {FORMAT}: use the newer version"
        )
    if version != FORMAT or isinstance(version, bool):
        raise StoreError("the record is damaged: it is no record of aiowatermark")
    try:
        return converter.structure(data, StoredRecord).record(parts)
    except (cattrs.BaseValidationError, TypeError, ValueError) as error:
        what = "; ".join(cattrs.transform_error(error)) if isinstance(error, cattrs.BaseValidationError) else error
        raise StoreError(f"the record is damaged: {what}") from None


def has_inline_media(record: Record) -> bool:
    """Whether `dump` would hand out parts."""
    snapshot = record.snapshot
    media = [output.media for output in snapshot.outputs]
    if snapshot.session is not None:
        media.append(snapshot.session.mask)
    return any(isinstance(each, Bytes | Base64Text) for each in media)


_AddPart = Callable[[str, Media], str]


def _dump_snapshot(snapshot: Snapshot, part: _AddPart) -> dict[str, Any]:
    """What there is; most snapshots are a status and an id."""
    plain: dict[str, Any] = {"status": snapshot.status.value}
    for name in ("task_id", "progress", "reason", "retry_after", "key"):
        if (value := getattr(snapshot, name)) is not None:
            plain[name] = value
    if snapshot.outputs:
        plain["outputs"] = [
            _dump_output(output, f"output {index}", part) for index, output in enumerate(snapshot.outputs)
        ]
    if snapshot.details:
        plain["details"] = _to_json(snapshot.details)
    if snapshot.session is not None:
        plain["session"] = _dump_session(snapshot.session, part)
    return plain


def _dump_session(session: Session, part: _AddPart) -> dict[str, Any]:
    mask = None if session.mask is None else _dump_media(session.mask, "mask", part)
    return {"id": session.id, "mask": mask, "refinements": session.refinements}


def _dump_output(output: Output, place: str, part: _AddPart) -> dict[str, Any]:
    media = None if output.media is None else _dump_media(output.media, place, part)
    return {"media": media, "error": None if output.error is None else _dump_error(output.error)}


def _dump_error(error: WatermarkError) -> dict[str, Any]:
    """Its class, or the next one above it that stands in the tree; its message; the redacted answer."""
    kind = next(cls for cls in type(error).__mro__ if cls.__module__ == errors.__name__)
    return {"kind": kind.__name__, "message": error.message, "answer": error.answer}


def _dump_media(media: Media, place: str, part: _AddPart) -> dict[str, Any]:
    if isinstance(media, Link):
        return {"link": media.url, "size": media.size, "name": media.name}
    if isinstance(media, File):
        return {"file": str(media.path), "size": media.size, "name": media.name}
    if isinstance(media, Bytes | Base64Text):
        return {"part": part(place, media), "size": media.size, "name": media.name}
    raise StoreError(f"a record holds links, files and media in memory, not {type(media).__name__}")


def _to_json(value: Any) -> Any:
    """A provider's facts as JSON has them; what JSON has no word for becomes text."""
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, Mapping):
        return {str(name): _to_json(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_to_json(each) for each in value]
    return str(value)
