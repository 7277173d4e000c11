"""EmulatorThread: an emulator in a thread of its own, on an event loop of its own.

Its users need no event loop, or may have any: synchronous tests, trio, one loop per test. The thread serves from
`start` to `stop`; both wait for it. What goes wrong while the emulator opens or closes is raised where `start` or
`stop` was called.

    calling thread      start ─────────── opened or failed ── … ── stop ──────────── joined
    emulator's thread     └─ asyncio.run: __aenter__ ─┘   serves     └─ __aexit__ ─┘

The thread is a daemon: a test run that is interrupted does not wait for it.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager
from threading import Thread

from attrs import define, field


@define(eq=False)
class EmulatorThread:
    """Opens a server in a new thread, and closes it there; used once."""

    served: AbstractAsyncContextManager[object]
    _opened: Future[asyncio.AbstractEventLoop] = field(factory=Future, init=False)
    _closed: Future[None] = field(factory=Future, init=False)
    _stopping: asyncio.Event = field(factory=asyncio.Event, init=False)

    def start(self) -> None:
        """Start the thread and wait until it serves; raises what opening raises."""
        Thread(target=self._run, name="aiowatermark-emulator-loop", daemon=True).start()
        self._opened.result()

    def stop(self) -> None:
        """Stop serving and wait until the thread has closed everything; raises what closing raises."""
        self._opened.result().call_soon_threadsafe(self._stopping.set)
        self._closed.result()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # noqa: BLE001 - raised in the thread that waits for it
            (self._closed if self._opened.done() else self._opened).set_exception(error)
        else:
            self._closed.set_result(None)

    async def _serve(self) -> None:
        async with self.served:
            self._opened.set_result(asyncio.get_running_loop())
            await self._stopping.wait()
