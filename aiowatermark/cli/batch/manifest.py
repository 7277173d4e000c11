"""Which file in a folder holds which job's result: lines in the folder itself, so that they go where it goes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from attrs import define, field, frozen

NAME = ".aiowatermark-saved"


@frozen
class ManifestEntry:
    """A file's name in the folder, and how many bytes it has when it is whole."""

    name: str
    size: int


@define(eq=False)
class Manifest:
    """What this folder's runs have saved under keys. Each line is written before its file, so that a file of ours is
    always known as ours, whole or not.
    """  # noqa: D205

    folder: Path
    _entries: dict[str, ManifestEntry] = field(factory=dict, init=False)

    def read(self) -> None:
        """Read what earlier runs wrote; a line that a crash has cut is no line."""
        try:
            lines = (self.folder / NAME).read_bytes().splitlines()
        except FileNotFoundError:
            return
        for line in lines:
            self._take(_parse_line(line))

    def _take(self, told: Any) -> None:
        match told:
            case {"key": str(key), "file": str(name), "size": int(size)} if Path(name).name == name:
                self._entries[key] = ManifestEntry(name, size)

    def saved_file(self, key: str) -> Path | None:
        """The file that holds a job's result, if it is there and whole."""
        claim = self._entries.get(key)
        return self.folder / claim.name if claim and self._size(claim) == claim.size else None

    def started_file(self, key: str) -> Path | None:
        """The name a run had taken for a job's result when it was killed, if nobody has it now."""
        claim = self._entries.get(key)
        return self.folder / claim.name if claim and not self._size(claim) else None

    def add(self, key: str, file: Path, size: int) -> None:
        """Say that the file is this job's, before it is."""
        line = json.dumps({"key": key, "file": file.name, "size": size})
        with (self.folder / NAME).open("a+b") as lines:
            lines.write(b"\n" * self._cut(lines) + line.encode() + b"\n")
        self._entries[key] = ManifestEntry(file.name, size)

    def _cut(self, lines: Any) -> bool:
        """Whether the last line was never finished."""
        if not lines.seek(0, 2):
            return False
        lines.seek(-1, 2)
        return bool(lines.read(1) != b"\n")

    def _size(self, claim: ManifestEntry) -> int:
        try:
            return (self.folder / claim.name).stat().st_size
        except OSError:
            return 0


def _parse_line(line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None
