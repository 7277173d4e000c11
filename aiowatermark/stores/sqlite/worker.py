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
from ..blobs import Outputs
from ..records.dump import dump, load
from .database import Change, Kind, Row, Table

log = logging.getLogger("aiowatermark")

_PATIENCE = 30.0
_AT_ONCE = 512
# a busy store gathers for a moment: each hop to its thread costs more than a row
_FEW, _PLENTY, _GATHERING = 8, 128, 0.02
_TIDY = 3600.0
_EXPIRED = 1000

_text = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode  # made once: `json.dumps` makes it anew

Read: TypeAlias = Callable[[Table], Any]
Answer: TypeAlias = tuple["asyncio.Future[Any]", Any, BaseException | None]


@define(eq=False)  # not frozen: that costs a microsecond each
class Errand:
    """One call that waits for its answer: a record (or its row, or its key) to be written, or something to read."""

    told: asyncio.Future[Any]
    kind: Kind | None = None
    what: Record | Row | str = ""
    read: Read | None = None

    def change(self, kind: Kind) -> Change:
        """What it asks to be written."""
        if isinstance(self.what, str):
            return Change(kind, _storable(self.what))
        row = self.what if isinstance(self.what, Row) else written(self.what)[0]
        return Change(kind, row.key, row)


def written(record: Record) -> tuple[Row, dict[str, Any]]:
    """A record as a row, and the parts that belong into files."""
    plain, parts = dump(record)
    ended = time.time() if record.snapshot.status.terminal else None
    return Row(_storable(record.key), record.callback, record.version, ended, " ".join(parts), _text(plain)), parts


def _storable(key: str) -> str:
    """Refuse here what would spoil the whole transaction it is put into."""
    try:
        key.encode()
    except UnicodeEncodeError:
        msg = f"the key {key!r} is no text that can be stored"
        raise StoreError(msg) from None
    return key


