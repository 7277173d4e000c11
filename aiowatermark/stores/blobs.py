"""What providers answered with bytes instead of a link: files beside a store, one a part, each whole or not there."""

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
_BASE64 = CHUNK * 4 // 3
# a file no record speaks of may be one whose record another process is about to write
_STRAY_AGE = 3600.0


@define(eq=False)
class BlobFolder:
    """A folder of parts, made when there is a first one. Its calls block: they are made in threads."""

    folder: Path

    def write(self, parts: Mapping[str, Media]) -> None:
        """Write them, durably; raises StoreError where the disk does not take them."""
        if not parts:
            return
        try:
            self.folder.mkdir(mode=0o700, exist_ok=True)
            for name, media in parts.items():
                self._write(name, media)
            _sync(self.folder)
        except OSError as error:
            raise StoreError(f"a result could not be kept in {self.folder}: {error.strerror or error}") from None

    def open(self, name: str) -> Media:
        """A part as a file; raises ResultExpired where it is gone."""
        path = self.folder / name
        try:
            if _NAME.fullmatch(name):
                return File(path, size=path.stat().st_size)
        except OSError:
            pass
        raise ResultExpired(f"the result was kept in {self.folder} and is gone")

    def remove(self, names: Iterable[str]) -> None:
        """Remove parts whose record is gone; what cannot be removed is left to `sweep`."""
        for name in names:
            with suppress(OSError):
                (self.folder / name).unlink()

    def remove_strays(self, spoken_of: Callable[[], Iterable[str]]) -> None:
        """Remove what a crash left: files no record speaks of, once they are old enough to be nobody's."""
        try:
            names = {name for name in os.listdir(self.folder) if _NAME.match(name.lstrip("."))}  # noqa: PTH208
        except OSError:
            return
        names.difference_update(spoken_of())
        self.remove(name for name in names if self._age(name) > _STRAY_AGE)

    def _age(self, name: str) -> float:
        try:
            return time.time() - (self.folder / name).stat().st_mtime
        except OSError:
            return 0.0

    def _write(self, name: str, media: Media) -> None:
        beside = self.folder / f".{name}.{secrets.token_hex(4)}"
        try:
            with beside.open("xb") as file:
                file.writelines(_blocks(media))
                file.flush()
                os.fsync(file.fileno())
            beside.replace(self.folder / name)
        except ValueError:
            log.warning("a result is not valid base64 and cannot be kept")
        finally:
            beside.unlink(missing_ok=True)


def _blocks(media: Media) -> Iterator[bytes]:
    if isinstance(media, Bytes):
        yield media.data
    elif isinstance(media, Base64Text):
        for start in range(0, len(media.text), _BASE64):
            yield b64decode(media.text[start : start + _BASE64], validate=True)


def _sync(folder: Path) -> None:
    """Make the names durable too; not every system opens folders."""
    with suppress(PermissionError):
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)
