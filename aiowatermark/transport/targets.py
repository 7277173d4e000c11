"""Targets: what a path to save to is, and how a complete file gets there.

    path leads to                     the result is
    nothing yet, or a file            written beside it and renamed; a file that is replaced keeps its mode
    a symbolic link                   written beside what the link leads to; the link stays
    a folder                          given a free name in it, with the suffix of its format
    a device or a FIFO                written to a temporary file, and copied into it when it is complete
    anything else                     InvalidInput, before anything is fetched

Everything that can be found out about a path is found out in `open_target`. All functions block, except `copy_into`.
"""

from __future__ import annotations

import asyncio
import errno
import os
import secrets
import stat
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, cast

from attrs import define, field

from ..errors import InvalidInput

SUFFIX_BY_FORMAT: Mapping[str, str] = {
    "jpeg": ".jpg",
    "tiff": ".tif",
    "matroska": ".mkv",
    "quicktime": ".mov",
    **{name: f".{name}" for name in ("png", "gif", "webp", "bmp", "avif", "heic", "jxl", "jp2", "avi", "mp4")},
}
_PART_NAME_BYTES = 200
"""Bytes of the target's name in that of its part; with the additions it stays below the 255 that file systems allow."""
_COPIED_BYTES = 1 << 16
_READER_SECONDS = 5.0
"""How long to wait for a FIFO to be opened for reading."""
_MAX_NAMES = 100_000
_DESCRIPTORS = ("/dev/fd/", "/dev/stdout", "/dev/stderr", "/proc/")
"""How the paths of open files begin. Not all of /dev: files in /dev/shm are files like any other."""


@define(eq=False)
class PartialFile:
    """A file that is being written for a target.

    `path` is where it is until it is published, None for a temporary file; `suffix` is that of its format, once known.
    """

    file: BinaryIO
    path: Path | None
    target: Path
    folder: bool = False
    device: int | None = None
    suffix: str | None = field(default=None, init=False)

    def discard(self) -> None:
        """Close and delete it; finds nothing to delete after `publish`."""
        with suppress(OSError):
            self.file.close()
        with suppress(OSError):
            if self.path is not None:
                self.path.unlink()
        if self.device is not None:
            os.close(self.device)
            self.device = None

    def publish(self) -> Path:
        """Put the complete file where it belongs and return the path; raises OSError."""
        self.file.flush()
        if self.path is None:
            return self.target
        # before the rename: otherwise a power cut could leave the new name with an empty file
        os.fsync(self.file.fileno())
        self.file.close()
        return _publish_in_folder(self.path, self.target, self.suffix) if self.folder else self._replace(self.path)

    def _replace(self, path: Path) -> Path:
        with suppress(OSError):
            _copy_mode(self.target, path)
        path.replace(self.target)
        return self.target


def open_target(path: Path, name: str) -> PartialFile:
    """Return the file to write for a target; raises InvalidInput if nothing can be saved there.

    `name` is what a file in a folder is called, if the path is one.
    """
    try:
        return _open_target(path, name)
    except FileNotFoundError:
        raise InvalidInput(f"{path} cannot be written: the folder {path.parent} does not exist, create it") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL character or one that the file system cannot encode
        reason = getattr(error, "strerror", None) or error
        raise InvalidInput(f"{path} cannot be written: {reason}") from None


def _open_target(path: Path, name: str) -> PartialFile:
    mode = _mode(path)
    if stat.S_ISFIFO(mode) or stat.S_ISCHR(mode):
        device = _open_device(path)
        return PartialFile(_open_temporary(), None, path, device=device)
    if stat.S_ISDIR(mode):
        return _create_part(path / (name or "result"), folder=True)
    if mode and not stat.S_ISREG(mode):
        raise InvalidInput(f"{path} cannot be written: it is neither a file nor a folder, device or FIFO")
    if mode and os.fspath(path).startswith(_DESCRIPTORS):
        # /dev/stdout that leads to a file: the file is open and must not be replaced
        device = os.open(path, os.O_WRONLY)
        return PartialFile(_open_temporary(), None, path, device=device)
    return _create_part(_resolve(path))


def _mode(path: Path) -> int:
    """Return the mode of what a path leads to, 0 if there is nothing yet."""
    try:
        return path.stat().st_mode
    except FileNotFoundError:
        return 0


def _resolve(path: Path) -> Path:
    """Return what a symbolic link leads to, also if that does not exist; any other path as it is."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def _open_temporary() -> BinaryIO:
    temporary: Any = tempfile.TemporaryFile("w+b", prefix="aiowatermark-")  # noqa: SIM115 - discard() closes it
    return cast("BinaryIO", temporary)


def _open_device(path: Path) -> int:
    """Open a device or a FIFO for writing without blocking; waits a while for the reader of a FIFO."""
    until = time.monotonic() + _READER_SECONDS
    while True:
        try:
            return os.open(path, os.O_WRONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0))
        except OSError as error:
            if error.errno != errno.ENXIO or time.monotonic() > until:
                raise
        time.sleep(0.02)


def _create_part(target: Path, *, folder: bool = False) -> PartialFile:
    # cut by bytes, because file systems count these; without a character that is cut in two
    shown = os.fsencode(target.name)[:_PART_NAME_BYTES].decode(errors="ignore")
    path = target.with_name(f".{shown}.{secrets.token_hex(4)}.part")
    with suppress(FileNotFoundError):
        target.lstat()  # a name that is too long fails here, before anything is fetched
    part = PartialFile(path.open("x+b"), path, target, folder=folder)
    with suppress(OSError):
        if not folder:
            _copy_mode(target, path)
    return part


def _copy_mode(source: Path, path: Path) -> None:
    """Give a file the owner, as far as permitted, and the mode of another one."""
    status = source.stat()
    with suppress(OSError):
        if hasattr(os, "chown"):
            os.chown(path, status.st_uid, status.st_gid)
    path.chmod(stat.S_IMODE(status.st_mode))


def _publish_in_folder(path: Path, target: Path, suffix: str | None) -> Path:
    """Give a complete file the first free name and return it; never replaces a file."""
    for candidate in _names(target, suffix):
        try:
            os.link(path, candidate)
        except FileExistsError:
            continue
        except OSError:  # a file system without hard links
            if candidate.exists():
                continue
            path.replace(candidate)
        else:
            path.unlink()
        return candidate
    raise FileExistsError(errno.EEXIST, "no free name is left in the folder")


def _names(target: Path, suffix: str | None) -> Iterator[Path]:
    suffix = target.suffix if suffix is None else suffix
    stem = os.fsencode(target.stem)[:_PART_NAME_BYTES].decode(errors="ignore")
    yield target.with_name(f"{stem}{suffix}")
    for number in range(2, _MAX_NAMES):
        yield target.with_name(f"{stem}-{number}{suffix}")


async def copy_into(device: int, file: BinaryIO) -> None:
    """Copy a file into a device or FIFO at the speed of its reader; raises OSError."""
    loop = asyncio.get_running_loop()
    await asyncio.to_thread(file.seek, 0)
    while block := memoryview(await asyncio.to_thread(file.read, _COPIED_BYTES)):
        while block:
            try:
                block = block[os.write(device, block) :]
            except BlockingIOError:
                await _writable(loop, device)


async def _writable(loop: asyncio.AbstractEventLoop, device: int) -> None:
    ready = asyncio.Event()
    loop.add_writer(device, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_writer(device)
