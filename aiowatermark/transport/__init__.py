"""Performs what the providers describe: requests, streams up, streams down."""

from __future__ import annotations

from collections.abc import Awaitable
from pathlib import Path
from typing import Protocol, Self

from ..media.base import ProgressCallback
from ..wire import Request, Response


class Transport(Protocol):
    """The seam between what is said and how it travels; a test may bring its own."""

    async def __aenter__(self) -> Self:
        """Open it on the running loop."""
        ...

    async def __aexit__(self, *exc: object) -> None:
        """Close it."""

    def perform(
        self, request: Request, *, timeout: float, progress: ProgressCallback | None = None
    ) -> Awaitable[Response]:
        """Do one request, once. Raises ProviderUnavailable, with `sent` False where no byte left."""
        ...

    async def download(
        self, url: str, target: Path, max_bytes: int | None, progress: ProgressCallback | None = None
    ) -> None:
        """A link's bytes into a file that appears when it is whole. Raises TransferFailed, ResultExpired."""

    async def read(self, url: str, max_bytes: int | None) -> bytes:
        """A link's bytes, in memory. Raises TransferFailed, ResultExpired."""
        ...
