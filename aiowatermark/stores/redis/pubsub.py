"""What replicas tell each other at once: one channel, one subscription a replica; what is missed costs a moment."""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

from attrs import define, field

from .connection import Connection

log = logging.getLogger("aiowatermark")

_READ_TIMEOUT = 10.0
_FAILURES_BEFORE_WARNING = 3


@define(eq=False)
class PubSub:
    """Hears what other replicas say: `heard[kind](*words, body)`; its own words are not repeated to it."""

    connection: Connection
    channel: str
    replica_id: str
    handlers: dict[str, Callable[[list[Any], bytes], object]] = field(factory=dict, init=False)
    _task: asyncio.Task[None] | None = field(default=None, init=False)

    def encode(self, kind: str, *words: Any, body: bytes = b"") -> bytes:
        """A message, as it travels: a line of JSON, and bytes."""
        return json.dumps([kind, self.replica_id, *words]).encode() + b"\n" + body

    def start(self) -> None:
        """Begin to listen; once is enough."""
        if self._task is None:
            self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Listen no more."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _run(self) -> None:
        failed = 0
        while True:
            try:
                async for message in self._messages():
                    failed = 0
                    self._dispatch(message)
            except Exception as error:  # noqa: BLE001 - listening goes on, whatever happened
                failed += 1
                if failed == _FAILURES_BEFORE_WARNING and not self.connection.disconnected:
                    log.warning("no news between replicas: %s; they hear of each other later", type(error).__name__)
            await asyncio.sleep(min(0.05 * 2 ** min(failed, 6), 1.0) * random.uniform(0.5, 1.0))  # noqa: S311

    async def _messages(self) -> AsyncIterator[bytes]:
        pubsub = self.connection.redis.pubsub(ignore_subscribe_messages=True)
        try:
            await pubsub.subscribe(self.channel)
            while True:
                message = await pubsub.get_message(timeout=_READ_TIMEOUT)
                if message is not None:
                    yield message["data"]
        finally:
            await pubsub.aclose()  # type: ignore[no-untyped-call]

    def _dispatch(self, message: bytes) -> None:
        try:
            line, _, body = message.partition(b"\n")
            kind, sender, *words = json.loads(line)
            if sender != self.replica_id and kind in self.handlers:
                self.handlers[kind](words, body)
        except Exception:
            log.exception("news from another replica could not be taken")
