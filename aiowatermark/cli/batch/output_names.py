"""Names of results: `NAME-clean.SUFFIX`, in the folder below the output folder that corresponds to the input's.

A name is made of what the command line, a token, a key or a URL says, so it is made safe here: no separators, no
control characters, not longer than file systems allow. Two inputs with the same name get numbers in the order in which
they were given, so that the same command gives the same names again.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path, PurePosixPath

from attrs import define, evolve, field, frozen

from ... import as_media
from .state_folder import NAME

_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069/\\]")
_MAX_STEM_BYTES = 180
"""Room for `-clean-NUMBER` and the suffix within the 255 bytes that file systems allow for a name."""
_MAX_SUFFIX = 20
_SIGNATURES = (  # offset, bytes, suffixes that fit; the first is used for a new name
    (0, b"\xff\xd8\xff", (".jpg", ".jpeg", ".jpe", ".jfif")),
    (0, b"\x89PNG", (".png",)),
    (0, b"BM", (".bmp",)),
    (0, b"GIF8", (".gif",)),
    (8, b"WEBP", (".webp",)),
    (4, b"ftypqt", (".mov", ".qt")),
    (4, b"ftyp", (".mp4", ".m4v", ".mov")),
)


@frozen
class Target:
    """Where a result is to be saved: a folder below the output folder, the name of the input, and a number."""

    stem: str
    suffix: str = ""
    folder: str = ""
    number: int = 1

    def name(self, suffix: str, number: int) -> str:
        """Return the path below the output folder, with slashes, for a suffix that fits and a number that is free."""
        name = f"{self.stem}-clean{f'-{number}' if number > 1 else ''}{suffix}"
        return f"{self.folder}/{name}" if self.folder else name


def target_of(source: str, folder: str = "") -> Target:
    """Return the target of a path or a URL; `folder` is where it lies below the folder that was given."""
    path = Path(as_media(source).name if is_link(source) else source)
    return safe_target(path.stem, path.suffix, folder)


def safe_target(stem: str, suffix: str = "", folder: str = "", number: int = 1) -> Target:
    """Return a target of texts from outside: it is below the output folder whatever they are."""
    parts = [_safe_part(part) for part in PurePosixPath(folder).parts if part not in {"/", "..", NAME}]
    return Target(safe_stem(stem), safe_suffix(suffix), "/".join(parts), max(int(number), 1))


def is_link(source: str) -> bool:
    """Whether an input is a URL and not a path."""
    return "://" in source or source.startswith("data:")


def safe_stem(stem: str) -> str:
    """Return a stem without folders and control characters; it may come from a token, or a key in a store."""
    # bounded first: a token may hold a megabyte
    return _safe_part(stem[-1000:].replace("\\", "/").rpartition("/")[2])


def safe_suffix(suffix: str) -> str:
    """Return a suffix, or nothing where there is none that a file name should have."""
    return suffix if len(suffix) <= _MAX_SUFFIX and suffix.isprintable() and not _UNSAFE.search(suffix) else ""


def _safe_part(part: str) -> str:
    # cut in bytes, not in characters: that is how file systems count; half a character is dropped
    part = _UNSAFE.sub("_", part).encode(errors="replace")[:_MAX_STEM_BYTES].decode(errors="ignore")
    return part if part.strip(". ") else "media"


@define(eq=False)
class TargetNumbers:
    """Numbers the targets of one run that have the same name."""

    _counts: Counter[Target] = field(factory=Counter, init=False)

    def number(self, target: Target) -> Target:
        """Return the target with its number among those with its name."""
        self._counts[target] += 1
        return evolve(target, number=self._counts[target])


def suffix_of_content(file: Path, suffix: str) -> str:
    """Return `suffix` if it fits the file's content or the content is of no known format; else one that fits."""
    with file.open("rb") as opened:
        head = opened.read(16)
    fitting = next((fits for offset, magic, fits in _SIGNATURES if head.startswith(magic, offset)), (suffix,))
    return suffix if suffix.lower() in fitting else fitting[0]
