"""LentMedia: a file that a provider may download under a link, until its job ends; the same way in both bridges.

Every link serves one file. A request may ask for one range of it (RFC 9110, 14.2), so that a provider can resume. What
a reader costs is bounded: at most `MAX_READERS` at a time per link, and each piece of `PIECE` bytes must be taken
within `PIECE_SECONDS`, so that a peer that does not read is dropped.
"""

from __future__ import annotations

import mimetypes
import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing

from attrs import define, field, frozen

from ..media.base import Media

MAX_READERS = 8
PIECE = 256 << 10
PIECE_SECONDS = 30.0

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


@frozen
class MediaResponse:
    """How a request for lent media is answered: status, headers, and which bytes of the media are its body."""

    status: int
    headers: Mapping[str, str]
    start: int = 0
    length: int | None = None
    """Bytes of the body, None for all from `start` on."""


@define(eq=False)
class LentMedia:
    """Media under one link; `readers` counts the requests that are being answered."""

    media: Media
    readers: int = field(default=0, init=False)

    def plan_response(self, requested_range: str, *, conditional: bool) -> MediaResponse:
        """Decide the answer to a GET or HEAD with this Range header, "" for none.

        A range that is malformed, one of several, or conditional (If-Range: no validator was ever sent) is ignored.
        """
        size = self.media.size
        headers = {"Content-Type": mimetypes.guess_type(self.media.name)[0] or "application/octet-stream"}
        if size is None:
            return MediaResponse(200, headers)
        headers["Accept-Ranges"] = "bytes"
        bounds = None if conditional else _parse_range(requested_range, size)
        if bounds is None:
            return MediaResponse(200, {**headers, "Content-Length": str(size)}, 0, size)
        start, length = bounds
        if length <= 0:
            return MediaResponse(416, {"Content-Range": f"bytes */{size}", "Content-Length": "0"}, 0, 0)
        headers |= {"Content-Range": f"bytes {start}-{start + length - 1}/{size}", "Content-Length": str(length)}
        return MediaResponse(206, headers, start, length)

    async def pieces(self, response: MediaResponse) -> AsyncGenerator[memoryview, None]:
        """Yield the body of a response in pieces of at most `PIECE` bytes.

        Fewer bytes than planned if the media has become shorter. Raises OSError or InvalidInput if it cannot be read.
        """
        skip, left = response.start, response.length
        if left == 0:
            return
        async with aclosing(self.media.blocks()) as blocks:
            async for block in blocks:
                view = memoryview(block)[skip:]
                skip = max(0, skip - len(block))
                for offset in range(0, len(view), PIECE):
                    piece = view[offset : offset + PIECE if left is None else min(offset + PIECE, offset + left)]
                    if left is not None:
                        left -= len(piece)
                    if piece:
                        yield piece
                    if left == 0:
                        return


def _parse_range(header: str, size: int) -> tuple[int, int] | None:
    """Return start and length of the range; a length of 0 or less if it cannot be satisfied; None to ignore it."""
    match = _RANGE.fullmatch(header.strip()[:64])
    if match is None or not any(match.groups()):
        return None
    first, last = match.groups()
    if not first:
        length = min(int(last), size)
        return size - length, length
    if last and int(last) < int(first):
        return None
    return int(first), min(int(last or size), size - 1) - int(first) + 1
