"""Checks of a store: it can be opened and written, and keeps what was written."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit

from ... import InvalidInput, JobStore, RedisStore, Snapshot, Status, StoreError, WatermarkError
from ...jobs import Record
from ...stores.sqlite.file_system import file_system_of
from ..console.runner import error_text
from ..options.store import is_network_url, store_from
from .redis_checks import check_redis_settings
from .results import CheckResult, failed, passed, remark

_MIN_FREE_BYTES = 100 << 20
_IN_MEMORY = "in memory: a restart of the machine forgets every record, and their keys can be charged again"
_NOT_DURABLE = {
    "tmpfs": (_IN_MEMORY, "give the --store a path on a disk"),
    "ramfs": (_IN_MEMORY, "give the --store a path on a disk"),
    "overlay": (
        "in the layer of a container: if it is replaced, every record is gone, and their keys can be charged again",
        "give the --store a path on a volume of the container",
    ),
}
# what is written in the error of the store, and what to do about it
_ADVICE = {
    "network file system": "use redis://… as the --store, or a file on a local disk",
    "not an aiowatermark store": "give the --store another file name",
    "another program": "give the --store another file name",
    "newer version": "update aiowatermark to the version that wrote it",
    "damaged": "restore the file from a copy; do not delete it while jobs are open",
    "disk is full": "free some space on that disk",
    "read-only": "change the permissions of the file, or give the --store another path",
    "permissions": "change the permissions of the folder, or give the --store another path",
    "locked": "end the program that holds the file, or wait until it is done",
    "does not exist": "create that folder, or give the --store another path",
    "is a folder": "give the --store the name of a file in it",
    "pip install": "run that command",
}


async def check_store(location: str) -> AsyncIterator[CheckResult]:
    """Check that the store can be opened and written, and how durable it is; leaves nothing behind."""
    new_path = await asyncio.to_thread(_path_if_new, location)
    # a store that does not exist is tried out under another name in the same folder: a check must not create it
    tried = str(new_path.with_name(f".{new_path.name}-{secrets.token_hex(4)}")) if new_path else location
    try:
        async with store_from(tried) as store:
            await _try_write(store)
            settings = await store.server_settings() if isinstance(store, RedisStore) else None
        note = "; it does not exist yet and will be created" if new_path else ""
        yield passed(f"the store {_without_password(location)} can be opened and written{note}")
        if settings is not None:
            results = check_redis_settings(settings)
        else:
            results = iter(await asyncio.to_thread(lambda: list(_check_file(Path(location)))))
        for result in results:
            yield result
    except WatermarkError as error:
        yield failed(error_text(error).replace(tried, location), _advice_for(error, location))
    finally:
        if new_path is not None:
            await asyncio.to_thread(_remove_files, new_path.parent, Path(tried).name)


def _advice_for(error: WatermarkError, location: str) -> str:
    """Return what to do about a store that cannot be used."""
    if isinstance(error, InvalidInput):
        return "correct the --store: a path, or redis://host:port/number"
    found = (advice for words, advice in _ADVICE.items() if isinstance(error, StoreError) and words in error.message)
    if is_network_url(location):
        return next(found, f"start the server at {_without_password(location)}, and check host, port and password")
    return next(found, "give the --store another path, or repair this one")


def _check_file(path: Path) -> Iterator[CheckResult]:
    """Say what becomes of the records in an SQLite file when the machine stops, and whether there is room for more."""
    kind = file_system_of(path.resolve())
    if kind in _NOT_DURABLE:
        why, advice = _NOT_DURABLE[kind]
        yield remark(f"{path} is on {kind}, {why}", advice)
    else:
        yield passed(
            f"{path} is on {kind or 'a file system whose kind is not known'}: what was written survives a crash "
            "(synchronous=FULL)"
        )
    free = shutil.disk_usage(path.resolve().parent).free
    if free < _MIN_FREE_BYTES:
        yield remark(f"{free >> 20} MB are free for {path}: on a full disk nothing new is submitted", "free some space")
    if path.exists() and path.stat().st_mode & 0o077:
        yield remark(f"others on this machine can read {path}, which holds links to results", f"chmod 600 {path}")


async def _try_write(store: JobStore) -> None:
    """Write a record and delete it; its status says that nothing was sent, in case the deletion fails."""
    record = Record(f"doctor-{secrets.token_hex(8)}", "doctor", Snapshot(None, Status.UPLOADING))
    await store.open(record)
    try:
        if await store.get(record.key) is None:
            raise StoreError("the store did not return the record that was written to it")
    finally:
        await store.forget(record)


def _path_if_new(location: str) -> Path | None:
    """Return the path of a store that does not exist yet; None for one that exists, or a URL."""
    return None if is_network_url(location) or Path(location).exists() else Path(location)


def _remove_files(folder: Path, prefix: str) -> None:
    # SQLite puts journals beside its file, and the store a folder for results
    for path in folder.glob(f"{prefix}*"):
        with contextlib.suppress(OSError):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _without_password(location: str) -> str:
    """Return the path, or the URL without user name and password."""
    if not is_network_url(location):
        return location
    parts = urlsplit(location)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
