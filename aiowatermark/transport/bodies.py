"""A described body as bytes to send: small ones whole, media in a stream of counted blocks."""

from __future__ import annotations

import asyncio
import json
import mimetypes
import secrets
from binascii import b2a_base64
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator
from contextlib import aclosing, suppress
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
        self.blocks = self._counted()

    def watch(self, moved: Callable[[], object]) -> None:
        """Have `moved` called after every block the socket took."""
        self._moved = moved

    async def close(self) -> None:
        """Close what was being read, where the body did not leave whole."""
        await asyncio.sleep(0)  # aiohttp has called its writing task off, which may be inside a read
        with suppress(RuntimeError):
            await self.blocks.aclose()

    async def _counted(self) -> AsyncGenerator[bytes | memoryview, None]:
        """The body, giving the loop its turn between slices.

        The last slice leaves only when it is known to be the last: a body of a wrong length is never whole, so the
        other side cannot have taken it.
        """
        held: bytes | memoryview = b""
        read = 0
        try:
            async with aclosing(_slices(self.body.parts)) as slices:
                async for block in slices:
                    read += len(block)
                    if read > self.body.length:
                        raise self._changed()
                    if held:
                        self.sent += len(held)
                        yield held
                        await self._left()
                    held = block
            if read != self.body.length:
                raise self._changed()
            self.sent += len(held)
            yield held
            await self._left()
        except WatermarkError as error:
            self.error = error
            raise
        except (OSError, aiohttp.ClientError) as error:
            reason = getattr(error, "strerror", None) or type(error).__name__
            self.error = TransferFailed(f"the media could not be read to its end: {reason}")
            raise

    async def _left(self) -> None:
        self._moved()
        if self._progress is not None:
            self._progress(self.sent, self.body.length)
        await asyncio.sleep(0)

    def _changed(self) -> TransferFailed:
        return TransferFailed(f"the media changed its size while it was sent: {self.body.length} bytes were declared")


async def _slices(parts: Iterable[Part]) -> AsyncGenerator[bytes | memoryview, None]:
    """All parts in slices; a reading is closed when nobody goes on with it."""
    for part in parts:
        if isinstance(part, bytes):
            yield part
            continue
        media, cut = (part.media, Base64Slices()) if isinstance(part, Base64) else (part, RawSlices())
        async with aclosing(media.blocks()) as blocks:
            async for block in blocks:
                for piece in cut.of(block):
                    yield piece
        for piece in cut.rest():
            yield piece


class RawSlices:
    """Blocks cut into slices, without a copy."""

    def of(self, block: bytes) -> Iterator[bytes | memoryview]:
        """The slices of one block."""
        view = memoryview(block)
        return (view[start : start + SLICE] for start in range(0, len(view), SLICE))

    def rest(self) -> Iterable[bytes]:
        """Nothing is held back."""
        return ()


class Base64Slices(RawSlices):
    """Blocks as base64 text, in slices; what does not fill a group of three waits for the next block."""

    def __init__(self) -> None:
        self._held = b""

    def of(self, block: bytes) -> Iterator[bytes]:
        """The encoded slices of one block."""
        data = self._held + block if self._held else block
        whole = len(data) - len(data) % 3
        self._held = data[whole:]
        view = memoryview(data)[:whole]
        return (b2a_base64(view[start : start + SLICE], newline=False) for start in range(0, whole, SLICE))

    def rest(self) -> Iterable[bytes]:
        """The last group, padded."""
        return (b2a_base64(self._held, newline=False),) if self._held else ()
