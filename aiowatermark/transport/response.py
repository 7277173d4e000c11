"""Answers of the API, read whole, but not without end."""

from __future__ import annotations

import asyncio

import aiohttp

from ..errors import UnexpectedAnswer
from ..wire import Response

ANSWER_LIMIT = 256 << 20
CONNECT_TIMEOUT = 15.0
"""Seconds that reaching a host may take."""
NO_TOTAL_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT)
"""For those who bound the whole themselves."""
_PARSE_IN_THREAD = 1 << 18


async def read_response(answer: aiohttp.ClientResponse) -> Response:
    """The answer, read; its connection is let go of, whatever happens. Raises UnexpectedAnswer for an endless one."""
    length = answer.content_length
    body = await (answer.read() if length is not None and length <= ANSWER_LIMIT else _read_unsized(answer))
    reply = Response(answer.status, answer.headers, body)
    if len(body) > _PARSE_IN_THREAD:
        await asyncio.to_thread(reply.parse_in_advance)
    return reply


async def _read_unsized(answer: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async with answer:
        async for chunk in answer.content.iter_chunked(1 << 18):
            body += chunk
            if len(body) > ANSWER_LIMIT:
                raise UnexpectedAnswer("the answer has no end")
    return bytes(body)


def idle_timeout(seconds: float) -> aiohttp.ClientTimeout:
    """A bound for silence alone: what moves may take its time."""
    return aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT, sock_read=seconds)
