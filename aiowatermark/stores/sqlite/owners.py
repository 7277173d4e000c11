"""LockedOwners: a client of a SQLite store is alive as long as its process holds the lock of the client's file.

Each client has a file in the folder `<database>-owners`, whose name is a hash of the owner's name: names in records may
be anything. From `register` to `unregister` its process holds an exclusive `flock` on that file, and the kernel
releases the lock when the process ends, however it ends.

    file                          the owner is
    locked exclusively            alive, also while its process is stopped (SIGSTOP, a debugger, a suspended machine)
    there, not locked             gone: its process died
    not there                     gone: closed, or removed after it died, or its record has format 1, which had no locks
    cannot be read                unknown, so not gone

Tests of an owner take a shared lock, so that two of them at once do not take each other for the owner. `flock`, not
`fcntl.lockf`: the locks of `lockf` belong to the process, so two clients in one process would not see each other, and
closing any descriptor of the file would release the lock.

Removing the file of a dead owner, done by the client that finds it:

    remover    lock exclusively; does the path still name the locked file? then unlink it; close
    register   open or create; lock exclusively; does the path still name the locked file? if not, start again

A file is unlinked only under the exclusive lock of that very file, so never while its owner holds the lock.

Forked children share the locks of their parent: a child that lives on would keep its dead parent alive. Therefore a
child closes its copies, and never unlocks them, because that would release the parent's. `_descriptor_lock` is held
while descriptors are opened and closed, and during a fork, so that a child knows them all. Programs that are started
with exec inherit no descriptor.

Without `fcntl` (Windows) no owner is ever gone, except those that this process has unregistered.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from contextlib import suppress
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import TypeAlias

from attrs import define

from ...errors import StoreError
from ...jobs import Record

if sys.platform == "win32":
    fcntl = None
else:
    import fcntl

_NAME_BYTES = 16
_NAME_LENGTH = 2 * _NAME_BYTES
# a remover holds the lock of a file that was just created for a few microseconds
_ATTEMPTS = 100
_RETRY_SECONDS = 0.01
_SWEEP_LIMIT = 1000

OwnerId: TypeAlias = tuple[Path, str]
"""A folder, and the name of an owner in it."""

_held: dict[OwnerId, int] = {}
"""The descriptors that hold the locks of this process."""
_closed: set[OwnerId] = set()
"""The owners that this process has unregistered; used without `fcntl` only."""
_descriptor_lock = threading.Lock()


def _close_in_child() -> None:
    """Give up a forked child's copies of the locks; closing them leaves the parent's locks as they are."""
    for descriptor in _held.values():
        with suppress(OSError):
            os.close(descriptor)
    _held.clear()
    _descriptor_lock.release()


if fcntl is not None:
    os.register_at_fork(
        before=_descriptor_lock.acquire, after_in_parent=_descriptor_lock.release, after_in_child=_close_in_child
    )


@define(eq=False)
class LockedOwners:
    """The clients of the database beside `folder`, in all processes under one kernel.

    `folder` is created with the first owner. All clients of a database must use the same one, so its name must come
    from the resolved path of the database. Without `fcntl` (Windows) no owner is ever gone, except those that this
    process has unregistered. With `read_only` none can be registered, and no file is removed.
    """

    folder: Path
    read_only: bool = False

    async def register(self, owner: str) -> None:
        """Lock the owner's file; raises StoreError if that is impossible or another client has this name."""
        if self.read_only:
            raise StoreError("a client writes each job to its store, and this one is open with read_only=True")
        registration = asyncio.get_running_loop().run_in_executor(None, self._register, owner)
        try:
            await asyncio.wait([registration])
        except asyncio.CancelledError:
            registration.add_done_callback(lambda done: self._take_back(done, owner))
            raise
        registration.result()

    async def unregister(self, owner: str) -> None:
        """Remove the owner's file and release its lock, also if this call is cancelled."""
        # unlike awaiting the future itself, this never cancels it
        await asyncio.wait([asyncio.get_running_loop().run_in_executor(None, self._unregister, owner)])

    async def is_gone(self, record: Record) -> bool:
        """Whether the record's owner holds no lock; owners that were registered in this process need no I/O."""
        owner_id = (self.folder, record.owner)
        if not record.owner:
            return True
        if owner_id in _held:
            return False
        if fcntl is None:
            return owner_id in _closed
        return await asyncio.to_thread(_is_unlocked, self._path(record.owner), remove=not self.read_only)

    def sweep(self) -> None:
        """Remove the files of owners that are gone, of at most 1,000 files; blocks."""
        with suppress(OSError), os.scandir(self.folder) as entries:
            for entry in islice(entries, _SWEEP_LIMIT):
                if len(entry.name) == _NAME_LENGTH:
                    _is_unlocked(Path(entry.path), remove=True)

    def _path(self, owner: str) -> Path:
        # surrogates cannot be encoded otherwise, and JSON may contain them
        return self.folder / blake2b(owner.encode(errors="surrogatepass"), digest_size=_NAME_BYTES).hexdigest()

    def _register(self, owner: str) -> None:
        if fcntl is None:
            return
        path = self._path(owner)
        try:
            self.folder.mkdir(mode=0o700, exist_ok=True)
            for _ in range(_ATTEMPTS):
                with _descriptor_lock:
                    if (descriptor := _open_locked(path)) is not None:
                        _held[self.folder, owner] = descriptor
                        return
                time.sleep(_RETRY_SECONDS)
        except OSError as error:
            raise StoreError(f"a lock file in {self.folder} cannot be used: {error.strerror or error}") from None
        raise StoreError(f"another client is registered as {owner!r}: give each client a name of its own")

    def _take_back(self, registration: asyncio.Future[None], owner: str) -> None:
        """Unregister an owner whose registration went on in its thread after the caller was cancelled."""
        if registration.exception() is None:
            # a thread of its own: the loop may be closing, and then its executor takes no more calls
            threading.Thread(target=self._unregister, args=(owner,)).start()

    def _unregister(self, owner: str) -> None:
        owner_id = (self.folder, owner)
        if fcntl is None:
            _closed.add(owner_id)
            return
        with _descriptor_lock:
            if (descriptor := _held.pop(owner_id, None)) is not None:
                _remove(self._path(owner), descriptor)
                os.close(descriptor)


# The functions below are called under _descriptor_lock, or take it.


def _open_locked(path: Path) -> int | None:
    """Return a descriptor that holds the lock of the file, which is created; None if it is locked or was removed."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if _try_lock(descriptor, fcntl.LOCK_EX) and _is_named(path, descriptor):
            return descriptor
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def _is_unlocked(path: Path, *, remove: bool) -> bool:
    """Whether certainly no process holds the lock of the file; with `remove` it is removed then."""
    with _descriptor_lock:
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            return True
        except OSError:
            return False
        try:
            if not _try_lock(descriptor, fcntl.LOCK_SH):
                return False
            # another test of this owner may hold its shared lock: then the file is left to it
            if remove and _try_lock(descriptor, fcntl.LOCK_EX):
                _remove(path, descriptor)
        except OSError:
            return False
        else:
            return True
        finally:
            os.close(descriptor)


def _try_lock(descriptor: int, kind: int) -> bool:
    """Whether the lock was taken; raises OSError if the file system has no locks."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _remove(path: Path, descriptor: int) -> None:
    """Unlink the file whose exclusive lock `descriptor` holds, unless the path names another file by now."""
    with suppress(OSError):
        if _is_named(path, descriptor):
            path.unlink()


def _is_named(path: Path, descriptor: int) -> bool:
    """Whether the path still names the open file."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
