"""Blob folder: results that came as bytes instead of a link, one durable file each, in a folder beside the store."""

from __future__ import annotations

import logging
import os
import re
import secrets
import time
from base64 import b64decode
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from attrs import define

from ..errors import ResultExpired, StoreError
from ..media.base import CHUNK, Media
from ..media.files import File
from ..media.memory import Base64Text, Bytes

log = logging.getLogger("aiowatermark")

_NAME = re.compile(r"[0-9a-f]{32}")
# characters of base64 that decode to CHUNK bytes; a multiple of 4, so that each slice decodes by itself
_BASE64_CHUNK = CHUNK * 4 // 3
# seconds; a younger file without a record may belong to a record that another process is about to write
_STRAY_AGE = 3600.0


@define(eq=False)
class BlobFolder:
    """A folder of parts (files of inline media), created with the first part. Its methods block: call them in a thread.

    A part's name is the 32 hexadecimal digits that `records.dump` assigns.
    """

    folder: Path

    def write(self, parts: Mapping[str, Media]) -> None:
        """Write parts durably, each complete or not at all; raises StoreError if the disk refuses."""
        if not parts:
            return
        try:
            self.folder.mkdir(mode=0o700, exist_ok=True)
            for name, media in parts.items():
                self._write(name, media)
            _sync(self.folder)
        except OSError as error:
            raise StoreError(f"a result could not be written to {self.folder}: {error.strerror or error}") from None

    def open(self, name: str) -> Media:
        """Return a part as a file; raises ResultExpired if the file does not exist."""
        path = self.folder / name
        try:
            # names come from the database: check them, so that no path leads out of the folder
            if _NAME.fullmatch(name):
                return File(path, size=path.stat().st_size)
        except OSError:
            pass
        raise ResultExpired(f"the file of this result in {self.folder} does not exist any more")

    def remove(self, names: Iterable[str]) -> None:
        """Remove the parts of a deleted record; `remove_strays` retries those that cannot be removed now."""
        for name in names:
            with suppress(OSError):
                (self.folder / name).unlink()

    def remove_strays(self, list_referenced: Callable[[], Iterable[str]]) -> None:
        """Remove files that a crash left behind: older than an hour and not in `list_referenced()`."""
        try:
            names = {name for name in os.listdir(self.folder) if _NAME.match(name.lstrip("."))}  # noqa: PTH208
        except OSError:
            return
        # read after the listing: a record that was written meanwhile still counts as a reference
        names.difference_update(list_referenced())
        self.remove(name for name in names if self._age(name) > _STRAY_AGE)

    def _age(self, name: str) -> float:
        """Return the seconds since a file was written; 0 if it cannot be read."""
        try:
            return time.time() - (self.folder / name).stat().st_mtime
        except OSError:
            return 0.0

    def _write(self, name: str, media: Media) -> None:
        """Write one part under a temporary name and rename it, so that a crash leaves no incomplete part."""
        temporary = self.folder / f".{name}.{secrets.token_hex(4)}"
        try:
            with temporary.open("xb") as file:
                file.writelines(_blocks(media))
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self.folder / name)
        except ValueError:
            # without its file the output is read back as ResultExpired; the paid record itself is still stored
            log.warning("a result was not stored: it is not valid base64")
        finally:
            temporary.unlink(missing_ok=True)


def _blocks(media: Media) -> Iterator[bytes]:
    """Yield the bytes of media in memory, decoding base64 slice by slice."""
    if isinstance(media, Bytes):
        yield media.data
    elif isinstance(media, Base64Text):
        for start in range(0, len(media.text), _BASE64_CHUNK):
            yield b64decode(media.text[start : start + _BASE64_CHUNK], validate=True)


def _sync(folder: Path) -> None:
    """Make the file names durable too; a system that cannot open folders (Windows) is left to its own ordering."""
    with suppress(PermissionError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
