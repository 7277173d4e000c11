"""Connection to Redis: sends the commands of concurrent tasks in shared pipelines, and fails fast during an outage.

`execute` queues its commands and waits. Up to SENDERS sender tasks take commands from the queue, about BATCH at a time,
and send each batch as one pipeline: one round trip for whatever was queued by then. The commands of one `execute` stay
together and in order; between two calls that overlap no order is promised.

    state         commands           probes             leaves it by
    connected     sent               sent               a pipeline that failed, an answer that Redis cannot write, or a
                                                        rewind
    disconnected  RedisUnavailable   sent               mark_connected(), when the heartbeat has written the backlog
    closed        StoreError         StoreError         open(); a store starts here

During an outage only probes (`probe=True`, sent by heartbeats) reach the network, so no caller waits for a server that
does not answer. Each outage is logged with one warning when it begins and one line when it ends.

Rewinds: before its first command, each new connection asks the server who it is (rewind/identity.py). A server that may
have forgotten writes begins a new epoch: the connection is given up, all others are closed, and the outage lasts until
the heartbeat has written this replica's records back (`rewound` until then). A pool of connections belongs to one
epoch, and a command is sent only in the epoch in which `execute` was called, so no command meant for the data before
the rewind reaches the data after it, and no reply from before is believed afterwards.

Failures: a pipeline that failed because the connection broke is sent once more, because a server or proxy closes idle
connections; a timeout is not repeated. Every command is harmless when it runs twice (see scripts.py). A script that
the server has not cached (NOSCRIPT) is sent again with its text. An error reply fails only the call it belongs to;
but replies such as READONLY or OOM mean that the server cannot write at all, and count as an outage. Those of a server
that is not a primary at the moment (READONLY, LOADING …) also close all connections, so that its address is resolved
anew.

Cancellation: a caller may be cancelled at any time. Commands that are still queued are then dropped; commands on their
way run, and the result is discarded, so the caller must undo them if they matter (`RedisStore.open` does).
All state is used by one event loop; between two awaits nothing else runs.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from attrs import define, field, frozen

from ...clock import active
from ...errors import StoreError
from ...events import AutoResetEvent
from ...lifetimes import start_task
from .keys import Command
from .rewind.epochs import EpochClients
from .rewind.identity import ServerIdentity
from .scripts import ALL
from .server.clients import ClientFactory, address_of, check_url
from .server.errors import (
    ConnectionRefused,
    describe_error,
    is_connection_error,
    is_not_primary,
    reply_starts_with,
    server_cannot_write,
)

if TYPE_CHECKING:
    from redis.asyncio import Redis

log = logging.getLogger("aiowatermark")

SENDERS = 4
BATCH = 200


class RedisUnavailable(StoreError):
    """Redis cannot be reached, or cannot write at the moment."""


@frozen
class _PendingBatch:
    """The commands of one `execute` call, the epoch in which it was called, and the future of their replies."""

    commands: tuple[Command, ...]
    future: asyncio.Future[list[Any]]
    probe: bool
    epoch: int


def _set_event() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event


@define(eq=False)
class Connection:
    """Runs commands on the Redis at `url`; `timeout` is in seconds, for connecting and for each reply.

    `round_trips` counts pipelines. `wakeup` is set when an outage begins; the heartbeat waits for it. `epoch` counts
    the rewinds; while `rewound`, the records of this replica have not been written back.
    """

    url: str = field(repr=False)
    timeout: float = 5.0
    round_trips: int = field(default=0, init=False)
    disconnected: bool = field(default=False, init=False)
    wakeup: AutoResetEvent = field(factory=AutoResetEvent, init=False, repr=False)
    rewound: bool = field(default=False, init=False)
    _reason: str = field(default="", init=False)
    _after_rewind: bool = field(default=False, init=False)
    _epochs: EpochClients = field(init=False, repr=False)
    _must_reconnect: bool = field(default=False, init=False)
    _rewind_over: asyncio.Event = field(factory=_set_event, init=False, repr=False)
    _queue: deque[_PendingBatch] = field(factory=deque, init=False, repr=False)
    _senders: set[asyncio.Task[None]] = field(factory=set, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        """Raise InvalidInput for an invalid URL, without repeating it: it may hold a password."""
        check_url(self.url)
        # one for pub/sub, one spare
        self._epochs = EpochClients(ClientFactory(self.url, self.timeout, SENDERS + 2), self._on_rewind)

    @property
    def address(self) -> str:
        """The URL without user, password and options, for texts."""
        return address_of(self.url)

    async def open(self) -> None:
        """Connect and load the scripts; raises StoreError if the server cannot be reached or is not a Redis."""
        self.rewound = self._after_rewind = False
        self._rewind_over = _set_event()  # of this event loop
        self._epochs.open()
        self.disconnected = True  # a failure is raised here, so it must not be logged as an outage
        try:
            await self.execute(*(Command("SCRIPT LOAD", (script.text,)) for script in ALL), probe=True)
        except BaseException:
            await self.close()
            raise
        self.disconnected = False

    async def close(self) -> None:
        """Wait for the replies to all commands that were queued, then disconnect."""
        if self._senders:
            await asyncio.wait(self._senders)
        await self._epochs.close()

    @property
    def epoch(self) -> int:
        """The number of times that the server may have forgotten writes, or the store was opened."""
        return self._epochs.number

    @property
    def identity(self) -> ServerIdentity:
        """The server of this epoch; raises RedisUnavailable if none was reached yet."""
        if self._epochs.identity is None:
            raise self.unavailable()
        return self._epochs.identity

    @property
    def redis(self) -> Redis:
        """The client of redis-py; raises StoreError while the store is closed."""
        if self._epochs.redis is None:
            raise StoreError(f"the store at {self.address} is closed: use it inside `async with`")
        return self._epochs.redis

    async def execute(self, *commands: Command, probe: bool = False, hold: bool = True) -> list[Any]:
        """Run commands in this order and return their replies.

        Raises StoreError if one of them fails, and RedisUnavailable during an outage; then only a `probe` is sent.
        While a rewind is dealt with, commands are held, and those it interrupted are sent again. Without `hold` they
        fail then: what was decided before a rewind may be wrong after it.
        """
        _ = self.redis  # raises if the store is closed
        if not commands:
            return []
        if probe or not hold:
            return await self._enqueue(commands, probe=probe)
        while True:
            await self.wait_connected()
            try:
                return await self._enqueue(commands, probe=False)
            except RedisUnavailable:
                if not self.holding:
                    raise

    async def _enqueue(self, commands: tuple[Command, ...], *, probe: bool) -> list[Any]:
        if self.disconnected and not probe:
            raise self.unavailable()
        pending = _PendingBatch(commands, asyncio.get_running_loop().create_future(), probe, self.epoch)
        self._queue.append(pending)
        # one that is done takes nothing from the queue any more, and is removed only when the loop comes to it
        if sum(not sender.done() for sender in self._senders) < SENDERS:
            sender = start_task(self._send())
            self._senders.add(sender)
            sender.add_done_callback(self._senders.discard)
        with active():
            return await pending.future

    async def execute_groups(
        self, *groups: Sequence[Command], probe: bool = False, hold: bool = True
    ) -> list[list[Any]]:
        """Run groups of commands in this order, in one `execute`; return a list of replies for each group."""
        replies = iter(await self.execute(*chain.from_iterable(groups), probe=probe, hold=hold))
        return [list(islice(replies, len(group))) for group in groups]

    def require_connected(self) -> None:
        """Raise StoreError if the store is closed, RedisUnavailable during an outage: then `execute` sends nothing."""
        _ = self.redis  # raises if the store is closed
        if self.disconnected:
            raise self.unavailable()

    async def wait_connected(self) -> None:
        """Wait until a rewind has been dealt with; raises as `require_connected` if Redis is unavailable besides.

        That is so if records could not be written back at the first attempt, or within `timeout`.
        """
        if self.holding:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._rewind_over.wait(), self.timeout)
        self.require_connected()

    @property
    def holding(self) -> bool:
        """Whether a rewind is being dealt with, and there is no other reason for the outage."""
        return not self._rewind_over.is_set()

    def unavailable(self) -> RedisUnavailable:
        """Return the error that callers get during an outage."""
        return RedisUnavailable(
            f"Redis at {self.address} is unavailable ({self._reason}): nothing new is submitted until it answers again"
        )

    def mark_connected(self) -> None:
        """End the outage: Redis answers, and the backlog has been written."""
        if self.disconnected and not self.rewound:
            self.disconnected = False
            note = "; it may have forgotten writes, and those of this process were repeated" * self._after_rewind
            self._after_rewind = False
            self._rewind_over.set()
            log.info("Redis at %s is available again%s", self.address, note)

    def confirm_write_back(self, epoch: int) -> None:
        """Note that the records of this replica were written back in that epoch; a later rewind needs it again."""
        self.rewound = self.rewound and epoch != self.epoch

    async def begin_rewind(self, reason: str) -> None:
        """Note that this server has lost data: nothing but probes is sent until the records are written back."""
        await self._epochs.begin(reason, self.identity)

    def _on_rewind(self, reason: str) -> None:
        only_reason = not self.disconnected or self.holding
        self.rewound = self._after_rewind = True
        self._mark_disconnected(ConnectionRefused(reason))
        if only_reason:
            self._rewind_over.clear()
        # also in the middle of an outage: the records must be written back within one lease
        self.wakeup.set()

    def _mark_disconnected(self, error: Exception) -> None:
        self._reason = describe_error(error)
        self._rewind_over.set()
        if not self.disconnected:
            self.disconnected = True
            log.warning(
                "Redis at %s is unavailable (%s): nothing new is submitted; submitted jobs continue",
                self.address,
                self._reason,
            )
            self.wakeup.set()

    async def _send(self) -> None:
        """Send batches until the queue is empty."""
        while batch := list(self._next_batch()):
            epoch = self.epoch
            try:
                replies = await self._execute_batch([command for pending in batch for command in pending.commands])
            except Exception as error:  # noqa: BLE001 - every caller of the batch gets it
                if epoch == self.epoch:
                    self._mark_disconnected(error)
                self._fail(batch)
            else:
                # replies from before a rewind are about data that may be forgotten
                self._resolve(batch, iter(replies)) if epoch == self.epoch else self._fail(batch)
            if self._must_reconnect:
                self._must_reconnect = False
                await self._epochs.disconnect()

    def _next_batch(self) -> Iterator[_PendingBatch]:
        """Take whole calls from the queue until they hold BATCH commands; skip the cancelled ones."""
        room = BATCH
        while self._queue and room > 0:
            pending = self._queue.popleft()
            if (self.disconnected and not pending.probe) or pending.epoch != self.epoch:
                self._fail([pending])
            if not pending.future.done():
                room -= len(pending.commands)
                yield pending

    def _fail(self, batch: list[_PendingBatch]) -> None:
        for pending in batch:
            if not pending.future.done():
                pending.future.set_exception(self.unavailable())

    def _resolve(self, batch: list[_PendingBatch], replies: Iterator[Any]) -> None:
        """Give each call its replies, or the first error among them."""
        for pending in batch:
            own = list(islice(replies, len(pending.commands)))
            error = next((reply for reply in own if isinstance(reply, Exception)), None)
            # checked even if the caller was cancelled: the reply is about the server
            if error is not None and server_cannot_write(error):
                self._must_reconnect = self._must_reconnect or is_not_primary(error)
                self._mark_disconnected(error)
                self._fail([pending])
            elif pending.future.done():
                continue
            elif error is None:
                pending.future.set_result(own)
            else:
                pending.future.set_exception(StoreError(f"Redis at {self.address}: {describe_error(error)}"))

    async def _execute_batch(self, commands: list[Command]) -> list[Any]:
        """Return the replies in order, an exception in place of each error reply."""
        redis = self.redis  # of this epoch, also if the commands are sent again
        try:
            replies = await self._round_trip(redis, commands, with_text=False)
        except Exception as error:
            if not is_connection_error(error):
                raise
            # the pool may have given a connection that the server closed while it was idle
            replies = await self._round_trip(redis, commands, with_text=False)
        uncached = [index for index, reply in enumerate(replies) if reply_starts_with(reply, "NOSCRIPT")]
        if uncached:
            repeated = await self._round_trip(redis, [commands[index] for index in uncached], with_text=True)
            for index, reply in zip(uncached, repeated, strict=True):
                replies[index] = reply
        return replies

    async def _round_trip(self, redis: Redis, commands: list[Command], *, with_text: bool) -> list[Any]:
        self.round_trips += 1
        async with redis.pipeline(transaction=False) as pipeline:
            for command in commands:
                pipeline.execute_command(*command.encode(with_text=with_text), **command.options)
            replies: list[Any] = await pipeline.execute(raise_on_error=False)
        return replies


def add_consequence(error: StoreError, consequence: str) -> StoreError:
    """Return an error of the same type that also says what the failed call leaves behind."""
    return type(error)(f"{error.message}; {consequence}")
