"""Where results go: a folder, names of our own making, never a file overwritten."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import tempfile
import time
from pathlib import Path

from attrs import define, field

from ... import InvalidInput, Result, as_media
from ...media.base import ProgressCallback
from .manifest import Manifest

_STEM_BYTES = 180
_LONG = 3600.0
_MAGIC = (
    (0, b"\xff\xd8\xff", (".jpg", ".jpeg", ".jpe", ".jfif")),
    (0, b"\x89PNG", (".png",)),
    (0, b"BM", (".bmp",)),
    (0, b"GIF8", (".gif",)),
    (8, b"WEBP", (".webp",)),
    (4, b"ftypqt", (".mov", ".qt")),
    (4, b"ftyp", (".mp4", ".m4v", ".mov")),
)


def stem_and_suffix(source: str) -> tuple[str, str]:
    """What to name a result after: the file, or the last part of a link's path, made safe."""
    path = Path(as_media(source).name if "://" in source else source)
    stem = path.stem.encode(errors="replace")[:_STEM_BYTES].decode(errors="ignore")
    return stem or "media", path.suffix


@define(eq=False)
class OutputFolder:
    """A folder for results. One that `remembers` knows whose result is in which file."""

    folder: Path
    remembers: bool = False
    manifest: Manifest = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Nothing is known of the folder yet."""
        self.manifest = Manifest(self.folder)

    def prepare(self) -> None:
        """Make the folder; raises InvalidInput where nothing can be written there."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=self.folder).close()
            if self.remembers:
                self.manifest.read()
            self._sweep()
        except OSError as error:
            raise InvalidInput(f"nothing can be written to {self.folder}: {error.strerror or error}") from None

    async def find_saved(self, key: str) -> Path | None:
        """The result of that job, where an earlier run has brought it here whole."""
        return await asyncio.to_thread(self.manifest.saved_file, key) if self.remembers else None

    async def save(self, result: Result, stem: str, suffix: str, *, moved: ProgressCallback | None = None) -> Path:
        """Bring a result home as `STEM-clean.SUFFIX`, or `STEM-clean-2` and so on where that is taken.

        `moved(bytes, total)` hears how it comes.
        """
        room = self.folder / f".{secrets.token_hex(8)}.fetching"
        try:
            await asyncio.to_thread(room.mkdir)
            fetched = await result.save(room / "fetched", progress=moved)
            return await asyncio.to_thread(self._move_into_place, fetched, stem, suffix, result.key)
        finally:
            shutil.rmtree(room, ignore_errors=True)

    def _move_into_place(self, fetched: Path, stem: str, suffix: str, key: str) -> Path:
        if self.remembers and (begun := self.manifest.started_file(key)) is not None:
            self.manifest.add(key, begun, fetched.stat().st_size)
            return fetched.replace(begun)
        suffix = suffix_of_content(fetched, suffix)
        number = 1
        while True:
            target = self.folder / f"{stem}-clean{f'-{number}' if number > 1 else ''}{suffix}"
            if self._try_claim(target, fetched, key):
                return fetched.replace(target)
            number += 1

    def _try_claim(self, target: Path, fetched: Path, key: str) -> bool:
        """Whether the name was free and is ours now."""
        if os.path.lexists(target):
            return False
        if self.remembers:
            self.manifest.add(key, target, fetched.stat().st_size)
        try:
            target.open("x").close()
        except FileExistsError:
            return False
        return True

    def _sweep(self) -> None:
        """Take away what killed runs left half fetched: nothing has been written there for long."""
        for room in self.folder.glob(".*.fetching"):
            parts = [room, *room.iterdir()]
            if max(part.stat().st_mtime for part in parts) < time.time() - _LONG:
                shutil.rmtree(room, ignore_errors=True)


def suffix_of_content(file: Path, suffix: str) -> str:
    """The suffix, or one that fits what is in the file where that is something else."""
    with file.open("rb") as opened:
        head = opened.read(16)
    fits = next((fits for at, magic, fits in _MAGIC if head.startswith(magic, at)), (suffix,))
    return suffix if suffix.lower() in fits else fits[0]
