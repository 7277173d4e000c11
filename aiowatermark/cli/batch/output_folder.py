"""Output folder: saves results under free names and never overwrites a file.

What may be found in the folder:

    .HEX.fetching/              a download in progress; removed when it ends, however it ends
    STEM-clean.SUFFIX, empty    a name reserved for a download that is complete
    STEM-clean.SUFFIX           a complete result; STEM-clean-2 and so on if the name was taken
    .aiowatermark-saved         the manifest, if jobs are remembered in a store (see manifest)

Saving a result, one step after another:

    1. download into .HEX.fetching/     the network may fail here; nothing else has been touched
    2. append to the manifest           only with a store
    3. create the target exclusively    fails if another thread or process was faster: go to 2 with the next number
    4. rename the download to it        atomic: readers see an empty or a complete file

Exclusive creation in step 3 decides who owns a name, so that any number of workers and processes may save into one
folder at the same time without a lock. The rename in step 4 replaces nothing but the empty file of step 3.

Cancellation and crashes: during step 1 nothing but the download is lost. Between steps 3 and 4 an empty file stays
behind; with a manifest the next run saves the result under that name. A killed process leaves its .fetching folder;
`prepare` removes those in which nothing has been written for an hour, because younger ones may belong to a process
that is still running.
"""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import shutil
import tempfile
import time
from pathlib import Path

from attrs import define, field

from ... import InvalidInput, Result, as_media
from ...media.base import ProgressCallback
from .manifest import Manifest

_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f/]")
_MAX_STEM_BYTES = 180
"""Room for `-clean-NUMBER` and the suffix within the 255 bytes that file systems allow for a name."""
_STRAY_AGE = 3600.0
"""Seconds without a write after which a download folder belongs to a process that was killed."""
_SIGNATURES = (  # offset, bytes, suffixes that fit; the first is used for a new name
    (0, b"\xff\xd8\xff", (".jpg", ".jpeg", ".jpe", ".jfif")),
    (0, b"\x89PNG", (".png",)),
    (0, b"BM", (".bmp",)),
    (0, b"GIF8", (".gif",)),
    (8, b"WEBP", (".webp",)),
    (4, b"ftypqt", (".mov", ".qt")),
    (4, b"ftyp", (".mp4", ".m4v", ".mov")),
)


def _safe_stem(stem: str) -> str:
    """Return a stem without folders and control characters; it may come from a token, or a key in a store."""
    base = _UNSAFE.sub("_", stem.replace("\\", "/").rsplit("/", 1)[-1])
    return base if base.strip(". ") else "media"


def stem_and_suffix(source: str) -> tuple[str, str]:
    """Return the stem and the suffix of a path or of the last part of a URL's path, safe for a file name."""
    path = Path(as_media(source).name if "://" in source else source)
    # cut in bytes, not in characters: that is how file systems count; half a character is dropped
    stem = path.stem.encode(errors="replace")[:_MAX_STEM_BYTES].decode(errors="ignore")
    return stem or "media", path.suffix


@define(eq=False)
class OutputFolder:
    """Folder for results; with `uses_manifest` it records which file holds the result of which job."""

    folder: Path
    uses_manifest: bool = False
    manifest: Manifest = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Create the manifest, without reading it."""
        self.manifest = Manifest(self.folder)

    def prepare(self) -> None:
        """Create the folder and read its manifest; raise InvalidInput if nothing can be written there."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            # found out now, before the first job is paid
            tempfile.TemporaryFile(dir=self.folder).close()
            if self.uses_manifest:
                self.manifest.read()
            self._remove_strays()
        except OSError as error:
            raise InvalidInput(f"cannot write to the folder {self.folder}: {error.strerror or error}") from None

    async def find_saved(self, key: str) -> Path | None:
        """Return the file into which an earlier run saved the job's result, if it is complete."""
        return await asyncio.to_thread(self.manifest.saved_file, key) if self.uses_manifest else None

    async def save(self, result: Result, stem: str, suffix: str, *, progress: ProgressCallback | None = None) -> Path:
        """Download a result and return its file: `STEM-clean.SUFFIX`, or `STEM-clean-2` and so on if that exists.

        `progress(received, total)` is called with bytes.
        """
        temporary = self.folder / f".{secrets.token_hex(8)}.fetching"
        try:
            await asyncio.to_thread(temporary.mkdir)
            downloaded = await result.save(temporary / "fetched", progress=progress)
            return await asyncio.to_thread(self._move_into_place, downloaded, stem, suffix, result.key)
        finally:
            # not in a thread: a task that is being cancelled should not wait here; it is one file at most
            shutil.rmtree(temporary, ignore_errors=True)

    def _move_into_place(self, downloaded: Path, stem: str, suffix: str, key: str) -> Path:
        if self.uses_manifest and (reserved := self.manifest.reserved_file(key)) is not None:
            self.manifest.add(key, reserved, downloaded.stat().st_size)
            return downloaded.replace(reserved)
        stem, suffix = _safe_stem(stem), suffix_of_content(downloaded, suffix)
        number = 1
        while True:
            target = self.folder / f"{stem}-clean{f'-{number}' if number > 1 else ''}{suffix}"
            if self._try_reserve(target, downloaded, key):
                return downloaded.replace(target)
            number += 1

    def _try_reserve(self, target: Path, downloaded: Path, key: str) -> bool:
        """Create the target if nothing has its name; return whether it is ours now."""
        # lexists: a broken symbolic link takes a name, too. The test spares the manifest a line for each taken name
        if os.path.lexists(target):
            return False
        if self.uses_manifest:
            self.manifest.add(key, target, downloaded.stat().st_size)
        try:
            target.open("x").close()
        except FileExistsError:
            return False
        return True

    def _remove_strays(self) -> None:
        """Remove the download folders of killed runs."""
        for stray in self.folder.glob(".*.fetching"):
            paths = [stray, *stray.iterdir()]
            if max(path.stat().st_mtime for path in paths) < time.time() - _STRAY_AGE:
                shutil.rmtree(stray, ignore_errors=True)


def suffix_of_content(file: Path, suffix: str) -> str:
    """Return `suffix` if it fits the file's content or the content is of no known format; else one that fits."""
    with file.open("rb") as opened:
        head = opened.read(16)
    fitting = next((fits for offset, magic, fits in _SIGNATURES if head.startswith(magic, offset)), (suffix,))
    return suffix if suffix.lower() in fitting else fitting[0]


def remark_on(result: Result) -> str:
    """Return what a user has to know of a saved result, empty if there is nothing: it is unchanged or incomplete."""
    output = next(output for output in result.outputs if output.media is not None)
    if output.suspect:
        return "the end of the file is missing; the provider has no other"
    return "unchanged: it equals the input" if output.info is not None and output.info.unchanged else ""
