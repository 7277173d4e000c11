"""The one thread that touches a SQLite store: what waits when it gets there is done in one transaction."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeAlias

from attrs import define, field

from ...errors import StoreError
from ...jobs import Record
from ..blobs import BlobFolder
from ..records.dump import dump, load
from .database import Change, ChangeKind, Database, RecordRow

log = logging.getLogger("aiowatermark")

_LOCK_TIMEOUT = 30.0
_MAX_BATCH = 512
# a busy store gathers for a moment: each hop to its thread costs more than a row
_FEW, _PLENTY, _GATHERING = 8, 128, 0.02
_EXPIRE_INTERVAL = 3600.0
_EXPIRE_BATCH = 1000

_encode_json = json.JSONEncoder(
    separators=(",", ":"), check_circular=False
).encode  # made once: `json.dumps` makes it anew

Read: TypeAlias = Callable[[Database], Any]
Answer: TypeAlias = tuple["asyncio.Future[Any]", Any, BaseException | None]


@define(eq=False)  # not frozen: that costs a microsecond each
class StoreCall:
    """One call that waits for its answer: a record (or its row, or its key) to be written, or something to read."""

    future: asyncio.Future[Any]
    kind: ChangeKind | None = None
    value: Record | RecordRow | str = ""
    read: Read | None = None

    def to_change(self, kind: ChangeKind) -> Change:
        """What it asks to be written."""
        if isinstance(self.value, str):
            return Change(kind, _check_key(self.value))
        row = self.value if isinstance(self.value, RecordRow) else to_row(self.value)[0]
        return Change(kind, row.key, row)


def to_row(record: Record) -> tuple[RecordRow, dict[str, Any]]:
    """A record as a row, and the parts that belong into files."""
    plain, parts = dump(record)
    ended = time.time() if record.snapshot.status.terminal else None
    return RecordRow(
        _check_key(record.key), record.callback, record.version, ended, " ".join(parts), _encode_json(plain)
    ), parts


def _check_key(key: str) -> str:
    """Refuse here what would spoil the whole transaction it is put into."""
    try:
        key.encode()
    except UnicodeEncodeError:
        raise StoreError(f"the key {key!r} is no text that can be stored") from None
    return key


@define(eq=False)
class StoreThread:
    """Runs errands in order, from `start` until `close`; then its thread is over. `keep` is in seconds."""

    path: Path
    blobs: BlobFolder
    keep: float
    loop: asyncio.AbstractEventLoop
    ready: asyncio.Future[None] = field(init=False)
    closed: asyncio.Future[None] = field(init=False)
    _queue: SimpleQueue[list[StoreCall] | None] = field(factory=SimpleQueue, init=False)
    _waiting: list[StoreCall] = field(factory=list, init=False)
    _busy: bool = field(default=False, init=False)
    _pause: asyncio.TimerHandle | None = field(default=None, init=False)
    _expire_at: float = field(default=0.0, init=False)

    def start(self) -> None:
        """Begin: `ready` tells whether the store could be opened."""
        self.ready, self.closed = self.loop.create_future(), self.loop.create_future()
        self.ready.add_done_callback(lambda ready: ready.cancelled() or ready.exception())  # told, or nobody waits
        # a daemon: a store that nobody closed does not keep the interpreter from ending
        threading.Thread(target=self._run, name=f"aiowatermark store {self.path.name}", daemon=True).start()

    def close(self) -> None:
        """End after what is waiting; `closed` tells when."""
        self._hand_over()
        self._queue.put(None)

    def call(
        self, kind: ChangeKind | None, what: Record | RecordRow | str = "", read: Read | None = None
    ) -> asyncio.Future[Any]:
        """Have something written or read; gives where the answer will be."""
        told = self.loop.create_future()
        self._waiting.append(StoreCall(told, kind, what, read))
        if not self._busy:
            self._busy = True
            self.loop.call_soon(self._hand_over)
        elif self._pause is not None and len(self._waiting) >= _PLENTY:
            self._hand_over()
        return told

    def _hand_over(self) -> None:
        """Hand over what has gathered while the thread was busy: one hop for all of it."""
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
        errands, self._waiting = self._waiting, []
        self._busy = bool(errands)
        for start in range(0, len(errands), _MAX_BATCH):
            self._queue.put(errands[start : start + _MAX_BATCH])

    def _run(self) -> None:
        """The thread."""
        try:
            table = Database.open(self.path, _LOCK_TIMEOUT)
        except BaseException as error:  # noqa: BLE001 - whoever waits is told
            self._post([(self.ready, None, error), (self.closed, None, None)])
            return
        self._post([(self.ready, None, None)])
        self._clean_up(table)
        while errands := self._queue.get():
            self._post(self._execute(table, errands), len(errands))
            self._expire(table)
        with suppress(StoreError):
            table.close()
        self._post([(self.closed, None, None)])

    def _clean_up(self, table: Database) -> None:
        """Remove what is too old, unless somebody waits, and what a crash left."""
        while self._expire(table) and self._queue.empty():
            pass
        try:
            self.blobs.remove_strays(table.parts)
        except StoreError as error:
            log.warning("files of lost results could not be removed: %s", error)

    def _execute(self, table: Database, errands: Sequence[StoreCall]) -> list[Answer]:
        """Write, then read. An errand whose caller has gone before is left undone."""
        errands = [errand for errand in errands if not errand.future.cancelled()]
        answers = list(self._write(table, errands))
        answers += [_call_safely(errand.future, errand.read, table) for errand in errands if errand.read is not None]
        return answers

    def _write(self, table: Database, errands: Sequence[StoreCall]) -> Iterator[Answer]:
        changes: list[tuple[asyncio.Future[Any], Change]] = []
        for errand in errands:
            if errand.kind is not None:
                told, change, error = _call_safely(errand.future, errand.to_change, errand.kind)
                if error is None:
                    changes.append((told, change))
                else:
                    yield told, None, error
        if changes:
            yield from self._commit(table, changes)

    def _commit(self, table: Database, changes: Sequence[tuple[asyncio.Future[Any], Change]]) -> Iterator[Answer]:
        try:
            outcomes = table.apply([change for _, change in changes])
        except Exception as error:  # noqa: BLE001 - every caller is told
            for told, _ in changes:  # an error each: one that is raised in many tasks gathers their tracebacks
                yield told, None, StoreError(error.message if isinstance(error, StoreError) else repr(error))
            return
        for (told, change), outcome in zip(changes, outcomes, strict=True):
            yield _call_safely(told, self._remove_parts if change.kind is ChangeKind.FORGET else self.decode, outcome)

    def decode(self, data: str | None) -> Record | None:
        """What a row's data stands for."""
        if data is None:
            return None
        try:
            plain = json.loads(data)
        except ValueError:
            plain = None
        return load(plain, self.blobs.open)

    def _remove_parts(self, parts: str | None) -> None:
        self.blobs.remove((parts or "").split())

    def _expire(self, table: Database) -> bool:
        """Now and then, remove what ended long ago, a bounded number at once; says whether there is more."""
        if (now := time.monotonic()) < self._expire_at:
            return False
        self._expire_at = now + _EXPIRE_INTERVAL
        try:
            expired = table.expire(time.time() - self.keep, _EXPIRE_BATCH)
        except StoreError as error:
            log.warning("old jobs could not be removed: %s", error)
            return False
        self.blobs.remove(name for parts in expired for name in parts.split())
        if len(expired) < _EXPIRE_BATCH:
            return False
        self._expire_at = 0.0
        return True

    def _post(self, answers: Sequence[Answer], served: int = 0) -> None:
        with suppress(RuntimeError):  # a loop that was closed has nobody who waits
            self.loop.call_soon_threadsafe(self._resolve, answers, served)

    def _resolve(self, answers: Sequence[Answer], served: int) -> None:
        for told, value, error in answers:
            if told.done():
                continue
            if error is None:
                told.set_result(value)
            else:
                told.set_exception(error)
        if served:
            self.loop.call_soon(self._schedule, served)  # after those who were told: they may have more

    def _schedule(self, served: int) -> None:
        """The next batch: at once, or, where there is much to do, when a little more of it has gathered."""
        if served > _FEW and len(self._waiting) < _PLENTY:
            self._pause = self.loop.call_later(_GATHERING, self._hand_over)
        else:
            self._hand_over()


def _call_safely(told: asyncio.Future[Any], call: Callable[..., Any], *values: Any) -> Answer:
    """A call's result or its error: one errand's trouble is told to its caller only."""
    try:
        return told, call(*values), None
    except Exception as error:  # noqa: BLE001
        return told, None, error
