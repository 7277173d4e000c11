"""Acknowledgements: tells the store which results were taken, so that they are not given again.

One background task writes what has come together; no caller waits for it. A write that fails, or that a crash prevents,
means that the result is delivered again (`recover`), never that it is lost.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable

from attrs import define, field

from ...events import Completed
from ...jobs import Record
from ...lifetimes import start_task
from ...stores import JobStore

log = logging.getLogger("aiowatermark")

_WRITE_SECONDS = 5.0


@define(eq=False)
class Acknowledgements:
    """Acknowledgements of one client; `automatic`: a result is acknowledged when it was saved or read."""

    store: JobStore
    automatic: bool = True
    _pending: dict[str, Record] = field(factory=dict, init=False)
    _task: asyncio.Task[None] | None = field(default=None, init=False)

    def add(self, record: Record) -> Awaitable[None]:
        """Acknowledge the result of an ended job; awaiting the returned object waits until it was written."""
        if not hasattr(self.store, "acknowledge"):  # a store of one's own
            return Completed()
        self._pending[record.key] = record
        if self._task is None:
            self._task = start_task(self._write())
        return asyncio.shield(self._task)

    async def _write(self) -> None:
        await asyncio.sleep(0)  # what ends in this iteration of the loop goes together
        while self._pending:
            records, self._pending = list(self._pending.values()), {}
            try:
                async with asyncio.timeout(_WRITE_SECONDS):
                    await self.store.acknowledge(records)
            except Exception as error:  # noqa: BLE001 - a store of one's own may raise anything
                log.info("%d results were taken, but the store could not note it: %s", len(records), error)
        self._task = None

    async def close(self) -> None:
        """Wait until what was acknowledged is written."""
        if self._task is not None:
            await asyncio.shield(self._task)
