"""Pub/sub between replicas, on one channel: a lost message only delays a reaction until the next poll or retry.

A message is one line of JSON, `[kind, sender, *arguments]`, and after the newline a body in bytes:

    kind   arguments                      body      meaning
    ring   callback hash, content type    delivery  a callback was delivered to the sender
    want   account                        -         the sender waits for a submit slot
    free   account, or nothing for all    -         the sender has returned slots
    hold   account, seconds               -         the provider demanded a pause
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any, TypeAlias

from attrs import define, field

from ...lifetimes import start_task
from .connection import Connection

log = logging.getLogger("aiowatermark")

_READ_TIMEOUT = 10.0
_FAILURES_BEFORE_WARNING = 3

MessageHandler: TypeAlias = Callable[[list[Any], bytes], object]


@define(eq=False)
class PubSub:
    """Passes each message of another replica to the handler of its kind; messages of this replica are ignored."""

    connection: Connection
    channel: str
    replica_id: str
    _handlers: dict[str, MessageHandler] = field(factory=dict, init=False)
    _task: asyncio.Task[None] | None = field(default=None, init=False)

    def encode(self, kind: str, *arguments: Any, body: bytes = b"") -> bytes:
        """Return a message as bytes; the script that changes the data also publishes it."""
        return json.dumps([kind, self.replica_id, *arguments]).encode() + b"\n" + body

    def on(self, kind: str, handler: MessageHandler) -> None:
        """Call `handler(arguments, body)` for each message of this kind; a kind has one handler."""
        self._handlers[kind] = handler

    def start(self) -> None:
        """Subscribe in a background task, if that has not been done yet."""
        if self._task is None:
            self._task = start_task(self._run())

    async def stop(self) -> None:
        """Cancel the subscription and wait for its end."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _run(self) -> None:
        """Subscribe again after every failure, with a backoff of at most a second."""
        failures = 0
        while True:
            try:
                async for message in self._messages():
                    failures = 0
                    self._dispatch(message)
            except Exception as error:  # noqa: BLE001 - subscribe again after any error
                failures += 1
                # during an outage the connection has already logged a warning
                if failures == _FAILURES_BEFORE_WARNING and not self.connection.disconnected:
                    log.warning(
                        "pub/sub between replicas failed: %s; messages of other replicas are missed until it is back",
                        type(error).__name__,
                    )
            await asyncio.sleep(min(0.05 * 2 ** min(failures, 6), 1.0) * random.uniform(0.5, 1.0))  # noqa: S311

    async def _messages(self) -> AsyncIterator[bytes]:
        # after a rewind nothing is sent before the records of this replica are written back
        self.connection.require_connected()
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
            kind, sender, *arguments = json.loads(line)
            # an unknown kind may come from a newer version on the same Redis
            if sender != self.replica_id and kind in self._handlers:
                self._handlers[kind](arguments, body)
        except Exception:
            log.exception("a message of another replica could not be processed")
