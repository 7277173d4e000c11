"""Store thread: the one thread that uses a SQLite store; calls that arrive while it is busy share one transaction.

The event loop appends calls to a list and hands the list to the thread, which writes all of it in one transaction, then
does the reads, and posts the results back together. That makes durable writes fast: 72,000 records a second with
`synchronous=FULL` (benchmarks/stores.py), where one transaction for each record reaches about 1,100.

    state      meaning                           a new call is           next state
    idle       not _busy                         handed over in the      busy
                                                 next loop iteration
    busy       _busy: a batch is in the thread,  appended to _waiting    with the results: busy with the next batch,
               or about to be                                            idle if there is none, or gathering
    gathering  _busy, with a _gather_timer       appended to _waiting    after the timer, or _ENOUGH_CALLS calls: busy
                                                                         with the next batch, or idle

After a batch of up to _SMALL_BATCH calls the next one is handed over immediately. After a larger one it gathers for
_GATHER_SECONDS, because a hop between loop and thread costs more than a row. So a lone write never waits.

Invariants: writes happen in the order of the calls; the reads of a batch see all its writes. A result is posted after
the commit, so what was acknowledged is on the disk. A failed transaction changes nothing, and each of its calls gets a
StoreError; a call that is invalid by itself (a bad key, a damaged record) fails alone.

Concurrency: the loop and the thread share `_queue`, which is thread-safe, and the calls in it, which neither changes.
`_waiting`, `_busy` and `_gather_timer` belong to the loop, the database and `_expire_at` to the thread. Futures are
resolved in the loop.

Cancellation: a call that was cancelled before its batch is executed is skipped; later it is carried out and its result
dropped. Closing hands over what is waiting, then a None that ends the thread. If the loop was closed first, the results
have no receiver and are dropped.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeAlias

from attrs import define, field

from ...clock import active_until_done
from ...errors import StoreError
from ...jobs import Record
from ..blobs import BlobFolder
from ..records.dump import dump
from ..records.load import load
from .clock import StoreClock
from .database import DONE, Change, ChangeKind, ChangeResult, Database, RecordRow
from .file_system import check_local
from .owners import LockedOwners

log = logging.getLogger("aiowatermark")

_LOCK_TIMEOUT = 30.0
_MAX_BATCH = 512
_SMALL_BATCH = 8
_ENOUGH_CALLS = 128
_GATHER_SECONDS = 0.02
_EXPIRE_INTERVAL = 3600.0
_EXPIRE_BATCH = 1000

# one encoder for all records: json.dumps creates one for each call with these options
_encode_json = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode

_WRITTEN = (True, None)
"""What the caller of a write gets that was made and has nothing to report."""

Read: TypeAlias = Callable[[Database], Any]
CallResult: TypeAlias = tuple["asyncio.Future[Any]", Any, BaseException | None]
"""A call's future with its value or its error."""


@define(eq=False)  # not frozen: creating a frozen instance takes a microsecond longer
class StoreCall:
    """One call and the future of its result: either `kind` and the record or row to write, or `read`."""

    future: asyncio.Future[Any]
    kind: ChangeKind | None = None
    value: Record | RecordRow | None = None
    read: Read | None = None


def to_row(record: Record, clock: StoreClock) -> tuple[RecordRow, dict[str, Any]]:
    """Return a record as a row, and its parts, which are written to files."""
    data, parts = dump(record)
    task_id = record.snapshot.task_id
    return RecordRow(
        _validate_text(record.key),
        record.callback,
        None if task_id is None else _validate_text(format_task(record.account, task_id)),
        record.epoch,
        record.version,
        clock.now() if record.snapshot.status.terminal else None,
        record.acknowledged,
        " ".join(parts),
        _encode_json(data),
    ), parts


def format_task(account: str, task_id: str) -> str:
    """Return a task as it stands in the column `task`."""
    return f"{account} {task_id}"


