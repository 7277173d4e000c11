"""A described body as a plan of what will be sent: its type, its parts, its length."""

from __future__ import annotations

import json
import mimetypes
import secrets
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from typing import Any, TypeAlias

from attrs import frozen

from ..errors import TransferFailed
from ..media.base import Media
from ..wire import Base64, Json, Multipart

BodyPart: TypeAlias = bytes | Media | Base64
Sized: TypeAlias = Callable[[Media], Awaitable[Media]]
"""Gives media whose size is known and that can be read here."""

_JSON: Mapping[str, str] = {"Content-Type": "application/json"}
_BYTES: Mapping[str, str] = {"Content-Type": "application/octet-stream"}


@frozen
class EncodedBody:
    """What will be sent: the headers that tell its type, its parts in order, its whole length in bytes."""

    headers: Mapping[str, str]
    parts: tuple[BodyPart, ...]

    @property
    def length(self) -> int:
        """Bytes on the wire."""
        return sum(map(_length, self.parts))

    @property
    def is_small(self) -> bytes | None:
        """The whole body, where nothing in it needs to be read."""
        part = self.parts[0]
        return part if isinstance(part, bytes) and len(self.parts) == 1 else None


def _length(part: BodyPart) -> int:
    if isinstance(part, bytes):
        return len(part)
    if isinstance(part, Base64):
        return (_known_length(part.media) + 2) // 3 * 4
    return _known_length(part)


def _known_length(media: Media) -> int:
    if media.size is None:
        raise TransferFailed(f"the size of {media.name} is not known")
    return media.size


def encode_body(body: Json | Multipart | Media) -> EncodedBody:
    """How a body will be sent; its media are not measured yet."""
    match body:
        case Json(value):
            return EncodedBody(_JSON, json_parts(value))
        case Multipart():
            boundary = secrets.token_hex(16)
            kind = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
            return EncodedBody(kind, _collapse(multipart_parts(body, boundary)))
        case Media() as media:
            return EncodedBody(_BYTES, (media,))


def _collapse(parts: Iterable[BodyPart]) -> tuple[BodyPart, ...]:
    """The parts; a single one, where nothing in them needs to be read."""
    given = tuple(parts)
    plain = [part for part in given if isinstance(part, bytes)]
    return (b"".join(plain),) if len(plain) == len(given) else given


async def with_known_sizes(body: EncodedBody, sized: Sized) -> EncodedBody:
    """The plan with media whose sizes are known and that can be read here."""
    return EncodedBody(body.headers, tuple([await _with_known_size(part, sized) for part in body.parts]))


async def _with_known_size(part: BodyPart, sized: Sized) -> BodyPart:
    if isinstance(part, bytes):
        return part
    return Base64(await sized(part.media)) if isinstance(part, Base64) else await sized(part)


def json_parts(value: Any) -> tuple[BodyPart, ...]:
    """JSON text in parts, with media where base64 text is to stand."""
    try:  # plain values, as most are, need no second look
        return (json.dumps(value).encode(),)
    except TypeError:
        return tuple(_mixed_parts(value))


def _mixed_parts(value: Any) -> Iterator[BodyPart]:
    found: list[Base64] = []
    mark = secrets.token_hex(16)

    def placed(item: Any) -> str:
        if not isinstance(item, Base64):
            raise TypeError(f"{type(item).__name__} is no JSON")
        found.append(item)
        return mark

    first, *rest = json.dumps(value, default=placed).encode().split(mark.encode())
    yield first
    for item, text in zip(found, rest, strict=True):
        yield item
        yield text


def multipart_parts(form: Multipart, boundary: str) -> Iterator[BodyPart]:
    """A form in parts: one part's head, its value, the next."""
    lead = ""
    for name, value in form.fields.items():
        head = f'{lead}--{boundary}\r\nContent-Disposition: form-data; name="{name}"'
        lead = "\r\n"
        if isinstance(value, str):
            yield f"{head}\r\n\r\n{value}".encode()
            continue
        kind = form.types.get(name) or mimetypes.guess_type(value.name)[0] or "application/octet-stream"
        file = value.name.replace('"', "_").replace("\r", "_").replace("\n", "_")
        yield f'{head}; filename="{file}"\r\nContent-Type: {kind}\r\n\r\n'.encode()
        yield value
    yield f"{lead}--{boundary}--\r\n".encode()
