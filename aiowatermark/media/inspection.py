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
import re

from attrs import define, field, frozen

from ..introspection import documented
from .base import SNIFF_BYTES
from .completeness import Content, is_truncated, page_kind
from .sniff import MediaInfo, sniff

_CONTENT_IDENTITY = re.compile(r"[0-9a-f]{32}")
"""What `Bytes.identity` gives; that of a file is its name and size."""
_HASH_BYTES = 1 << 20


@documented
@frozen
class OutputInfo:
    """What a result that was saved or read is.

    Args:
        format: the name of its format, such as "jpeg" or "mp4"; None if unknown.
        width: an image's width in pixels, 0 if unknown.
        height: an image's height in pixels, 0 if unknown.
        size: its bytes.
        unchanged: whether it equals the input byte for byte; None if that is not known, as for input from a file.
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


@define(eq=False)
class ResultCheck:
    """Examines a result; `video` is what was asked for, `source` the identity of its input.

    After `examine` has returned None, `info` and `suspect` describe the result.
    """

    video: bool | None = None
    verify: bool = True
    source: str = ""
    info: OutputInfo | None = field(default=None, init=False)
    suspect: bool = field(default=False, init=False)
    _truncated_digest: str | None = field(default=None, init=False)

    def examine(self, content: Content, *, declared: bool) -> str | None:
        """Return why these bytes are not delivered, None if they are; `declared`: their length was announced."""
        found = sniff(bytes(content[:SNIFF_BYTES]))
        unchanged = self._equals_source(content)
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

    def _kind_problem(self, content: Content, found: MediaInfo) -> str | None:
        if not len(content):
            return "the result is empty"
        if found.format is None:
            page = page_kind(content)
            return page and f"{page} was served in place of the result"
        if self.video is None or found.video == self.video:
            return None
        return f"the result is a {found.format} file and not {'a video' if self.video else 'an image'}"

    def _equals_source(self, content: Content) -> bool | None:
        return _digest(content) == self.source if _CONTENT_IDENTITY.fullmatch(self.source) else None


def _digest(content: Content) -> str:
    """Return the digest that `Bytes.identity` gives for the same bytes."""
    digest = hashlib.blake2b(digest_size=16)
    for start in range(0, len(content), _HASH_BYTES):
        digest.update(content[start : start + _HASH_BYTES])
    return digest.hexdigest()
