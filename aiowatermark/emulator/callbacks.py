"""Callbacks to customers: what is POSTed when a job is done, and the scripts by which it comes early, late or wrong."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Literal
from urllib.parse import urlencode

import aiohttp
from attrs import define, field, frozen
from yarl import URL

from .backend.links import is_loopback
from .backend.tasks import EmulatedTask

Encoding = Literal["envelope", "bare", "form"]
Describe = Callable[[EmulatedTask], Mapping[str, object]]
_TIMEOUT = aiohttp.ClientTimeout(total=60)
_PAUSES = 20
_REORDER_TIMEOUT = 1.0


@frozen
class CallbackScript:
    """How the callbacks of a job come.

    `delay`: seconds after the job is done. `early`, or a negative delay: before the submit's own answer. `copies`: so
    many POSTs of the same. `lost`: none. `reordered`: after the callback of the next reordered job. `encoding`: the
    JSON envelope with `status` and `data`, the bare data object, or a form. `body_bytes_per_second`: a body that
    drips. `half`: the connection ends in the middle of the body. `retries`: how often it is tried again when the
    answer is not 2xx, after `retry_delay` seconds and then twice as many each time.
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
    def overtakes(self) -> bool:
        """Whether it comes before the submit's own answer."""
        return self.early or self.delay < 0

    def encode(self, data: Mapping[str, object]) -> tuple[bytes, str]:
        """The body and its content type."""
        if self.encoding == "form":
            return urlencode(data).encode(), "application/x-www-form-urlencoded"
        value = data if self.encoding == "bare" else {"status": 200, "data": data}
        return json.dumps(value).encode(), "application/json"


@frozen
class CallbackAttempt:
    """One POST to a customer: the status of the answer, or None with the reason why there was none."""

    provider: str
    task_id: str
    copy: int
    attempt: int
    status: int | None
    reason: str = ""


@define
class CallbackSender:
    """Brings callbacks to loopback addresses, in tasks of its own that end with it."""

    session: aiohttp.ClientSession
    attempts: list[CallbackAttempt] = field(factory=list)
    _running: set[asyncio.Task[None]] = field(init=False, factory=set)
    _held: asyncio.Event | None = field(init=False, default=None)

    async def dispatch(self, task: EmulatedTask, script: CallbackScript, describe: Describe) -> None:
        """See to it that the callback comes; one that overtakes the answer has come when this returns."""
        if script.lost or not task.callback_url:
            return
        if not is_loopback(task.callback_url):
            self._log_attempt(task, 1, 1, None, "undeliverable: the emulator calls loopback addresses only")
            return
        if not script.overtakes:
            self._spawn(self._after(task, script, describe))
            return
        task.ready_at = task.clock()
        await task.done()
        await self._deliver(task, script, describe)

    async def close(self) -> None:
        """End everything that has not been delivered."""
        for running in self._running:
            running.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def _spawn(self, work: Awaitable[None]) -> None:
        running = asyncio.ensure_future(work)
        self._running.add(running)
        running.add_done_callback(self._running.discard)

    async def _after(self, task: EmulatedTask, script: CallbackScript, describe: Describe) -> None:
        await task.done()
        await asyncio.sleep(script.delay)
        if not script.reordered:
            await self._deliver(task, script, describe)
        elif self._held is None:
            await self._reorder()
            await self._deliver(task, script, describe)
        else:
            held, self._held = self._held, None
            await self._deliver(task, script, describe)
            held.set()

    async def _reorder(self) -> None:
        """Wait for another reordered callback to go first, or for a second when none comes."""
        self._held = held = asyncio.Event()
        try:
            await asyncio.wait_for(held.wait(), _REORDER_TIMEOUT)
        except TimeoutError:
            self._held = None if self._held is held else self._held

    async def _deliver(self, task: EmulatedTask, script: CallbackScript, describe: Describe) -> None:
        body, kind = script.encode(describe(task))
        for copy in range(1, script.copies + 1):
            await self._retry(task, script, copy, body, kind)

    async def _retry(self, task: EmulatedTask, script: CallbackScript, copy: int, body: bytes, kind: str) -> None:
        """One copy, until it is taken or the retries are used up."""
        for attempt in range(1, script.retries + 2):
            status, reason = await self._post(task, script, body, kind)
            self._log_attempt(task, copy, attempt, status, reason)
            if status is not None and 200 <= status < 300:
                return
            if attempt <= script.retries:
                await asyncio.sleep(script.retry_delay * 2 ** (attempt - 1))

    def _log_attempt(self, task: EmulatedTask, copy: int, attempt: int, status: int | None, reason: str) -> None:
        self.attempts.append(CallbackAttempt(task.provider, task.task_id, copy, attempt, status, reason))

    async def _post(self, task: EmulatedTask, script: CallbackScript, body: bytes, kind: str) -> tuple[int | None, str]:
        task.deliveries += 1
        headers = {"Content-Type": kind, "Content-Length": str(len(body))}
        try:
            async with self.session.post(
                URL(task.callback_url or "", encoded=True),
                data=_body(script, body),
                headers=headers,
                allow_redirects=False,
                timeout=_TIMEOUT,
            ) as response:
                return response.status, ""
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return None, type(error).__name__


def _body(script: CallbackScript, body: bytes) -> bytes | AsyncIterator[bytes]:
    if script.half:
        return _half(body)
    if script.body_bytes_per_second:
        return _slow_body(body, script.body_bytes_per_second)
    return body


async def _half(body: bytes) -> AsyncIterator[bytes]:
    yield body[: len(body) // 2]
    raise ConnectionAbortedError("the other half is kept back")


async def _slow_body(body: bytes, pace: float) -> AsyncIterator[bytes]:
    size = max(1, int(pace / _PAUSES))
    for at in range(0, len(body), size):
        yield body[at : at + size]
        await asyncio.sleep(size / pace)
