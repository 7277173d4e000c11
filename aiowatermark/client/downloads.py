"""Downloads results: a few concurrently, through the transport, with one new link when the first has expired."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from attrs import define

from ..errors import ResultExpired, WatermarkError
from ..media.base import Media, ProgressCallback
from ..media.memory import Link
from ..provider import Provider
from ..results import Result
from ..transport import Transport
from ..transport.atomic_file import atomic_file, write_blocks
from .engine.flows import FlowContext, FlowRunner, loop_time

T = TypeVar("T")
log = logging.getLogger("aiowatermark")

_QUERY_SECONDS = 60.0


@define(eq=False)
class ResultDownloader:
    """The ResultFetcher of a client; `ensure_open` raises InvalidInput once the client is closed."""

    transport: Transport
    transfers: asyncio.Semaphore
    ensure_open: Callable[[], object]
    provider: Provider
    flows: FlowRunner

    async def save(
        self, result: Result, media: Media, path: Path, max_bytes: int | None, progress: ProgressCallback | None
    ) -> Path:
        """Write the media to a file, which appears once it is complete."""
        if not isinstance(media, Link):
            async with atomic_file(path) as part:
                await write_blocks(part.file, media.blocks())
            return path
        await self._fetch(result, media, lambda url: self.transport.download(url, path, max_bytes, progress))
        return path

    async def read(self, result: Result, media: Media, max_bytes: int | None) -> bytes:
        """Return the bytes of the media."""
        if not isinstance(media, Link):
            return b"".join([block async for block in media.blocks()])
        return await self._fetch(result, media, lambda url: self.transport.read(url, max_bytes))

    async def _fetch(self, result: Result, link: Link, fetch: Callable[[str], Awaitable[T]]) -> T:
        self.ensure_open()
        try:
            async with self.transfers:
                try:
                    return await fetch(link.url)
                except ResultExpired:
                    renewed = await self._renew_link(result, link)
                log.info("job %s: its result link had expired and was renewed", result.key)
                return await fetch(renewed.url)
        except WatermarkError as error:
            raise error.about(provider=result.provider, key=result.key, token=None) from None

    async def _renew_link(self, result: Result, link: Link) -> Link:
        """Query the job for the current link of the same output."""
        index = next(index for index, output in enumerate(result.outputs) if output.media is link)
        snapshot = await self.flows.run(self.provider.query(result.record), FlowContext(loop_time() + _QUERY_SECONDS))
        if index < len(snapshot.outputs) and isinstance(renewed := snapshot.outputs[index].media, Link):
            return renewed
        raise ResultExpired("the result link has expired and the provider gives no new one")
