"""RecordingTransport: passes everything on to another transport and notes it, unredacted, in memory only."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

from attrs import define, field, frozen

from ... import WatermarkError, as_media
from ...media.base import ProgressCallback
from ...media.inspection import ResultCheck
from ...transport import Transport
from ...wire import Request, Response


@frozen(eq=False)
class RecordedExchange:
    """One attempt of a request: its response, or the failure in its place, and the seconds that it took."""

    request: Request = field(repr=False)
    response: Response | None = field(repr=False)
    failure: str | None
    seconds: float


@frozen
class RecordedDownload:
    """A result that was downloaded: its URL, its length and digest."""

    url: str = field(repr=False)
    size: int
    digest: str
    seconds: float


@define(eq=False)
class RecordingTransport:
    """Notes what passes through `inner`, and calls `on_change` after each exchange that got a response.

    The response is passed on at once: what a paid request was answered must reach the store without a delay.
    """

    inner: Transport = field(repr=False)
    on_change: Callable[[], object] = field(repr=False)
    exchanges: list[RecordedExchange] = field(factory=list, init=False)
    downloads: list[RecordedDownload] = field(factory=list, init=False)

    async def __aenter__(self) -> Self:
        """Open the inner transport."""
        await self.inner.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Close the inner transport."""
        await self.inner.__aexit__(*exc)

    async def perform(
        self,
        request: Request,
        *,
        timeout: float,  # noqa: ASYNC109 - the protocol's signature
        progress: ProgressCallback | None = None,
        on_sent: Callable[[], object] | None = None,
    ) -> Response:
        """Send the request through the inner transport; its response or failure is noted before it is passed on."""
        started = time.monotonic()
        try:
            response = await self.inner.perform(request, timeout=timeout, progress=progress, on_sent=on_sent)
        except BaseException as error:  # also a cancellation: the request may have been sent
            text = error.message if isinstance(error, WatermarkError) else type(error).__name__
            self.exchanges.append(RecordedExchange(request, None, text, time.monotonic() - started))
            raise
        self.exchanges.append(RecordedExchange(request, response, None, time.monotonic() - started))
        self.on_change()
        return response

    async def download(
        self,
        url: str,
        target: Path,
        max_bytes: int | None,
        progress: ProgressCallback | None = None,
        check: ResultCheck | None = None,
    ) -> Path:
        """Download through the inner transport, and note length and digest of the file."""
        started = time.monotonic()
        saved = await self.inner.download(url, target, max_bytes, progress, check)
        size, digest = await digest_of(saved)
        self.downloads.append(RecordedDownload(url, size, digest, time.monotonic() - started))
        return saved

    async def read(self, url: str, max_bytes: int | None, check: ResultCheck | None = None) -> bytes:
        """Read through the inner transport."""
        return await self.inner.read(url, max_bytes, check)


async def digest_of(path: Path) -> tuple[int, str]:
    """Return the length and the digest of a file, as cassettes write it."""
    media = as_media(path)
    await media.hash_content()
    size = (await asyncio.to_thread(path.stat)).st_size
    return size, f"blake2b-{media.digest}"
