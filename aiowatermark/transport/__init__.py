"""The Transport protocol: performs the requests that providers describe, and downloads results."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol, Self

from ..media.base import ProgressCallback
from ..media.inspection import ResultCheck
from ..wire import Request, Response


class Transport(Protocol):
    """Performs HTTP for a client: `HttpTransport` does it with aiohttp, tests pass a scripted one."""

    async def __aenter__(self) -> Self:
        """Open the transport on the running event loop."""
        ...

    async def __aexit__(self, *exc: object) -> None:
        """Close the transport."""

    def perform(
        self,
        request: Request,
        *,
        timeout: float,
        progress: ProgressCallback | None = None,
        on_sent: Callable[[], object] | None = None,
    ) -> Awaitable[Response]:
        """Send one request, a POST at most once, and return the response, whatever its status.

        `timeout` is in seconds and bounds a request without media as a whole; where media is streamed, it bounds the
        wait for the response after the upload. `on_sent` must be called immediately before the first byte of the
        request is written, and not at all if none is: until then a paid request costs nothing, whatever fails.

        Raises ProviderUnavailable (its `sent` is False if provably nothing was sent), TransferFailed if the media could
        not be read, UnexpectedAnswer for a response that is too large.
        """
        ...

    async def download(
        self,
        url: str,
        target: Path,
        max_bytes: int | None,
        progress: ProgressCallback | None = None,
        check: ResultCheck | None = None,
    ) -> Path:
        """Save what a URL serves as a file that appears only when it is complete, and return its path.

        In a folder the file gets a free name; a device or FIFO is written into. `check` examines the complete bytes:
        they are fetched again, a few times, while it finds a problem. No more downloads run at once than the transport
        allows.

        Raises TransferFailed (also for more than `max_bytes` bytes), ResultExpired, and InvalidInput for a bad target
        before anything is fetched.
        """
        ...

    async def read(self, url: str, max_bytes: int | None, check: ResultCheck | None = None) -> bytes:
        """Return what a URL serves; errors and `check` as for `download`. Without `max_bytes`, at most 256 MiB."""
        ...
