"""Links that are handed in: loopback ones are fetched, reserved names are known, all others are not followed."""

from __future__ import annotations

import asyncio
import ipaddress

import aiohttp
from attrs import define, field
from yarl import URL

from .limits import FailureKind, JobFailure

_TIMEOUT = aiohttp.ClientTimeout(total=30)
_BLOCK = 1 << 18


def is_link(text: str) -> bool:
    """Whether it is an http(s) link with a host."""
    return text.lower().startswith(("http://", "https://")) and bool(_host(text))


def is_reserved(link: str) -> bool:
    """Whether RFC 2606 keeps the name for examples: example.com, .net, .org and below, and *.example."""
    labels = _host(link).rstrip(".").split(".")
    return labels[-1] == "example" or (labels[-2:-1] == ["example"] and labels[-1] in ("com", "net", "org"))


def is_loopback(link: str) -> bool:
    """Whether it leads to this machine and nowhere else: `localhost` or a loopback address."""
    host = _host(link)
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _host(text: str) -> str:
    """The host in small letters; empty where there is none."""
    try:
        return (URL(text, encoded=True).host or "").lower()
    except ValueError:
        return ""


@define
class LinkFetcher:
    """Fetches what a customer's link leads to; never contacts anything but loopback addresses."""

    session: aiohttp.ClientSession
    _slots: asyncio.Semaphore = field(init=False, factory=lambda: asyncio.Semaphore(32))

    async def fetch(self, link: str, most: int) -> bytes:
        """The bytes behind a loopback link, `most` at most; redirects are not followed. Raises Failure."""
        if not is_loopback(link):
            raise JobFailure(
                FailureKind.LINK, "The link could not be downloaded: the emulator fetches from loopback only."
            )
        url = URL(link, encoded=True)
        try:
            async with self._slots, self.session.get(url, allow_redirects=False, timeout=_TIMEOUT) as response:
                if response.status != 200:
                    raise JobFailure(FailureKind.LINK, f"The link could not be downloaded: HTTP {response.status}.")
                return await _read(response, most)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise JobFailure(FailureKind.LINK, f"The link could not be downloaded: {type(error).__name__}.") from None


async def _read(response: aiohttp.ClientResponse, most: int) -> bytes:
    blocks = bytearray()
    async for block in response.content.iter_chunked(_BLOCK):
        blocks += block
        if len(blocks) > most:
            raise JobFailure(FailureKind.SIZE, f"Behind the link are more than {most} bytes.")
    return bytes(blocks)