def _validate_text(text: str) -> str:
    """Return the text; raises StoreError for one that SQLite would refuse, failing the whole transaction."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise StoreError(f"{text!r} cannot be stored: it is not valid Unicode text") from None
    return text


@define(eq=False)
class StoreThread:
    """Executes calls on the store at `path`, from `start` until `close`; finished records are kept `keep` seconds.

    With `read_only` nothing is written, created or removed: calls that write raise StoreError.
    """

    path: Path
    blobs: BlobFolder
    keep: float
    loop: asyncio.AbstractEventLoop
    read_only: bool = False
    ready: asyncio.Future[None] = field(init=False)
    closed: asyncio.Future[None] = field(init=False)
    clock: StoreClock = field(init=False)
    callback_secret: bytes | None = field(init=False, repr=False)
    owners: LockedOwners = field(init=False)
    _queue: SimpleQueue[list[StoreCall] | None] = field(factory=SimpleQueue, init=False)
    _waiting: list[StoreCall] = field(factory=list, init=False)
    _busy: bool = field(default=False, init=False)
    _gather_timer: asyncio.TimerHandle | None = field(default=None, init=False)
    _expire_at: float = field(default=0.0, init=False)

    # called in the event loop

    def start(self) -> None:
        """Start the thread; `ready` gets the error if the store cannot be opened."""
        self.ready, self.closed = self.loop.create_future(), self.loop.create_future()
        # retrieve the error here: asyncio warns about one that no caller awaits, such as after a cancelled opening
        self.ready.add_done_callback(lambda ready: ready.cancelled() or ready.exception())
        # a daemon, so that a store that was never closed does not keep the interpreter from exiting
        threading.Thread(target=self._run, name=f"aiowatermark store {self.path.name}", daemon=True).start()

    def close(self) -> None:
        """End the thread after the calls that are waiting; `closed` is done when the file is closed."""
        self._hand_over()
        self._queue.put(None)

    def call(
        self, kind: ChangeKind | None, value: Record | RecordRow | None = None, read: Read | None = None
    ) -> asyncio.Future[Any]:
        """Queue a write (`kind` and `value`) or a `read`, and return the future of its result.

        The result of a write is whether it was made, and the stored record if it was not, or another one of its task.
        """
        future = self.loop.create_future()
        active_until_done(future)
        self._waiting.append(StoreCall(future, kind, value, read))
        if not self._busy:
            # in the next iteration, so that all calls of this one go together
            self._busy = True
            self.loop.call_soon(self._hand_over)
        elif self._gather_timer is not None and len(self._waiting) >= _ENOUGH_CALLS:
            self._hand_over()
        return future

    def _hand_over(self) -> None:
        """Give all waiting calls to the thread."""
        if self._gather_timer is not None:
            self._gather_timer.cancel()
            self._gather_timer = None
        calls, self._waiting = self._waiting, []
        self._busy = bool(calls)
        for start in range(0, len(calls), _MAX_BATCH):
            self._queue.put(calls[start : start + _MAX_BATCH])

    def _resolve(self, results: Sequence[CallResult], served: int) -> None:
        """Resolve the futures of a batch of `served` calls."""
        for future, value, error in results:
            if future.done():
                continue
            if error is None:
                future.set_result(value)
            else:
                future.set_exception(error)
        if served:
            # after the tasks that this has woken: their next calls belong to the next batch
            self.loop.call_soon(self._schedule, served)

    def _schedule(self, served: int) -> None:
        """Hand over the next batch: immediately, or after gathering if the last one was large."""
        if served > _SMALL_BATCH and len(self._waiting) < _ENOUGH_CALLS:
            self._gather_timer = self.loop.call_later(_GATHER_SECONDS, self._hand_over)
        else:
            self._hand_over()

    # called in the thread

    def _run(self) -> None:
        """Open the store and execute batches until there is a None in the queue."""
        try:
            # resolved, because processes may know one database by different paths
            path = Path(os.path.realpath(self.path))
            check_local(path)
            self.owners = LockedOwners(Path(f"{path}-owners"), self.read_only)
            database = (Database.read if self.read_only else Database.open)(self.path, _LOCK_TIMEOUT)
            self.clock = database.clock
            self.callback_secret = None if self.read_only else _read_secret(database)
        except BaseException as error:  # noqa: BLE001 - raised where `ready` is awaited
            self._post([(self.ready, None, error), (self.closed, None, None)])
            return
        self._post([(self.ready, None, None)])
        if not self.read_only:
            self._clean_up(database)
        while calls := self._queue.get():
            self._post(self._execute(database, calls), len(calls))
            if not self.read_only:
                self._expire(database)
        with suppress(StoreError):
            database.close()
        self._post([(self.closed, None, None)])

    def _clean_up(self, database: Database) -> None:
        """Remove files of dead owners and expired records until calls arrive, then result files that a crash left."""
        self.owners.sweep()
        while self._expire(database) and self._queue.empty():
            pass
        try:
            self.blobs.remove_strays(database.parts)
        except StoreError as error:
            log.warning("files without a record could not be removed: %s", error)

    def _execute(self, database: Database, calls: Sequence[StoreCall]) -> list[CallResult]:
        """Write in one transaction, then read; calls that were cancelled are skipped."""
        calls = [call for call in calls if not call.future.cancelled()]
        results = list(self._write(database, calls))
        results += [_call_safely(call.future, call.read, database) for call in calls if call.read is not None]
        return results

    def _write(self, database: Database, calls: Sequence[StoreCall]) -> Iterator[CallResult]:
        changes: list[tuple[asyncio.Future[Any], Change]] = []
        for call in calls:
            if call.kind is not None and call.value is not None:
                # a call that cannot be converted fails here, before it would fail the transaction
                future, change, error = _call_safely(call.future, self._to_change, database, call.kind, call.value)
                if error is None:
                    changes.append((future, change))
                else:
                    yield future, None, error
        if changes:
            yield from self._commit(database, changes)

    @staticmethod
    def _to_change(database: Database, kind: ChangeKind, value: Record | RecordRow) -> Change:
        """Return the change to write; raises StoreError for a record that cannot be stored."""
        row = value if isinstance(value, RecordRow) else to_row(value, database.clock)[0]
        return Change(kind, row)

    def _commit(
        self, database: Database, changes: Sequence[tuple[asyncio.Future[Any], Change]]
    ) -> Iterator[CallResult]:
        try:
            results = database.apply([change for _, change in changes])
        except Exception as error:  # noqa: BLE001 - raised in every caller
            for future, _ in changes:
                # one exception for each caller: raised in several tasks, a shared one would collect their tracebacks
                yield future, None, StoreError(error.message if isinstance(error, StoreError) else repr(error))
            return
        for (future, change), result in zip(changes, results, strict=True):
            if result is DONE:  # nearly always
                yield future, _WRITTEN, None
            else:
                yield _call_safely(future, self._complete, change.kind, result)

    def _complete(self, kind: ChangeKind, result: ChangeResult) -> tuple[bool, Record | None]:
        """Return what the caller of a write gets, and remove the files of a deleted record."""
        if kind is ChangeKind.FORGET:
            self.blobs.remove((result.data or "").split())
            return result.done, None
        return result.done, self.decode(result.data)

    def decode(self, data: str | None) -> Record | None:
        """Return the record in a row's data, None for no data; raises StoreError for damaged data."""
        if data is None:
            return None
        try:
            fields = json.loads(data)
        except ValueError:
            fields = None  # which `load` refuses as damaged
        return load(fields, self.blobs.open)

    def _expire(self, database: Database) -> bool:
        """Once per _EXPIRE_INTERVAL, remove up to _EXPIRE_BATCH expired records; whether there may be more."""
        if (now := time.monotonic()) < self._expire_at:
            return False
        self._expire_at = now + _EXPIRE_INTERVAL
        try:
            database.tick()
            expired, not_taken = database.expire(self.keep, _EXPIRE_BATCH)
        except StoreError as error:
            log.warning("expired jobs could not be removed: %s", error)
            return False
        self.blobs.remove(name for parts in expired for name in parts.split())
        for key in not_taken:
            log.warning(
                "job %s: result not acknowledged in %.0f s; it is dropped, and the key stays used", key, self.keep
            )
        if len(expired) < _EXPIRE_BATCH:
            return False
        self._expire_at = 0.0  # go on after the next batch, so that calls do not wait for all of it
        return True

    def _post(self, results: Sequence[CallResult], served: int = 0) -> None:
        """Have the event loop resolve the results of a batch of `served` calls."""
        with suppress(RuntimeError):  # the loop is closed, so no task awaits them
            self.loop.call_soon_threadsafe(self._resolve, results, served)


def _read_secret(database: Database) -> bytes | None:
    """Return what the keys of callbacks are signed with; None if the file is damaged there."""
    with suppress(StoreError):
        return database.secret()
    return None


def _call_safely(future: asyncio.Future[Any], function: Callable[..., Any], *args: Any) -> CallResult:
    """Return a call's result or its error, so that one failing call does not fail its batch."""
    try:
        return future, function(*args), None
    except Exception as error:  # noqa: BLE001
        return future, None, error
