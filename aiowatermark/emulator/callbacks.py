"""Callback sender: POSTs the outcome of a task to its callback URL, early, late, repeatedly or wrongly as scripted.

No provider documents when its callbacks come or how often they are retried, so a test chooses with a `CallbackScript`.
One call of `dispatch` per task, when the job has been accepted:

    script.lost, or the task has no URL     nothing is sent
    URL not on loopback                     nothing is sent; recorded as an attempt without a status
    script.before_response                  end the processing time, wait for the work, deliver, then return: the
                                            callback arrives before the response to the submit
    otherwise                               an asyncio task: wait until done, sleep `delay`, reorder, deliver

Deliver: the body is encoded once and POSTed `copies` times, one copy after the other, so all copies are identical. A
copy is posted until it is answered 2xx, at most `1 + retries` times; the wait before attempt n + 1 is
`retry_delay * 2 ** (n - 1)` seconds. Redirects are not followed. Each POST is recorded in `attempts`.

Reorder: the first reordered callback is held back until the next reordered one has been delivered, which swaps the
two. If none comes within a second, it is delivered anyway. At most one callback is held back at any time.

Everything runs on one event loop; `_held_back` changes only between two awaits, so no lock is needed. `close` cancels
the callbacks that are still pending and waits for their asyncio tasks. A failed POST is an attempt with
`status=None` and the name of the exception, never an error of the emulator.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Literal
from urllib.parse import urlencode

import aiohttp
from attrs import define, field, frozen
from yarl import URL

from ..clock import active_until_done, idle, pause, time_limit
from ..connection_errors import connection_problem
from .backend.links import is_loopback
from .backend.tasks import EmulatedTask

Encoding = Literal["envelope", "bare", "form"]
PayloadBuilder = Callable[[EmulatedTask], Mapping[str, object]]
_TIMEOUT = aiohttp.ClientTimeout(total=60)
_CHUNKS_PER_SECOND = 20
_REORDER_TIMEOUT = 1.0


@frozen
class CallbackScript:
    """How the callbacks of a task are sent.

    `delay`: seconds after the task is done. `early`, or a negative delay: before the response to the submit.
    `copies`: how many times the same callback is sent. `lost`: send none. `reordered`: after the callback of the next
    reordered task. `encoding`: the JSON envelope with `status` and `data`, the bare data object, or a form.
    `body_bytes_per_second`: send the body at this rate. `half`: close the connection in the middle of the body.
    `retries`: how many further attempts follow when the answer is not 2xx, the first after `retry_delay` seconds,
    each later one after twice as long.
    """

    delay: float = 0.0
    early: bool = False
    copies: int = 1
    lost: bool = False
    reordered: bool = False
    encoding: Encoding = "envelope"
    body_bytes_per_second: float | None = None
    half: bool = False
    retries: int = 3
    retry_delay: float = 0.05

    @property
    def before_response(self) -> bool:
        """Whether the callback is sent before the response to the submit."""
        return self.early or self.delay < 0

    def encode(self, data: Mapping[str, object]) -> tuple[bytes, str]:
        """Return the body and its content type."""
        if self.encoding == "form":
            return urlencode(data).encode(), "application/x-www-form-urlencoded"
        value = data if self.encoding == "bare" else {"status": 200, "data": data}
        return json.dumps(value).encode(), "application/json"


@frozen
class CallbackAttempt:
    """One POST to a callback URL: the HTTP status of the answer, or None and the reason why there was none.

    `copy` and `attempt` count from 1.
    """

    provider: str
    task_id: str
    copy: int
    attempt: int
    status: int | None
    reason: str = ""


@define
class CallbackSender:
    """Sends callbacks, to loopback addresses only; `attempts` lists every POST, oldest first."""

    session: aiohttp.ClientSession
    attempts: list[CallbackAttempt] = field(factory=list)
    _running: set[asyncio.Task[None]] = field(init=False, factory=set)
    _held_back: asyncio.Event | None = field(init=False, default=None)

    async def dispatch(self, task: EmulatedTask, script: CallbackScript, build_payload: PayloadBuilder) -> None:
        """Schedule the callback of a task; one that precedes the response has been sent when this returns."""
        if script.lost or not task.callback_url:
            return
        if not is_loopback(task.callback_url):
            self._record(task, 1, 1, None, "undeliverable: the emulator calls loopback addresses only")
            return
        if not script.before_response:
            self._spawn(self._deliver_when_done(task, script, build_payload))
            return
        # the task ends now: waiting for its processing time would delay the response to the submit
        task.ready_at = task.clock()
        await task.done()
        await self._deliver(task, script, build_payload)

    async def close(self) -> None:
        """Cancel the callbacks that have not been delivered yet."""
        for running in self._running:
            running.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def _spawn(self, work: Awaitable[None]) -> None:
        running = asyncio.ensure_future(work)
        active_until_done(running)
        self._running.add(running)
        running.add_done_callback(self._running.discard)

    async def _deliver_when_done(
        self, task: EmulatedTask, script: CallbackScript, build_payload: PayloadBuilder
    ) -> None:
        await task.done()
        with idle():
            await pause(script.delay)
        if not script.reordered:
            await self._deliver(task, script, build_payload)
        elif self._held_back is None:
            await self._wait_for_next_reordered()
            await self._deliver(task, script, build_payload)
        else:
            held_back, self._held_back = self._held_back, None
            await self._deliver(task, script, build_payload)
            held_back.set()

    async def _wait_for_next_reordered(self) -> None:
        """Wait until the next reordered callback has been delivered, at most `_REORDER_TIMEOUT` seconds."""
        self._held_back = released = asyncio.Event()
        try:
            with idle():
                async with time_limit(_REORDER_TIMEOUT):
                    await released.wait()
        except TimeoutError:
            # by now another callback may have claimed this event and a third one may be held back
            self._held_back = None if self._held_back is released else self._held_back

    async def _deliver(self, task: EmulatedTask, script: CallbackScript, build_payload: PayloadBuilder) -> None:
        # once for all copies: the payload contains a signed URL, which is different each time
        body, content_type = script.encode(build_payload(task))
        for copy in range(1, script.copies + 1):
            await self._post_with_retries(task, script, copy, body, content_type)

    async def _post_with_retries(
        self, task: EmulatedTask, script: CallbackScript, copy: int, body: bytes, content_type: str
    ) -> None:
        for attempt in range(1, script.retries + 2):
            status, reason = await self._post(task, script, body, content_type)
            self._record(task, copy, attempt, status, reason)
            if status is not None and 200 <= status < 300:
                return
            if attempt <= script.retries:
                with idle():
                    await pause(script.retry_delay * 2 ** (attempt - 1))

    def _record(self, task: EmulatedTask, copy: int, attempt: int, status: int | None, reason: str) -> None:
        self.attempts.append(CallbackAttempt(task.provider, task.task_id, copy, attempt, status, reason))

    async def _post(
        self, task: EmulatedTask, script: CallbackScript, body: bytes, content_type: str
    ) -> tuple[int | None, str]:
        """Send one POST; return its status, or None and the name of the exception."""
        task.deliveries += 1
        # a generator body would be sent chunked; with a length, a body that ends early is an aborted request
        headers = {"Content-Type": content_type, "Content-Length": str(len(body))}
        try:
            async with self.session.post(
                # byte for byte as the customer gave it
                URL(task.callback_url or "", encoded=True),
                data=_body(script, body),
                headers=headers,
                # a redirect could lead away from loopback
                allow_redirects=False,
                timeout=_TIMEOUT,
            ) as response:
                return response.status, ""
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return None, connection_problem(error)


def _body(script: CallbackScript, body: bytes) -> bytes | AsyncIterator[bytes]:
    if script.half:
        return _half_body(body)
    if script.body_bytes_per_second:
        return _slow_body(body, script.body_bytes_per_second)
    return body


async def _half_body(body: bytes) -> AsyncIterator[bytes]:
    yield body[: len(body) // 2]
    # aiohttp closes the connection when the body generator raises
    raise ConnectionAbortedError("The callback script ends the body after its first half.")


async def _slow_body(body: bytes, bytes_per_second: float) -> AsyncIterator[bytes]:
    size = max(1, int(bytes_per_second / _CHUNKS_PER_SECOND))
    for start in range(0, len(body), size):
        yield body[start : start + size]
        await asyncio.sleep(size / bytes_per_second)
