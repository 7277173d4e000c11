"""Inspection: what a downloaded result is, and whether it may be delivered.

A ResultCheck belongs to one download and looks at its bytes each time they seem complete. What it says decides what the
download does next:

    bytes                                        examine() returns
    empty, a page of text, or of another kind    the problem: fetch again
    their format says that the end is missing    the problem; but None, and `suspect`, if the length was as declared and
                                                 the bytes are those of the time before: the provider has no others
    anything else, or `verify` is not set        None: deliver

It does no I/O and blocks for as long as the bytes take to hash; run it in a thread.
"""

from __future__ import annotations

import hashlib
import zlib
from pathlib import Path

from attrs import define, field, frozen

from ..introspection import documented
from .base import SNIFF_BYTES, Media
from .completeness import Content, is_truncated, page_kind
from .files import File
from .memory import Bytes
from .sniff import MediaInfo, sniff

_BLOCK_BYTES = 1 << 20


@documented
@frozen
class OutputInfo:
    """What a result that was saved or read is.

    Args:
        format: the name of its format, such as "jpeg" or "mp4"; None if unknown.
        width: an image's width in pixels, 0 if unknown.
        height: an image's height in pixels, 0 if unknown.
        size: its bytes.
        unchanged: whether it equals the input; None if that is not known, as for a URL, or in another process.
    """

    format: str | None
    width: int
    height: int
    size: int
    unchanged: bool | None = None


@define
class Inspection:
    """What is known of an output since it was last saved or read; shared by all who hold the output."""

    info: OutputInfo | None = None
    suspect: bool = False


@documented
@frozen
class Inspected:
    """What can be inspected: the base of an output."""

    inspection: Inspection = field(factory=Inspection, init=False, eq=False, repr=False)

    @property
    def info(self) -> OutputInfo | None:
        """The result's format, pixels and bytes; None until it was saved or read."""
        return self.inspection.info

    @property
    def suspect(self) -> bool:
        """Whether the result was delivered although the end of its file is missing: the provider has no other."""
        return self.inspection.suspect


@frozen
class SourceContent:
    """What is kept of an input to compare its result with: the path of a file, or size and checksum of bytes; pixels.

    The content of bytes is not kept. Their checksum finds equal content; it is not meant to resist an attack.
    """

    size: int
    checksum: int = 0
    path: Path | None = None
    pixels: tuple[int, int] | None = None

    @classmethod
    def of(cls, media: Media) -> SourceContent | None:
        """Return what to keep of an input; None if it cannot be compared, as a stream or a URL."""
        if isinstance(media, Bytes):
            return cls(len(media.data), zlib.adler32(media.data), pixels=media.pixels)
        if isinstance(media, File) and media.size is not None:
            return cls(media.size, path=media.path, pixels=media.pixels)
        return None

    def equals(self, content: Content) -> bool | None:
        """Whether content equals the input; None if the input cannot be read any more. Blocks while it reads."""
        if len(content) != self.size:
            return False
        if self.path is None:
            return _checksum(content) == self.checksum
        try:
            with self.path.open("rb") as file:
                return all(
                    file.read(_BLOCK_BYTES) == content[start : start + _BLOCK_BYTES]
                    for start in range(0, len(content), _BLOCK_BYTES)
                )
        except OSError:
            return None


@define(eq=False)
class ResultCheck:
    """Examines a result; `video` is what was asked for, `source` what is known of its input.

    After `examine` has returned None, `info` and `suspect` describe the result.
    """

    video: bool | None = None
    verify: bool = True
    source: SourceContent | None = None
    info: OutputInfo | None = field(default=None, init=False)
    suspect: bool = field(default=False, init=False)
    _truncated_digest: str | None = field(default=None, init=False)

    def examine(self, content: Content, *, declared: bool) -> str | None:
        """Return why these bytes are not delivered, None if they are; `declared`: their length was announced."""
        found = sniff(bytes(content[:SNIFF_BYTES]))
        unchanged = None if self.source is None else self.source.equals(content)
        self.info = OutputInfo(found.format, found.width, found.height, len(content), unchanged)
        if not self.verify:
            return None
        if (problem := self._kind_problem(content, found)) is not None:
            return problem
        if not is_truncated(content, found.format):
            return None
        digest, before = _digest(content), self._truncated_digest
        self._truncated_digest = digest
        self.suspect = declared and digest == before
        return None if self.suspect else f"the end of the result is missing (format: {found.format})"

    @property
    def resized(self) -> str | None:
        """How the pixels of the result differ from those of its input, as the rest of a sentence; None if they do not.

        A better remover may answer with a larger image than it was sent.
        """
        before, info = None if self.source is None else self.source.pixels, self.info
        if before is None or info is None or not info.width or before == (info.width, info.height):
            return None
        return f"has {info.width}x{info.height} pixels, its input {before[0]}x{before[1]}"

    def _kind_problem(self, content: Content, found: MediaInfo) -> str | None:
        if not len(content):
            return "the result is empty"
        if found.format is None:
            page = page_kind(content)
            return page and f"{page} was served in place of the result"
        if self.video is None or found.video == self.video:
            return None
        return f"the result is a {found.format} file and not {'a video' if self.video else 'an image'}"


def _checksum(content: Content) -> int:
    value = 1  # what Adler-32 begins with
    for start in range(0, len(content), _BLOCK_BYTES):
        value = zlib.adler32(content[start : start + _BLOCK_BYTES], value)
    return value


def _digest(content: Content) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for start in range(0, len(content), _BLOCK_BYTES):
        digest.update(content[start : start + _BLOCK_BYTES])
    return digest.hexdigest()
