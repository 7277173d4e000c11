"""Representations: what the head of a response says of the bytes that follow, and whether they continue others.

A download joins bytes of several responses only if they are certainly of one and the same representation of the result.
A 206 continues what is there if all of this holds; otherwise the download starts over:

    its range begins where the received bytes end, and ends within the total
    its total is the one that is known
    its validator, a strong ETag or else Last-Modified, is the one of the bytes that are there
    its Content-Length, if it has one, is that of its range; it is not encoded

A 200 is a whole representation, unless its Content-Range says that it is only a part. Nothing here performs I/O.
"""

from __future__ import annotations

import asyncio
import re
import zlib
from collections.abc import AsyncIterator, Iterator, Mapping

from attrs import frozen

from ..errors import TransferFailed
from .url_guard import PermanentTransferError

# 19 digits: more than any file has bytes, and few enough for int()
_CONTENT_RANGE = re.compile(r"\s*bytes\s+(\d{1,19})-(\d{1,19})/(\d{1,19}|\*)\s*\Z", re.IGNORECASE | re.ASCII)
_GZIP_MAGIC = b"\x1f\x8b"
_DECODED_BLOCK = 1 << 18
_ENCODINGS = frozenset({"gzip", "x-gzip", "deflate"})


@frozen
class Range:
    """A Content-Range: the first byte, the last one, and the total, None if that is not given."""

    first: int
    last: int
    total: int | None

    @property
    def whole(self) -> bool:
        """Whether it is the whole representation."""
        return self.first == 0 and self.total == self.last + 1


@frozen
class ResponseHead:
    """Status and headers of a response to a GET, as far as a download needs them; `length` is its Content-Length."""

    status: int
    headers: Mapping[str, str]
    length: int | None

    @property
    def range(self) -> Range | None:
        """The Content-Range; None if there is none or it is not valid."""
        found = _CONTENT_RANGE.match(self.headers.get("Content-Range", ""))
        if found is None:
            return None
        first, last = int(found[1]), int(found[2])
        total = None if found[3] == "*" else int(found[3])
        return Range(first, last, total) if first <= last and (total is None or last < total) else None

    @property
    def encoding(self) -> str:
        """The Content-Encoding in lower case; empty if there is none."""
        encoding = self.headers.get("Content-Encoding", "").strip().lower()
        return "" if encoding == "identity" else encoding

    @property
    def validator(self) -> str | None:
        """What If-Range may carry: a strong ETag, otherwise Last-Modified; None for a representation without."""
        etag = self.headers.get("ETag", "").strip()
        return etag if etag.startswith('"') else self.headers.get("Last-Modified", "").strip() or None

    @property
    def total(self) -> int | None:
        """The length of the whole representation, None if it is not announced or that of an encoded one."""
        if self.encoding:
            return None
        return self.range.total if self.range else self.length if self.status == 200 else None

    @property
    def end(self) -> int | None:
        """How many bytes of the representation there are at most when this response has ended; None if unknown."""
        return self.range.last + 1 if self.range and not self.encoding else self.total

    def whole_problem(self) -> str | None:
        """Return why the response does not begin a whole representation; None if it does."""
        if self.status == 200 and "Content-Range" not in self.headers:
            return None
        if self.range is None or not self.range.whole:
            return "the server sent a part that was not asked for"
        if self.length not in {None, self.range.total}:
            return "the server announced two different lengths"
        return None

    def continuation_problem(self, received: int, total: int | None, validator: str | None) -> str | None:
        """Return why a 206 does not continue `received` bytes of a representation; None if it does."""
        found = self.range
        if found is None or found.first != received:
            return "the server sent another range than the requested one"
        if total is None and found.total is None:
            return "the server does not say how long the result is"
        if None not in {total, found.total} and total != found.total:
            return f"the result's length changed from {total} to {found.total}"
        if total is not None and found.last >= total:
            return "the server sent a range beyond the end"
        if self.validator != validator:
            return "the result changed"
        if self.encoding or self.length not in {None, found.last - found.first + 1}:
            return "the server announced two different lengths"
        return None


async def decode_blocks(blocks: AsyncIterator[bytes], encoding: str) -> AsyncIterator[bytes]:
    """Yield a body without its Content-Encoding, which was not asked for.

    Raises TransferFailed if it is damaged, PermanentTransferError for an encoding that is not known.
    """
    if encoding not in _ENCODINGS:
        raise PermanentTransferError("the answer has an unknown Content-Encoding")
    decoder = Decoder(encoding)
    try:
        async for block in blocks:
            for decoded in decoder.feed(block):
                yield decoded
                # decoding is CPU work: let other tasks run between blocks
                await asyncio.sleep(0)
    except zlib.error:
        raise TransferFailed("the encoded result is damaged") from None
    if not decoder.complete:
        raise TransferFailed("the encoded result ends early")


class Decoder:
    """Undoes a Content-Encoding that was sent unasked; yields blocks of at most 256 KiB.

    A body that is not encoded in spite of its header passes as it is.
    """

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding
        self._head = b""
        self._inflate: zlib._Decompress | None = None
        self._plain = False

    @property
    def complete(self) -> bool:
        """Whether everything ended where the encoded data ended."""
        return self._plain or (self._inflate is not None and self._inflate.eof)

    def feed(self, block: bytes) -> Iterator[bytes]:
        """Yield what a block of the body decodes to; raises zlib.error for damaged data."""
        if self._inflate is None and not self._plain:
            block, self._head = self._head + block, b""
            if len(block) < 2:
                self._head = block
                return
            self._start(block)
        if self._plain:
            yield block
        elif self._inflate is not None:
            yield from self._decode(self._inflate, block)

    def _decode(self, inflate: zlib._Decompress, block: bytes) -> Iterator[bytes]:
        while not inflate.eof:
            decoded = inflate.decompress(block, _DECODED_BLOCK)
            if decoded:
                yield decoded
            block = inflate.unconsumed_tail
            # all input may be consumed while a full block is still held back
            if not block and len(decoded) < _DECODED_BLOCK:
                break
        if (following := inflate.unused_data).startswith(_GZIP_MAGIC):  # gzip allows several members
            self._inflate = zlib.decompressobj(31)
            yield from self._decode(self._inflate, following)

    def _start(self, head: bytes) -> None:
        self._plain = self._encoding != "deflate" and not head.startswith(_GZIP_MAGIC)
        self._inflate = None if self._plain else zlib.decompressobj(self._inflate_bits(head))

    def _inflate_bits(self, head: bytes) -> int:
        if self._encoding != "deflate":
            return 31
        has_header = head[0] & 15 == 8 and int.from_bytes(head[:2], "big") % 31 == 0
        return 15 if has_header else -15
