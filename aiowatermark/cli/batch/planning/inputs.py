"""Inputs of `remove`: files, links, glob patterns, folders, and `-` for the lines of stdin.

    argument                       inputs
    -                              each line of stdin, as if it were an argument; read as fast as jobs end
    https://…                      the link
    an existing file               the file, also if its name looks like a pattern
    an existing folder, with -r    the images and videos in it and below it, sorted; hidden files are left out
    an existing folder             none: an error that names -r
    a pattern (* ? [)              the files that match, sorted; `**` matches any number of folders
    anything else                  the path: its job fails with the reason

Not inputs of a folder or a pattern: results of earlier runs, which are known by the manifests in the folders that are
searched, and everything in `.aiowatermark`. An input that was given twice is one input. Results of a folder keep the
path below it.
"""

from __future__ import annotations

import asyncio
import glob
import hashlib
import os
import re
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from attrs import define, field, frozen

from .... import StoreError, WatermarkError, as_media
from ...console.texts import count_text, shown_name
from ..manifest import Manifest
from ..output_names import Target, TargetNumbers, is_link, target_of
from ..state_folder import StateFolder
from .stdin import read_lines

_IMAGES = {
    ".jpg",
    ".jpeg",
    ".jpe",
    ".jfif",
    ".png",
    ".webp",
    ".bmp",
    ".gif",
    ".tif",
    ".tiff",
    ".heic",
    ".heif",
    ".avif",
}
_VIDEOS = {".mp4", ".m4v", ".mov", ".qt", ".webm", ".mkv", ".avi"}
_SUFFIXES = _IMAGES | _VIDEOS
_MAX_NAMED = 3
_RESULT_STEM = re.compile(r"(.+?)-clean(-\d+)?", re.DOTALL)


@frozen
class Input:
    """One input: what is passed to the SDK, what the manifest knows it by, and the name of its result.

    `problem` says why it cannot be submitted.
    """

    source: str
    identity: str
    target: Target
    problem: str = ""


@define(eq=False)
class _LeftOut:
    """Files of one kind that are no inputs: how many, and the first names."""

    count: int = 0
    names: list[str] = field(factory=list)

    def add(self, name: str) -> None:
        self.count += 1
        if len(self.names) < _MAX_NAMED:
            self.names.append(name)

    def describe(self, noun: str, kind: str) -> str:
        """Return `2 files of this kind (a, b)`, empty for none."""
        if not self.count:
            return ""
        more = f" and {self.count - len(self.names)} more" if self.count > len(self.names) else ""
        return f"{count_text(self.count, noun)} {kind} ({', '.join(map(shown_name, self.names))}{more})"


