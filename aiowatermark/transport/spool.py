"""Media of unknown size on its way through a temporary file: storage hosts want a length first."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import BinaryIO

from ..media.base import Media
from ..media.files import File
from .atomic_file import write_blocks


@asynccontextmanager
async def spool(media: Media) -> AsyncIterator[File]:
    """The media as a file that is gone afterwards."""
    spool: BinaryIO = await asyncio.to_thread(tempfile.NamedTemporaryFile, "w+b", prefix="aiowatermark-")  # type: ignore[arg-type]
    try:
        await write_blocks(spool, media.blocks())
        await asyncio.to_thread(spool.flush)
        file = File(Path(spool.name))
        file.rename(media.name)
        await file.measure()
        yield file
    finally:
        await asyncio.to_thread(spool.close)
