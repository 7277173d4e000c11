"""Output folder: saves results under free names and never overwrites a file.

What may be found in the folder:

    .HEX.fetching/              a download in progress; removed when it ends, however it ends
    STEM-clean.SUFFIX, empty    a name reserved for a download that is complete
    STEM-clean.SUFFIX           a complete result; STEM-clean-2 and so on if the name was taken
    .aiowatermark/              the manifest, and the store of jobs (see state_folder)

Saving a result, one step after another:

    1. download into .HEX.fetching/     the network may fail here; nothing else has been touched
    2. note the name in the manifest    unless --no-store; another run of the same command finds it there
    3. create the target exclusively    fails if another thread or process was faster: again with the next number
    4. rename the download to it        atomic: readers see an empty or a complete file

Exclusive creation in step 3 decides who owns a name, so that any number of workers and processes may save into one
folder at the same time. The rename in step 4 replaces nothing but the empty file of step 3, or the same result that
another run of the same command has saved meanwhile.

Cancellation and crashes: during step 1 nothing but the download is lost. Between steps 2 and 4 an empty file may stay
behind; with a manifest the next run saves the result under that name. A killed process leaves its .fetching folder;
`prepare` removes those in which nothing has been written for an hour, because younger ones may belong to a process
that is still running.
"""

from __future__ import annotations

import asyncio
import errno
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from attrs import define, evolve, field

from ... import InvalidInput, Result
from ...media.base import ProgressCallback
from ..console.problems import os_error_text
from .manifest import FileState, Manifest, Work, create_empty
from .output_names import Target, suffix_of_content
from .saving import keeper_of, saving_errors
from .state_folder import StateFolder

_STRAY_AGE = 3600.0
"""Seconds without a write after which a download folder belongs to a process that was killed."""