@define(eq=False)
class InputReader:
    """Turns arguments into inputs, each once, and counts what it leaves out: results of earlier runs, other files.

    Without a manifest, what is in the output folder is told by its names and its place.
    """

    output: Path
    recursive: bool = False
    uses_manifest: bool = True
    _skipped: _LeftOut = field(factory=_LeftOut, init=False)
    _ignored: _LeftOut = field(factory=_LeftOut, init=False)
    _seen: set[str] = field(factory=set, init=False)
    _numbers: TargetNumbers = field(factory=TargetNumbers, init=False)
    _results: dict[Path, set[str]] = field(factory=dict, init=False)
    _unreadable: dict[Path, str] = field(factory=dict, init=False)

    async def read(self, arguments: Sequence[str]) -> AsyncGenerator[Input, None]:
        """Yield the inputs in the order of the arguments."""
        for argument in arguments:
            if argument != "-":
                for found in await asyncio.to_thread(self.expand, argument):
                    yield found
                continue
            async for line in read_lines():
                for found in await asyncio.to_thread(self.expand, line):
                    yield found

    def describe_skipped(self) -> str:
        """Return what was left out, empty if that is nothing."""
        results = self._skipped.describe("result", "of earlier runs")
        others = self._ignored.describe("file", "without the suffix of an image or a video")
        words = ", ".join(filter(None, (results, others)))
        return f"Left out: {words}" if words else ""

    def expand(self, argument: str) -> list[Input]:
        """Return the inputs of one argument that are new; blocks."""
        return [
            self._make_input(source, identity, folder, problem)
            for source, folder, problem in self._find(argument)
            if (identity := self._identity(source)) is not None
        ]

    def _make_input(self, source: str, identity: str, folder: str, problem: str) -> Input:
        try:
            target = target_of(source, folder)
        except WatermarkError as error:  # not a valid URL
            target, problem = Target("media"), problem or error.message
        return Input(source, identity, self._numbers.number(target), problem)

    def _identity(self, source: str) -> str | None:
        """Return what the manifest knows an input by; None if it was given before."""
        identity = identity_of(source, self.output)
        if identity in self._seen:
            return None
        self._seen.add(identity)
        return identity

    def _find(self, argument: str) -> Iterator[tuple[str, str, str]]:
        """Yield the source, the folder of the result and the problem of each input."""
        if is_link(argument):
            yield argument, "", ""
        elif os.path.isfile(argument):  # noqa: PTH113 - the argument may be no path at all
            # a pattern that the shell expanded in the output folder names its results, too
            is_result = self._is_result_of(_absolute(self.output), _absolute(argument))
            if is_result:
                self._skipped.add(argument)
            else:
                yield argument, "", ""
        elif os.path.isdir(argument):  # noqa: PTH112
            yield from self._find_in_folder(argument)
        elif glob.has_magic(argument):
            yield from self._find_by_pattern(argument)
        else:
            yield argument, "", ""

    def _find_in_folder(self, argument: str) -> Iterator[tuple[str, str, str]]:
        if not self.recursive:
            yield argument, "", "it is a folder: add -r for the images and videos in it"
            return
        for folder, subfolders, names in os.walk(argument):
            subfolders[:] = sorted(name for name in subfolders if self._is_searched(Path(folder), name))
            below = os.path.relpath(folder, argument)
            for name in sorted(names):
                if self._is_input(Path(folder), name):
                    path = os.path.join(folder, name)  # noqa: PTH118 - keeps "./"
                    yield path, "" if below == "." else below, self._doubt_about(_absolute(path))

    def _is_searched(self, folder: Path, name: str) -> bool:
        """Whether a subfolder is searched: not a hidden one, and not an output folder without a manifest."""
        if name.startswith("."):
            return False
        return self.uses_manifest or _absolute(folder / name) != _absolute(self.output)

    def _is_input(self, folder: Path, name: str) -> bool:
        """Whether a file of a folder is an image or a video, and not a result of an earlier run."""
        if name.startswith("."):
            return False
        if os.path.splitext(name)[1].lower() not in _SUFFIXES:  # noqa: PTH122 - faster
            self._ignored.add(str(folder / name))
            return False
        is_result = self._is_result(folder, name)
        if is_result:
            self._skipped.add(str(folder / name))
        return not is_result

    def _find_by_pattern(self, pattern: str) -> Iterator[tuple[str, str, str]]:
        found = False
        for path in sorted(glob.iglob(pattern, recursive=True)):  # noqa: PTH207 - an absolute pattern, too
            if os.path.isdir(path):  # noqa: PTH112
                if self.recursive:
                    found = True
                    yield from self._find_in_folder(path)
            elif self._is_result(Path(path).parent, Path(path).name):
                self._skipped.add(path)
            else:
                found = True
                yield path, "", self._doubt_about(_absolute(path))
        if not found:
            yield pattern, "", "no file has a name like this, other than results of earlier runs"

    def _is_result(self, folder: Path, name: str) -> bool:
        """Whether one of the manifests in this folder and those above it knows a file as a result."""
        path = _absolute(folder) / name
        if any(self._is_result_of(above, path) for above in path.parents):
            return True
        in_output = not self.uses_manifest and path.parent == _absolute(self.output)
        named = _RESULT_STEM.fullmatch(path.stem) if in_output else None
        return named is not None and any(
            each.stem == named[1] for each in path.parent.glob(f"{glob.escape(named[1])}.*")
        )

    def _is_result_of(self, folder: Path, path: Path) -> bool:
        """Whether the manifest in a folder, if there is one, knows a file as a result."""
        if folder not in self._results:
            try:
                self._results[folder] = _read_results(folder)
            except StoreError as error:
                self._results[folder], self._unreadable[folder] = set(), error.message
        results = self._results[folder]
        return bool(results) and path.is_relative_to(folder) and path.relative_to(folder).as_posix() in results

    def _doubt_about(self, path: Path) -> str:
        """Return why it cannot be told whether a file is a result: its name is like one, and a manifest is damaged."""
        if _RESULT_STEM.fullmatch(path.stem) is None:
            return ""
        reason = next((self._unreadable[above] for above in path.parents if above in self._unreadable), "")
        return f"may be the result of an earlier run: {reason}" if reason else ""


def identity_of(source: str, output: Path) -> str:
    """Return what the manifest in `output` knows an input by: its path relative to it, or a digest of a URL."""
    if is_link(source):
        with suppress(WatermarkError):
            return f"link:{as_media(source).fingerprint}"
        return f"link:{hashlib.blake2b(source.encode(errors='surrogateescape'), digest_size=16).hexdigest()}"
    path = str(_absolute(source))
    with suppress(ValueError):  # on another drive
        path = os.path.relpath(path, _absolute(output))
    # SQLite takes no bytes that are not UTF-8
    return path.encode(errors="backslashreplace").decode()


def name_of_input(output: Path, identity: str, target: Target) -> str:
    """Return the path, from here, of what the manifest in `output` knows; of a URL its file name."""
    if identity.startswith(("link:", "key:")):
        return f"{target.stem}{target.suffix}"
    with suppress(ValueError):
        return os.path.relpath(output / identity)
    return identity


def _absolute(path: str | Path) -> Path:
    """Return an absolute path without `..`; a symbolic link is a file of its own, so it is not followed."""
    return Path(os.path.abspath(path))  # noqa: PTH100


def is_file_argument(argument: str) -> bool:
    """Whether an argument stands for files of this machine, as far as that can be told without reading stdin."""
    return argument != "-" and not is_link(argument)


def _read_results(folder: Path) -> set[str]:
    """Return the names of the results in an output folder; none without a manifest.

    Raises StoreError for a manifest that cannot be read.
    """
    with suppress(OSError):  # one that belongs to another user is not believed
        if not StateFolder(folder).exists():
            return set()
        manifest = Manifest(folder)
        manifest.open(read_only=True)
        try:
            return manifest.files()
        finally:
            manifest.close()
    return set()
