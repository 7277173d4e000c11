"""Digests of content: what tells one picture from another under the same key. Computed only for jobs with a key."""

from __future__ import annotations

import hashlib
import os
from collections import OrderedDict
from io import FileIO
from pathlib import Path
from threading import Lock
from typing import BinaryIO, TypeAlias

from ..clock import in_thread

_INLINE_BYTES = 1 << 16
"""Fewer bytes than these are hashed on the event loop: that takes less time than the hop to a thread."""
_BLOCK_BYTES = 1 << 20
_MAX_CACHED = 4096

_FileState: TypeAlias = tuple[str, int, int, int, int]


class ContentHash:
    """A digest that is built block by block while media is sent."""

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=16)

    async def update(self, block: bytes) -> None:
        """Add a block; a large one in a worker thread."""
        if len(block) < _INLINE_BYTES:
            self._hash.update(block)
        else:
            await in_thread(self._hash.update, block)

    @property
    def hexdigest(self) -> str:
        """The digest of what was added."""
        return self._hash.hexdigest()


async def digest_bytes(data: bytes) -> str:
    """Return the digest of bytes; of many bytes, in a worker thread."""
    content = ContentHash()
    await content.update(data)
    return content.hexdigest


def digest_stream(file: BinaryIO | FileIO) -> str:
    """Return the digest of what a file holds from its position on; blocks."""
    content = hashlib.blake2b(digest_size=16)
    while block := file.read(_BLOCK_BYTES):
        content.update(block)
    return content.hexdigest()


class FileDigests:
    """Digests of files that were hashed before, by path, size and time of the last change; at most 4096 of them.

    The time of the last change of the inode and its number are part of it, too: a file that was replaced, or written
    again with its former date, is another file. Called from worker threads.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[_FileState, str] = OrderedDict()
        self._lock = Lock()

    def digest(self, path: Path) -> str:
        """Return the digest of a file; blocks while it is read. Raises OSError."""
        with path.open("rb") as file:
            return self.digest_open(path, file)

    def digest_open(self, path: Path, file: BinaryIO | FileIO) -> str:
        """Return the digest of a file that is open at its start; its position moves if it must be read."""
        # before it is read: a change during the reading makes the next look-up miss
        stat = os.fstat(file.fileno())
        state = (os.path.abspath(path), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)  # noqa: PTH100 - resolves nothing
        with self._lock:
            known = self._known.get(state)
        digest = known or digest_stream(file)
        with self._lock:
            self._known[state] = digest
            self._known.move_to_end(state)
            if len(self._known) > _MAX_CACHED:
                self._known.popitem(last=False)
        return digest


FILE_DIGESTS = FileDigests()
"""Shared by all clients of this process."""
