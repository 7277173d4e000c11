"""API responses: reads a body completely, up to a limit, and parses a large one off the event loop."""

from __future__ import annotations

import asyncio

import aiohttp

from ..errors import UnexpectedAnswer
from ..wire import Response

ANSWER_LIMIT = 256 << 20
"""Bytes of the largest body that is read: results may be base64 text inside JSON."""
CONNECT_TIMEOUT = 15.0
"""Seconds that connecting to a host may take."""
NO_TOTAL_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT)
"""For callers that limit the total time themselves."""
_PARSE_IN_THREAD = 1 << 18
"""Bytes from which JSON is parsed in a worker thread."""
_READ_CHUNK = 1 << 18


def idle_timeout(seconds: float) -> aiohttp.ClientTimeout:
    """Return a timeout for silence alone: a response that keeps arriving may take any time."""
    return aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT, sock_read=seconds)


async def read_response(received: aiohttp.ClientResponse) -> Response:
    """Read a response and release its connection; raises UnexpectedAnswer if the body is larger than the limit."""
    length = received.content_length
    # a declared length bounds the bytes that arrive (before decompression): read() saves the bounded reader's copy
    body = await (received.read() if length is not None and length <= ANSWER_LIMIT else _read_bounded(received))
    response = Response(received.status, received.headers, body)
    if len(body) > _PARSE_IN_THREAD:
        await asyncio.to_thread(response.parse_in_advance)
    return response


async def _read_bounded(received: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async with received:
        async for chunk in received.content.iter_chunked(_READ_CHUNK):
            body += chunk
            if len(body) > ANSWER_LIMIT:
                raise UnexpectedAnswer(f"the answer is larger than {ANSWER_LIMIT >> 20} MiB and was not read further")
    return bytes(body)
