"""Spooling: copies media of unknown size to a temporary file, because a request needs its Content-Length first."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import BinaryIO

from ..media.base import Media, blocks_to_spool
from ..media.files import File
from .atomic_file import write_blocks


@asynccontextmanager
async def spool(media: Media) -> AsyncIterator[File]:
    """Copy media to a temporary file and yield that; it is deleted afterwards. Raises InvalidInput if it has no end."""
    temporary: BinaryIO = await asyncio.to_thread(tempfile.NamedTemporaryFile, "w+b", prefix="aiowatermark-")  # type: ignore[arg-type]
    try:
        await write_blocks(temporary, blocks_to_spool(media))
        await asyncio.to_thread(temporary.flush)
        file = File(Path(temporary.name))
        file.rename(media.name)
        await file.measure()
        yield file
    finally:
        await asyncio.to_thread(temporary.close)