@define(eq=False)
class Clerk:
    """Runs errands in order, from `start` until `close`; then its thread is over. `keep` is in seconds."""

    path: Path
    outputs: Outputs
    keep: float
    loop: asyncio.AbstractEventLoop
    ready: asyncio.Future[None] = field(init=False)
    closed: asyncio.Future[None] = field(init=False)
    _queue: SimpleQueue[list[Errand] | None] = field(factory=SimpleQueue, init=False)
    _waiting: list[Errand] = field(factory=list, init=False)
    _busy: bool = field(default=False, init=False)
    _pause: asyncio.TimerHandle | None = field(default=None, init=False)
    _tidy_at: float = field(default=0.0, init=False)

    def start(self) -> None:
        """Begin: `ready` tells whether the store could be opened."""
        self.ready, self.closed = self.loop.create_future(), self.loop.create_future()
        self.ready.add_done_callback(lambda ready: ready.cancelled() or ready.exception())  # told, or nobody waits
        # a daemon: a store that nobody closed does not keep the interpreter from ending
        threading.Thread(target=self._run, name=f"aiowatermark store {self.path.name}", daemon=True).start()

    def close(self) -> None:
        """End after what is waiting; `closed` tells when."""
        self._send()
        self._queue.put(None)

    def ask(self, kind: Kind | None, what: Record | Row | str = "", read: Read | None = None) -> asyncio.Future[Any]:
        """Have something written or read; gives where the answer will be."""
        told = self.loop.create_future()
        self._waiting.append(Errand(told, kind, what, read))
        if not self._busy:
            self._busy = True
            self.loop.call_soon(self._send)
        elif self._pause is not None and len(self._waiting) >= _PLENTY:
            self._send()
        return told

    def _send(self) -> None:
        """Hand over what has gathered while the thread was busy: one hop for all of it."""
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
        errands, self._waiting = self._waiting, []
        self._busy = bool(errands)
        for start in range(0, len(errands), _AT_ONCE):
            self._queue.put(errands[start : start + _AT_ONCE])

    def _run(self) -> None:
        """The thread."""
        try:
            table = Table.opened(self.path, _PATIENCE)
        except BaseException as error:  # noqa: BLE001 - whoever waits is told
            self._say([(self.ready, None, error), (self.closed, None, None)])
            return
        self._say([(self.ready, None, None)])
        self._begin(table)
        while errands := self._queue.get():
            self._say(self._served(table, errands), len(errands))
            self._tidy(table)
        with suppress(StoreError):
            table.close()
        self._say([(self.closed, None, None)])

    def _begin(self, table: Table) -> None:
        """Remove what is too old, unless somebody waits, and what a crash left."""
        while self._tidy(table) and self._queue.empty():
            pass
        try:
            self.outputs.sweep(table.parts)
        except StoreError as error:
            log.warning("files of lost results could not be removed: %s", error)

    def _served(self, table: Table, errands: Sequence[Errand]) -> list[Answer]:
        """Write, then read. An errand whose caller has gone before is left undone."""
        errands = [errand for errand in errands if not errand.told.cancelled()]
        answers = list(self._written(table, errands))
        answers += [_answer(errand.told, errand.read, table) for errand in errands if errand.read is not None]
        return answers

    def _written(self, table: Table, errands: Sequence[Errand]) -> Iterator[Answer]:
        changes: list[tuple[asyncio.Future[Any], Change]] = []
        for errand in errands:
            if errand.kind is not None:
                told, change, error = _answer(errand.told, errand.change, errand.kind)
                if error is None:
                    changes.append((told, change))
                else:
                    yield told, None, error
        if changes:
            yield from self._committed(table, changes)

    def _committed(self, table: Table, changes: Sequence[tuple[asyncio.Future[Any], Change]]) -> Iterator[Answer]:
        try:
            outcomes = table.change([change for _, change in changes])
        except Exception as error:  # noqa: BLE001 - every caller is told
            for told, _ in changes:  # an error each: one that is raised in many tasks gathers their tracebacks
                yield told, None, StoreError(error.message if isinstance(error, StoreError) else repr(error))
            return
        for (told, change), outcome in zip(changes, outcomes, strict=True):
            yield _answer(told, self._forgotten if change.kind is Kind.FORGET else self.record, outcome)

    def record(self, data: str | None) -> Record | None:
        """What a row's data stands for."""
        if data is None:
            return None
        try:
            plain = json.loads(data)
        except ValueError:
            plain = None
        return load(plain, self.outputs.part)

    def _forgotten(self, parts: str | None) -> None:
        self.outputs.remove((parts or "").split())

    def _tidy(self, table: Table) -> bool:
        """Now and then, remove what ended long ago, a bounded number at once; says whether there is more."""
        if (now := time.monotonic()) < self._tidy_at:
            return False
        self._tidy_at = now + _TIDY
        try:
            expired = table.expire(time.time() - self.keep, _EXPIRED)
        except StoreError as error:
            log.warning("old jobs could not be removed: %s", error)
            return False
        self.outputs.remove(name for parts in expired for name in parts.split())
        if len(expired) < _EXPIRED:
            return False
        self._tidy_at = 0.0
        return True

    def _say(self, answers: Sequence[Answer], served: int = 0) -> None:
        with suppress(RuntimeError):  # a loop that was closed has nobody who waits
            self.loop.call_soon_threadsafe(self._tell, answers, served)

    def _tell(self, answers: Sequence[Answer], served: int) -> None:
        for told, value, error in answers:
            if told.done():
                continue
            if error is None:
                told.set_result(value)
            else:
                told.set_exception(error)
        if served:
            self.loop.call_soon(self._go_on, served)  # after those who were told: they may have more

    def _go_on(self, served: int) -> None:
        """The next batch: at once, or, where there is much to do, when a little more of it has gathered."""
        if served > _FEW and len(self._waiting) < _PLENTY:
            self._pause = self.loop.call_later(_GATHERING, self._send)
        else:
            self._send()


def _answer(told: asyncio.Future[Any], call: Callable[..., Any], *values: Any) -> Answer:
    """A call's result or its error: one errand's trouble is told to its caller only."""
    try:
        return told, call(*values), None
    except Exception as error:  # noqa: BLE001
        return told, None, error
