"""API responses: reads a body up to the limit of its request, and takes images out of it while it arrives."""

from __future__ import annotations

import asyncio

import aiohttp

from ..errors import UnexpectedAnswer
from ..wire import MAX_ANSWER_BYTES, Request, Response
from .long_texts import LongTextReader

CONNECT_TIMEOUT = 15.0
"""Seconds that connecting to a host may take."""
NO_TOTAL_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT)
"""For callers that limit the total time themselves."""
_READ_CHUNK = 1 << 17
_MAX_READ = 1 << 22
"""Bytes after which the longest answer without an image is given up, long strings included."""


def idle_timeout(seconds: float) -> aiohttp.ClientTimeout:
    """Return a timeout for silence alone: a response that keeps arriving may take any time."""
    return aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT, sock_read=seconds)


async def read_response(received: aiohttp.ClientResponse, request: Request) -> Response:
    """Read a response and release its connection.

    The bytes are counted after decompression. Raises UnexpectedAnswer, without reading further, for more of them than
    `request.max_answer`, long strings not counted, or than the transport reads at all.
    """
    length = received.content_length
    if length is not None and length <= MAX_ANSWER_BYTES and "Content-Encoding" not in received.headers:
        # most answers: the length bounds what arrives, and read() saves a copy
        return Response(received.status, received.headers, await received.read(), repeatable=request.repeatable)
    async with received:
        try:
            return await _read_bounded(received, request)
        except UnexpectedAnswer:
            received.close()  # instead of reading the rest to use the connection again
            raise


async def _read_bounded(received: aiohttp.ClientResponse, request: Request) -> Response:
    images = request.max_answer > MAX_ANSWER_BYTES
    limit = request.max_answer if images else _MAX_READ
    body, reader, length = bytearray(), LongTextReader(images=images), 0
    async for chunk in received.content.iter_chunked(_READ_CHUNK):
        length += len(chunk)
        if length <= MAX_ANSWER_BYTES:
            body += chunk
            continue
        if length > limit:
            raise UnexpectedAnswer(f"the answer is larger than {limit >> 10} KiB and was not read further")
        if body:
            reader.feed(bytes(body))
            body.clear()
        reader.feed(chunk)
        # what has arrived already is read without waiting: let other tasks run
        await asyncio.sleep(0)
    left = bytes(body) if length <= MAX_ANSWER_BYTES else reader.finish()
    return Response(received.status, received.headers, left, texts=reader.texts, repeatable=request.repeatable)
