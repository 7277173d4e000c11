"""A described body as bytes to send: small ones whole, media in a stream of counted blocks."""

from __future__ import annotations

import asyncio
import json
import mimetypes
import secrets
from binascii import b2a_base64
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, TypeAlias

import aiohttp
from attrs import frozen

from ..errors import TransferFailed, WatermarkError
from ..media.base import SLICE, Media
from ..wire import Base64, Json, Multipart

Part: TypeAlias = bytes | Media | Base64
Progress: TypeAlias = Callable[[int, int | None], object]
Sized: TypeAlias = Callable[[Media], Awaitable[Media]]
"""Gives media whose size is known and that can be read here."""


@frozen
class Plan:
    """What will be sent: its type, its parts in order, its whole length in bytes."""

    content_type: str
    parts: tuple[Part, ...]

    @property
    def length(self) -> int:
        """Bytes on the wire."""
        return sum(map(_length, self.parts))

    @property
    def small(self) -> bytes | None:
        """The whole body, where nothing in it needs to be read."""
        plain = [part for part in self.parts if isinstance(part, bytes)]
        return b"".join(plain) if len(plain) == len(self.parts) else None


def _length(part: Part) -> int:
    if isinstance(part, bytes):
        return len(part)
    if isinstance(part, Base64):
        return (_known(part.media) + 2) // 3 * 4
    return _known(part)


def _known(media: Media) -> int:
    if media.size is None:
        msg = f"the size of {media.name} is not known"
        raise TransferFailed(msg)
    return media.size


async def plan(body: Json | Multipart | Media, sized: Sized) -> Plan:
    """How a body will be sent."""
    match body:
        case Json(value):
            return Plan("application/json", tuple([await _ready(part, sized) for part in json_parts(value)]))
        case Multipart():
            boundary = secrets.token_hex(16)
            parts = [await _ready(part, sized) for part in multipart_parts(body, boundary)]
            return Plan(f"multipart/form-data; boundary={boundary}", tuple(parts))
        case Media() as media:
            return Plan("application/octet-stream", (await sized(media),))


async def _ready(part: Part, sized: Sized) -> Part:
    if isinstance(part, bytes):
        return part
    return Base64(await sized(part.media)) if isinstance(part, Base64) else await sized(part)


def json_parts(value: Any) -> Iterator[Part]:
    """JSON text in parts, with media where base64 text is to stand."""
    found: list[Base64] = []
    mark = secrets.token_hex(16)

    def placed(item: Any) -> str:
        if not isinstance(item, Base64):
            msg = f"{type(item).__name__} is no JSON"
            raise TypeError(msg)
        found.append(item)
        return mark

    first, *rest = json.dumps(value, default=placed).encode().split(mark.encode())
    yield first
    for item, text in zip(found, rest, strict=True):
        yield item
        yield text


def multipart_parts(form: Multipart, boundary: str) -> Iterator[Part]:
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


class Sending:
    """One attempt's body on its way: counts what leaves and remembers why it broke."""

    def __init__(self, body: Plan, progress: Progress | None) -> None:
        self.body = body
        self.sent = 0
        self.error: WatermarkError | None = None
        self._progress = progress
        self._moved: Callable[[], object] = lambda: None

    def watch(self, moved: Callable[[], object]) -> None:
        """Have `moved` called after every block the socket took."""
        self._moved = moved

    async def blocks(self) -> AsyncIterator[bytes | memoryview]:
        """The body, in slices, giving the loop its turn between them; never more or fewer bytes than declared."""
        try:
            total = self.body.length
            async for block in self._blocks():
                self.sent += len(block)
                if self.sent > total:
                    self._changed()
                yield block
                self._moved()
                if self._progress is not None:
                    self._progress(self.sent, total)
                await asyncio.sleep(0)
            if self.sent != total:
                self._changed()
        except WatermarkError as error:
            self.error = error
            raise
        except (OSError, aiohttp.ClientError) as error:
            reason = getattr(error, "strerror", None) or type(error).__name__
            self.error = TransferFailed(f"the media could not be read to its end: {reason}")
            raise

    def _changed(self) -> None:
        msg = f"the media changed its size while it was being sent: {self.body.length} bytes were declared"
        raise TransferFailed(msg)

    async def _blocks(self) -> AsyncIterator[bytes | memoryview]:
        for part in self.body.parts:
            if isinstance(part, bytes):
                yield part
            elif isinstance(part, Base64):
                async for block in _base64(part.media):
                    yield block
            else:
                async for block in _slices(part):
                    yield block


async def _slices(media: Media) -> AsyncIterator[memoryview]:
    async for block in media.blocks():
        view = memoryview(block)
        for start in range(0, len(view), SLICE):
            yield view[start : start + SLICE]


async def _base64(media: Media) -> AsyncIterator[bytes]:
    rest = b""
    async for view in _slices(media):
        data = memoryview(rest + view.tobytes()) if rest else view
        whole = len(data) - len(data) % 3
        rest = bytes(data[whole:])
        yield b2a_base64(data[:whole], newline=False)
    yield b2a_base64(rest, newline=False)