@define(eq=False)
class OutputFolder:
    """Folder for results; with `uses_manifest` it notes which file holds the result of which job."""

    folder: Path
    uses_manifest: bool = False
    used_before: bool = field(default=False, init=False)
    manifest: Manifest | None = field(default=None, init=False)

    def prepare(self) -> None:
        """Create the folder and open its manifest; raise InvalidInput if nothing can be written there."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            # found out now, before the first job is paid
            tempfile.TemporaryFile(dir=self.folder).close()
            if self.uses_manifest:
                self._open_manifest()
            self._remove_strays()
        except OSError as error:
            raise InvalidInput(f"cannot write to the folder {self.folder}: {_problem_of(self.folder, error)}") from None

    def check(self) -> None:
        """Raise InvalidInput if `prepare` would; what is created to find out is removed again."""
        try:
            StateFolder(self.folder).exists()
            _try_folder(self.folder)
        except OSError as error:
            raise InvalidInput(f"cannot write to the folder {self.folder}: {_problem_of(self.folder, error)}") from None

    def open_existing(self) -> None:
        """Open the manifest of an earlier run, if there is one; writes nothing. Raises InvalidInput."""
        try:
            if StateFolder(self.folder).exists():
                self._open_manifest(read_only=True)
        except OSError as error:
            raise InvalidInput(f"cannot read the folder {self.folder}: {error.strerror or error}") from None

    def _open_manifest(self, *, read_only: bool = False) -> None:
        state = StateFolder(self.folder)
        self.used_before = state.exists()
        if not read_only:
            state.prepare()
        manifest = Manifest(self.folder)
        manifest.open(read_only=read_only)
        self.manifest = manifest

    def close(self) -> None:
        """Close the manifest."""
        if self.manifest is not None:
            self.manifest.close()

    async def register(self, key: str, source: str, target: Target) -> None:
        """Note the name that the result of a job is to have, before the job is submitted."""
        if self.manifest is not None:
            await asyncio.to_thread(self.manifest.register, key, source, target)

    async def note_work(self, work: Work) -> None:
        """Note what a job does, and where, before it is submitted."""
        if self.manifest is not None:
            await asyncio.to_thread(self.manifest.note_work, work)

    async def find_works(self, content: str) -> list[Work]:
        """Return the jobs that do this, at whichever account and base URL, as far as the folder knows them."""
        return [] if self.manifest is None else await asyncio.to_thread(self.manifest.works, content)

    async def find_saved_for_any(self, key: str) -> Path | None:
        """Return a file with the job's result, saved for any of its inputs, that is as it was written."""
        return None if self.manifest is None else await asyncio.to_thread(self.manifest.saved_for_any, key)

    async def find_saved(self, key: str, source: str) -> Path | None:
        """Return the file into which the job's result was saved for this input, if it is as it was written."""
        return None if self.manifest is None else await asyncio.to_thread(self.manifest.saved, key, source)

    async def copy_saved(self, key: str, source: str, target: Target) -> Path | None:
        """Save a copy of the job's result for this input if the folder has it for another one, and return its file."""
        return None if self.manifest is None else await asyncio.to_thread(self._copy_saved, key, source, target)

    def _copy_saved(self, key: str, source: str, target: Target) -> Path | None:
        if self.manifest is None or (saved := self.manifest.saved_for_any(key)) is None:
            return None
        with (
            saving_errors(self.folder / target.folder, f"{saved} is its result under another name"),
            self._temporary_folder() as temporary,
        ):
            copy = Path(shutil.copyfile(saved, temporary / "fetched"))
            return self._move_into_place(copy, key, source, target)

    @contextmanager
    def _temporary_folder(self, name: str = "") -> Iterator[Path]:
        temporary = self.folder / (name or f".{secrets.token_hex(8)}.fetching")
        try:
            temporary.mkdir()
            yield temporary
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    async def find_targets(self, key: str) -> list[tuple[str, Target]]:
        """Return the inputs of a job and the names that its result is to have, as far as the folder knows them."""
        return [] if self.manifest is None else await asyncio.to_thread(self.manifest.targets, key)

    async def round_of(self, base: str) -> tuple[int, bool]:
        """Return how often --again has paid for a job, and whether such a run has not come to its end."""
        return (0, False) if self.manifest is None else await asyncio.to_thread(self.manifest.round_of, base)

    async def begin_round(self, base: str, *, anew: bool) -> int:
        """Note that an --again run has begun for a job, in a new round if it is paid anew; return the round."""
        return 0 if self.manifest is None else await asyncio.to_thread(self.manifest.begin_round, base, anew=anew)

    async def end_rounds(self, bases: Iterable[str]) -> None:
        """Note that the --again run over these jobs has come to its end."""
        if self.manifest is not None and (ended := list(bases)):
            await asyncio.to_thread(self.manifest.end_rounds, ended)

    async def add_charge(self, group: str, credits: float) -> None:  # noqa: A002 - the providers' word
        """Note what a job cost, one of a group of jobs that should all cost the same."""
        if self.manifest is not None:
            await asyncio.to_thread(self.manifest.add_charge, group, credits)

    async def average_charge(self, group: str) -> float | None:
        """Return what a job of this group has cost in this folder on average; None while that is not known."""
        return None if self.manifest is None else await asyncio.to_thread(self.manifest.average_charge, group)

    async def save(
        self, result: Result, source: str, target: Target, *, progress: ProgressCallback | None = None
    ) -> Path:
        """Download a result and return its file, named as its target says; `progress(received, total)` gets bytes.

        The caller acknowledges the result, once all its files are there. Raises NotSaved if it cannot be written.
        """
        kept, name = keeper_of(result, is_remembered=self.uses_manifest), f".{secrets.token_hex(8)}.fetching"
        # a download is not a saved result yet: what counts is the file under its name
        unacknowledged = evolve(result, acknowledger=None)
        # not in a thread: a task that is being cancelled should not wait here; it is one file at most
        with saving_errors(self.folder / target.folder, kept, name), self._temporary_folder(name) as temporary:
            downloaded = await unacknowledged.save(temporary / "fetched", progress=progress)
            return await asyncio.to_thread(self._move_into_place, downloaded, result.key, source, target)

    def _move_into_place(self, downloaded: Path, key: str, source: str, target: Target) -> Path:
        suffix = suffix_of_content(downloaded, target.suffix)
        if self.manifest is not None:
            state = FileState.of(downloaded)
            return downloaded.replace(self.manifest.reserve(key, source, target, suffix, state))
        number = target.number
        while True:
            path = self.folder / target.name(suffix, number)
            # lexists: a broken symbolic link takes a name, too
            if not os.path.lexists(path) and create_empty(path, self.folder):
                return downloaded.replace(path)
            number += 1

    def _remove_strays(self) -> None:
        """Remove the download folders of killed runs."""
        for stray in self.folder.glob(".*.fetching"):
            if stray.is_symlink() or not stray.is_dir():
                continue
            paths = [stray, *stray.iterdir()]
            if max(path.lstat().st_mtime for path in paths) < time.time() - _STRAY_AGE:
                shutil.rmtree(stray, ignore_errors=True)


def _try_folder(folder: Path) -> None:
    """Raise OSError if a file cannot be created in a folder, which need not exist."""
    above = _nearest_existing(folder)
    if not above.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(above))
    if above == folder:
        tempfile.TemporaryFile(dir=folder).close()
        return
    # the system alone knows whether it can: permissions of /proc allow what it refuses, names may be too long
    with tempfile.TemporaryDirectory(dir=above, prefix=".") as temporary:
        tried = Path(temporary) / folder.relative_to(above)
        tried.mkdir(parents=True)
        tempfile.TemporaryFile(dir=tried).close()


def _nearest_existing(path: Path) -> Path:
    """Return a path, or the nearest one above it that exists; a broken symbolic link exists."""
    while not os.path.lexists(path):
        path = path.parent
    return path


def _problem_of(folder: Path, error: OSError) -> str:
    """Return why nothing can be written to a folder; of a path that leads through a file, which file that is."""
    above = _nearest_existing(folder)
    if error.errno in {errno.EEXIST, errno.ENOTDIR} and not above.is_dir():
        error = NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(above))
    return os_error_text(error)


def remark_on(result: Result) -> str:
    """Return what a user has to know of a saved result, empty if there is nothing: it is unchanged or incomplete."""
    output = next(output for output in result.outputs if output.media is not None)
    if output.suspect:
        return "the end of the file is missing; the provider has no other"
    return "unchanged: it equals the input" if output.info is not None and output.info.unchanged else ""
