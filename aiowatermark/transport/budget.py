"""TransferBudget: shares buffer memory between the transfers that run at the same time.

What one transfer may use is its share of a fixed total, but not less than a minimum, below which the additional system
calls would cost more than the memory is worth. All sizes are in bytes:

    buffers of a file that is uploaded      1 MiB in total, at least 192 KiB each     buffer_bytes()
    largest chunk of an upload              3 MiB in total, at least 96 KiB each      chunk_bytes()
    batch of blocks written to a file       4 MiB in total, at least 256 KiB each     batch_bytes()

A transport owns one budget. Shares are computed when a buffer, chunk or batch is started, so they adapt while transfers
come and go. Everything runs on the transport's event loop, and nothing awaits: no lock is needed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from attrs import define, field

from ..media.base import ALIGNMENT, BLOCK_SIZE

MIN_CHUNK_BYTES = 3 << 15
_TOTAL_CHUNK_BYTES = 3 << 20
_MIN_BUFFER_BYTES = 3 << 16


@define(eq=False)
class TransferBudget:
    """The transfers under way, and what each of them may use; the two settings are for tests."""

    total_batch_bytes: int = 4 << 20
    min_batch_bytes: int = 1 << 18
    _uploads: int = field(default=0, init=False)
    _downloads: int = field(default=0, init=False)

    @contextmanager
    def upload(self) -> Iterator[None]:
        """Count an upload while it runs."""
        self._uploads += 1
        try:
            yield
        finally:
            self._uploads -= 1

    @contextmanager
    def download(self) -> Iterator[None]:
        """Count a file that is written while it runs."""
        self._downloads += 1
        try:
            yield
        finally:
            self._downloads -= 1

    def buffer_bytes(self) -> int:
        """Size of a buffer to read a file into: whole pages, and whole groups of base64."""
        return max(BLOCK_SIZE // max(self._uploads, 1) // ALIGNMENT * ALIGNMENT, _MIN_BUFFER_BYTES)

    def chunk_bytes(self) -> int:
        """Size of the largest chunk of an upload, a multiple of three as base64 needs."""
        return max(_TOTAL_CHUNK_BYTES // max(self._uploads, 1) // 3 * 3, MIN_CHUNK_BYTES)

    def batch_bytes(self) -> int:
        """Bytes to gather before they are written: as many as possible, since each batch costs a hop to a thread."""
        return max(self.total_batch_bytes // max(self._downloads, 1), self.min_batch_bytes)
