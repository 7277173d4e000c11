"""Input links: those to loopback are fetched, those with reserved names give samples, others are not followed."""

from __future__ import annotations

import asyncio
import ipaddress

import aiohttp
from attrs import define, field
from yarl import URL

from ...connection_errors import connection_problem
from .limits import FailureKind, JobFailure

_TIMEOUT = aiohttp.ClientTimeout(total=30)
_BLOCK_BYTES = 1 << 18
_MAX_CONCURRENT = 32


def is_link(text: str) -> bool:
    """Whether the text is an http(s) link with a host."""
    return text.lower().startswith(("http://", "https://")) and bool(_host(text))


def is_reserved(link: str) -> bool:
    """Whether RFC 2606 reserves the host for examples: example.com, .net, .org and below, and *.example."""
    # a fully qualified name may end with a dot
    labels = _host(link).rstrip(".").split(".")
    return labels[-1] == "example" or (labels[-2:-1] == ["example"] and labels[-1] in ("com", "net", "org"))


def is_loopback(link: str) -> bool:
    """Whether the host is `localhost` or a loopback address; other names are not resolved."""
    host = _host(link)
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _host(text: str) -> str:
    """Return the host in lower case; empty if there is none."""
    try:
        return (URL(text, encoded=True).host or "").lower()
    except ValueError:
        return ""


@define
class LinkFetcher:
    """Downloads the inputs that a customer gives as links; it never connects to anything but loopback addresses."""

    session: aiohttp.ClientSession
    _slots: asyncio.Semaphore = field(init=False, factory=lambda: asyncio.Semaphore(_MAX_CONCURRENT))

    async def fetch(self, link: str, max_bytes: int) -> bytes:
        """Return the file at a loopback link. Raises JobFailure, also for a redirect and for a larger file."""
        if not is_loopback(link):
            raise JobFailure(
                FailureKind.LINK, "The link could not be downloaded: the emulator fetches from loopback only."
            )
        url = URL(link, encoded=True)
        try:
            async with self._slots, self.session.get(url, allow_redirects=False, timeout=_TIMEOUT) as response:
                if response.status != 200:
                    raise JobFailure(FailureKind.LINK, f"The link could not be downloaded: HTTP {response.status}.")
                return await _read(response, max_bytes)
        # ValueError: a URL that aiohttp refuses to request
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise JobFailure(
                FailureKind.LINK, f"The link could not be downloaded: {connection_problem(error)}."
            ) from None


async def _read(response: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    data = bytearray()
    async for block in response.content.iter_chunked(_BLOCK_BYTES):
        data += block
        if len(data) > max_bytes:
            raise JobFailure(FailureKind.SIZE, f"The file at the link has more than {max_bytes} bytes.")
    return bytes(data)
