"""Answers of the API, read whole, but not without end."""

from __future__ import annotations

import asyncio

import aiohttp

from ..errors import UnexpectedAnswer
from ..wire import Response

ANSWER_LIMIT = 256 << 20
CONNECT = 15.0
"""Seconds that reaching a host may take."""
UNBOUNDED = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT)
"""For those who bound the whole themselves."""
_PARSE_ELSEWHERE = 1 << 18


async def whole(answer: aiohttp.ClientResponse) -> Response:
    """The answer, read; its connection is let go of, whatever happens. Raises UnexpectedAnswer for an endless one."""
    length = answer.content_length
    body = await (answer.read() if length is not None and length <= ANSWER_LIMIT else _unmeasured(answer))
    reply = Response(answer.status, answer.headers, body)
    if len(body) > _PARSE_ELSEWHERE:
        await asyncio.to_thread(reply.preload)
    return reply


async def _unmeasured(answer: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async with answer:
        async for chunk in answer.content.iter_chunked(1 << 18):
            body += chunk
            if len(body) > ANSWER_LIMIT:
                msg = "the answer has no end"
                raise UnexpectedAnswer(msg)
    return bytes(body)


def never_silent(seconds: float) -> aiohttp.ClientTimeout:
    """A bound for silence alone: what moves may take its time."""
    return aiohttp.ClientTimeout(total=None, sock_connect=CONNECT, sock_read=seconds)
