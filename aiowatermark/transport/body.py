"""Request bodies: encodes JSON, multipart forms and media as a sequence of parts whose total length is known.

aiohttp's own writers lack three things that are needed here: the exact length of a form before it is sent, base64 text
inside JSON that is encoded while it is sent, and media that can be read again for another attempt.
"""

from __future__ import annotations

import json
import mimetypes
import secrets
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from typing import Any, TypeAlias

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from attrs import frozen

from ..errors import TransferFailed
from ..media.base import Media
from ..wire import Base64, Json, Multipart

BodyPart: TypeAlias = bytes | Media | Base64
MeasureMedia: TypeAlias = Callable[[Media], Awaitable[Media]]
"""Returns media with the same content whose size is known and that can be read here."""

_JSON: Mapping[str, str] = {"Content-Type": "application/json"}
_BYTES: Mapping[str, str] = {"Content-Type": "application/octet-stream"}


@frozen
class EncodedBody:
    """A body that is ready to be sent: its headers and its parts in order."""

    headers: Mapping[str, str]
    parts: tuple[BodyPart, ...]

    @property
    def length(self) -> int:
        """Bytes on the wire; raises TransferFailed while the size of a part is not known."""
        return sum(map(_length, self.parts))

    @property
    def as_bytes(self) -> bytes | None:
        """The whole body, or None if a part of it must be read from media."""
        part = self.parts[0]
        return part if isinstance(part, bytes) and len(self.parts) == 1 else None


def _length(part: BodyPart) -> int:
    if isinstance(part, bytes):
        return len(part)
    if isinstance(part, Base64):
        return (_known_size(part.media) + 2) // 3 * 4
    return _known_size(part)


def _known_size(media: Media) -> int:
    if media.size is None:
        raise TransferFailed(f"the size of {media.name} is not known")
    return media.size


def encode_body(body: Json | Multipart | Media) -> EncodedBody:
    """Return the body as it will be sent; the sizes of its media may still be unknown."""
    match body:
        case Json(value):
            return EncodedBody(_JSON, json_parts(value))
        case Multipart():
            boundary = secrets.token_hex(16)
            headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
            return EncodedBody(headers, _join_if_all_bytes(multipart_parts(body, boundary)))
        case Media() as media:
            return EncodedBody(_BYTES, (media,))


def _join_if_all_bytes(parts: Iterable[BodyPart]) -> tuple[BodyPart, ...]:
    """Return the parts, joined to a single one if none of them is media."""
    all_parts = tuple(parts)
    texts = [part for part in all_parts if isinstance(part, bytes)]
    return (b"".join(texts),) if len(texts) == len(all_parts) else all_parts


async def with_known_sizes(body: EncodedBody, measure: MeasureMedia) -> EncodedBody:
    """Return the body with every media in it replaced by what `measure` returns for it."""
    return EncodedBody(body.headers, tuple([await _with_known_size(part, measure) for part in body.parts]))


async def _with_known_size(part: BodyPart, measure: MeasureMedia) -> BodyPart:
    if isinstance(part, bytes):
        return part
    return Base64(await measure(part.media)) if isinstance(part, Base64) else await measure(part)


def json_parts(value: Any) -> tuple[BodyPart, ...]:
    """Return JSON text in parts: bytes, and Base64 where a string holds media as base64 text."""
    try:  # most bodies hold plain values only
        return (json.dumps(value).encode(),)
    except TypeError:
        return tuple(_json_parts_with_media(value))


def _json_parts_with_media(value: Any) -> Iterator[BodyPart]:
    """Serialize with a random placeholder for each media, then split the text at the placeholders."""
    media: list[Base64] = []
    placeholder = secrets.token_hex(16)

    def replace(item: Any) -> str:
        if not isinstance(item, Base64):
            raise TypeError(f"{type(item).__name__} is not JSON serializable")
        media.append(item)
        return placeholder

    first, *rest = json.dumps(value, default=replace).encode().split(placeholder.encode())
    yield first
    for item, text in zip(media, rest, strict=True):
        yield item
        yield text


def multipart_parts(form: Multipart, boundary: str) -> Iterator[BodyPart]:
    """Yield a multipart/form-data body: for each field its header and its value, and the closing boundary."""
    line_break = ""  # a boundary follows a line break, except the first
    for name, value in form.fields.items():
        header = f'{line_break}--{boundary}\r\nContent-Disposition: form-data; name="{name}"'
        line_break = "\r\n"
        if isinstance(value, str):
            yield f"{header}\r\n\r\n{value}".encode()
            continue
        content_type = form.types.get(name) or mimetypes.guess_type(value.name)[0] or "application/octet-stream"
        # these three would end the quoted file name, or the header
        file_name = value.name.replace('"', "_").replace("\r", "_").replace("\n", "_")
        yield f'{header}; filename="{file_name}"\r\nContent-Type: {content_type}\r\n\r\n'.encode()
        yield value
    yield f"{line_break}--{boundary}--\r\n".encode()


class TrackedBody(aiohttp.BytesPayload):
    """A body that calls `on_sent` when it is written: only then aiohttp writes the headers, too."""

    def __init__(self, data: bytes, on_sent: Callable[[], object]) -> None:
        super().__init__(data)
        self.sent = False
        self._on_sent = on_sent

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        """Write the body."""
        self._on_sent()  # raises if nothing may be sent any more
        self.sent = True
        await super().write_with_length(writer, content_length)


def size_of(data: bytes | TrackedBody) -> int:
    """Return the bytes of a body without media."""
    return len(data) if isinstance(data, bytes) else data.size or 0


def is_written(data: bytes | TrackedBody | None) -> bool:
    """Whether a body may have been written: only that of a paid request is known not to be."""
    return not isinstance(data, TrackedBody) or data.sent
