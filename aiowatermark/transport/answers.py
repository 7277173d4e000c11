"""Answers of the API, read whole, but not without end."""

from __future__ import annotations

from collections.abc import Awaitable
from functools import lru_cache

import aiohttp

from ..errors import UnexpectedAnswer

ANSWER_LIMIT = 256 << 20
CONNECT = 15.0
"""Seconds that reaching a host may take."""


def read(answer: aiohttp.ClientResponse) -> Awaitable[bytes]:
    """The answer's body; its connection is let go of, whatever happens. Raises UnexpectedAnswer for an endless one."""
    length = answer.content_length
    return answer.read() if length is not None and length <= ANSWER_LIMIT else _unmeasured(answer)


async def _unmeasured(answer: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async with answer:
        async for chunk in answer.content.iter_chunked(1 << 18):
            body += chunk
            if len(body) > ANSWER_LIMIT:
                msg = "the answer has no end"
                raise UnexpectedAnswer(msg)
    return bytes(body)


@lru_cache(maxsize=64)
def within(seconds: float) -> aiohttp.ClientTimeout:
    """One bound for everything, so that a dripping answer ends."""
    return aiohttp.ClientTimeout(total=seconds, sock_connect=CONNECT)


def never_silent(seconds: float) -> aiohttp.ClientTimeout:
    """A bound for silence alone: what moves may take its time."""
    return aiohttp.ClientTimeout(total=None, sock_connect=CONNECT, sock_read=seconds)
