"""Where results go: a folder, names of our own making, never a file overwritten."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import tempfile
from pathlib import Path

from attrs import frozen

from .. import InvalidInput, Result, as_media

_STEM_BYTES = 180
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


@frozen
class Outputs:
    """A folder for results."""

    folder: Path

    def prepare(self) -> None:
        """Make the folder; raises InvalidInput where nothing can be written there."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=self.folder).close()
        except OSError as error:
            msg = f"nothing can be written to {self.folder}: {error.strerror or error}"
            raise InvalidInput(msg) from None

    async def save(self, result: Result, stem: str, suffix: str) -> Path:
        """Bring a result home as `STEM-clean.SUFFIX`, or `STEM-clean-2` and so on where that is taken."""
        fetched = self.folder / f".{secrets.token_hex(8)}.fetched"
        try:
            await result.save(fetched)
            return await asyncio.to_thread(self._place, fetched, stem, suffix)
        finally:
            with contextlib.suppress(OSError):
                fetched.unlink(missing_ok=True)

    def _place(self, fetched: Path, stem: str, suffix: str) -> Path:
        suffix = fitting(fetched, suffix)
        number = 1
        while True:
            target = self.folder / f"{stem}-clean{f'-{number}' if number > 1 else ''}{suffix}"
            try:
                target.open("x").close()
            except FileExistsError:
                number += 1
            else:
                return fetched.replace(target)


def fitting(file: Path, suffix: str) -> str:
    """The suffix, or one that fits what is in the file where that is something else."""
    with file.open("rb") as opened:
        head = opened.read(16)
    fits = next((fits for at, magic, fits in _MAGIC if head.startswith(magic, at)), (suffix,))
    return suffix if suffix.lower() in fits else fits[0]
