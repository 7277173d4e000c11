"""Manifest of an output folder: which file holds the result of which job.

A repeated run finds out what it need not fetch again from the lines of `.aiowatermark-saved` in the folder itself, so
that the knowledge moves with the folder. Each line is a JSON object, the last line of a key counts:

    {"key": "photo-0123456789abcdef", "file": "photo-clean.jpg", "size": 48213}

A line is written before its file gets its content (see output_folder). After a crash the line and the file therefore
are in one of these states:

    line   file                   meaning                     next run
    no     -                      nothing was saved           fetches the result under a free name
    yes    missing or empty       killed while saving         fetches it under this name (`reserved_file`)
    yes    as large as the line   saved                       skips the job (`saved_file`)
    yes    any other size         changed since then           fetches it under a free name, leaves the file alone

Invariants: a file that this program has written under a key always has a line; a line never names a path outside the
folder; lines are only appended. A line that a crash has cut is skipped by `read`, and `add` starts on a new line.

Concurrency: several threads of a process and several processes may append. Each line is one write in append mode, far
below the size of a buffer, so lines do not mix. A process reads the file once: two runs at the same time do not see
each other's results, and at worst both save one. Nothing is synced to disk: a line lost in a power failure costs one
more download, never a charge.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path
from typing import Any, BinaryIO, cast

from attrs import define, field, frozen

NAME = ".aiowatermark-saved"


@frozen
class ManifestEntry:
    """A file's name in the folder, and its size in bytes when it is complete."""

    name: str
    size: int


@define(eq=False)
class Manifest:
    """Reads and appends to the manifest of one folder."""

    folder: Path
    _entries: dict[str, ManifestEntry] = field(factory=dict, init=False)

    def read(self) -> None:
        """Read the lines of earlier runs."""
        try:
            with open_regular(self.folder / NAME, "rb") as manifest:
                lines = manifest.read().splitlines()
        except FileNotFoundError:
            return
        for line in lines:
            self._add_entry(_parse_line(line))

    def _add_entry(self, value: Any) -> None:
        match value:
            # the folder may come from elsewhere: a name with separators could point outside it
            case {"key": str(key), "file": str(name), "size": int(size)} if Path(name).name == name:
                self._entries[key] = ManifestEntry(name, size)

    def saved_file(self, key: str) -> Path | None:
        """Return the file with the job's result if it exists and is complete."""
        entry = self._entries.get(key)
        return self.folder / entry.name if entry and self._size(entry) == entry.size else None

    def reserved_file(self, key: str) -> Path | None:
        """Return the file that a killed run had reserved for the job's result, if it has no content."""
        entry = self._entries.get(key)
        return self.folder / entry.name if entry and not self._size(entry) else None

    def add(self, key: str, file: Path, size: int) -> None:
        """Append that `file` holds the job's result; called before it does."""
        line = json.dumps({"key": key, "file": file.name, "size": size})
        with open_regular(self.folder / NAME, "a+b") as manifest:
            manifest.write(b"\n" * self._last_line_is_cut(manifest) + line.encode() + b"\n")
        self._entries[key] = ManifestEntry(file.name, size)

    def _last_line_is_cut(self, manifest: Any) -> bool:
        """Whether the file ends without a newline, because a run was killed while it wrote."""
        if not manifest.seek(0, 2):
            return False
        manifest.seek(-1, 2)
        return bool(manifest.read(1) != b"\n")

    def _size(self, entry: ManifestEntry) -> int:
        try:
            return (self.folder / entry.name).stat().st_size
        except OSError:
            return 0


def open_regular(path: Path, mode: str) -> BinaryIO:
    """Open a file that is not a symbolic link, device or FIFO; raises OSError for one that is.

    Others may be able to write to the folder: what they put in the manifest's place must not be read or appended to.
    """
    # O_NONBLOCK: opening a FIFO would wait for its other end
    flags = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    opened: Any = open(path, mode, opener=lambda name, asked: os.open(name, asked | flags, 0o666))  # noqa: SIM115
    if not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
        opened.close()
        raise OSError(errno.EINVAL, f"{path.name} in it is not a regular file")
    return cast("BinaryIO", opened)


def _parse_line(line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None
