"""Connection to Redis: sends the commands of concurrent tasks in shared pipelines, and fails fast during an outage.

`execute` queues its commands and waits. Up to SENDERS sender tasks take commands from the queue, about BATCH at a time,
and send each batch as one pipeline: one round trip for whatever was queued by then. The commands of one `execute` stay
together and in order; between two calls that overlap no order is promised.

    state         commands           probes             leaves it by
    connected     sent               sent               a pipeline that failed, or an answer that Redis cannot write
    disconnected  RedisUnavailable   sent               mark_connected(), when the heartbeat has written the backlog
    closed        StoreError         StoreError         open(); a store starts here

During an outage only probes (`probe=True`, sent by heartbeats) reach the network, so no caller waits for a server that
does not answer. Each outage is logged with one warning when it begins and one line when it ends.

Failures: a pipeline that failed because the connection broke is sent once more, because a server or proxy closes idle
connections; a timeout is not repeated. Every command is harmless when it runs twice (see scripts.py). A script that
the server has not cached (NOSCRIPT) is sent again with its text. An error reply fails only the call it belongs to;
but replies such as READONLY or OOM mean that the server cannot write at all, and count as an outage.

Cancellation: a caller may be cancelled at any time. Commands that are still queued are then dropped; commands on their
way run, and the result is discarded, so the caller must undo them if they matter (`RedisStore.open` does).
All state is used by one event loop; between two awaits nothing else runs.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from attrs import define, field, frozen

from ...errors import InvalidInput, StoreError
from ...events import AutoResetEvent
from .keys import Command
from .scripts import ALL

if TYPE_CHECKING:
    from redis.asyncio import Redis

log = logging.getLogger("aiowatermark")

SENDERS = 4
BATCH = 200
_SCHEMES = ("redis", "rediss", "unix")

# error replies of a server that can write nothing at the moment: an outage, not a mistake in the command
_CANNOT_WRITE_REPLIES = (
    "READONLY",
    "OOM",
    "OUTOFMEMORY",
    "MISCONF",
    "LOADING",
    "BUSY",
    "CLUSTERDOWN",
    "MASTERDOWN",
    "NOREPLICAS",
    "UNBLOCKED",
)
_REFUSED_REPLIES = ("NOAUTH", "WRONGPASS", "NOPERM", "AUTHENTICATION", "invalid username-password", "invalid password")


class RedisUnavailable(StoreError):
    """Redis cannot be reached, or cannot write at the moment."""


@frozen
class _PendingBatch:
    """The commands of one `execute` call and the future of their replies."""

    commands: tuple[Command, ...]
    future: asyncio.Future[list[Any]]
    probe: bool


@define(eq=False)
class Connection:
    """Runs commands on the Redis at `url`; `timeout` is in seconds, for connecting and for each reply.

    `round_trips` counts pipelines. `wakeup` is set when an outage begins; the heartbeat waits for it.
    """

    url: str = field(repr=False)
    timeout: float = 5.0
    round_trips: int = field(default=0, init=False)
    disconnected: bool = field(default=False, init=False)
    wakeup: AutoResetEvent = field(factory=AutoResetEvent, init=False, repr=False)
    _reason: str = field(default="", init=False)
    _redis: Redis | None = field(default=None, init=False, repr=False)
    _queue: deque[_PendingBatch] = field(factory=deque, init=False, repr=False)
    _senders: set[asyncio.Task[None]] = field(factory=set, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        """Raise InvalidInput for an invalid URL, without repeating it: it may hold a password."""
        try:
            parts = urlsplit(self.url)
            rest = parts.path + parts.query + parts.fragment
            # an "@" behind the host means that a special character in the password was not percent-encoded;
            # the decode_ options of redis-py would change the type of replies
            valid = parts.scheme in _SCHEMES and "@" not in rest and "decode_" not in rest and parts.port != 0
        except (ValueError, AttributeError, TypeError):
            valid = False
        if not valid:
            raise InvalidInput(
                "url must be a Redis URL: redis://host:6379/0, rediss://… or unix:///path/to/socket, "
                "with special characters in a password percent-encoded"
            )

    @property
    def address(self) -> str:
        """The URL without user, password and options, for texts."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

    async def open(self) -> None:
        """Connect and load the scripts; raises StoreError if the server cannot be reached or is not a Redis."""
        self._redis = _client(self.url, self.timeout)
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
        redis, self._redis = self._redis, None
        if redis is not None:
            await redis.aclose()
            await redis.connection_pool.disconnect()

    @property
    def redis(self) -> Redis:
        """The client of redis-py; raises StoreError while the store is closed."""
        if self._redis is None:
            raise StoreError(f"the store at {self.address} is closed: use it inside `async with`")
        return self._redis

    async def execute(self, *commands: Command, probe: bool = False) -> list[Any]:
        """Run commands in this order and return their replies.

        Raises StoreError if one of them fails, and RedisUnavailable during an outage; then only a `probe` is sent.
        """
        _ = self.redis  # raises if the store is closed
        if not commands:
            return []
        if self.disconnected and not probe:
            raise self.unavailable()
        pending = _PendingBatch(commands, asyncio.get_running_loop().create_future(), probe)
        self._queue.append(pending)
        if len(self._senders) < SENDERS:
            sender = asyncio.create_task(self._send())
            self._senders.add(sender)
            sender.add_done_callback(self._senders.discard)
        return await pending.future

    async def execute_groups(self, *groups: Sequence[Command], probe: bool = False) -> list[list[Any]]:
        """Run groups of commands in this order, in one `execute`; return a list of replies for each group."""
        replies = iter(await self.execute(*chain.from_iterable(groups), probe=probe))
        return [list(islice(replies, len(group))) for group in groups]

    def require_connected(self) -> None:
        """Raise StoreError if the store is closed, RedisUnavailable during an outage: then `execute` sends nothing."""
        _ = self.redis  # raises if the store is closed
        if self.disconnected:
            raise self.unavailable()

    def unavailable(self) -> RedisUnavailable:
        """Return the error that callers get during an outage."""
        return RedisUnavailable(
            f"Redis at {self.address} is unavailable ({self._reason}): nothing new is submitted until it answers again"
        )

    def mark_connected(self) -> None:
        """End the outage: Redis answers, and the backlog has been written."""
        if self.disconnected:
            self.disconnected = False
            log.info("Redis at %s is available again", self.address)

    def _mark_disconnected(self, error: Exception) -> None:
        self._reason = describe_error(error)
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
            try:
                replies = await self._execute_batch([command for pending in batch for command in pending.commands])
            except Exception as error:  # noqa: BLE001 - every caller of the batch gets it
                self._mark_disconnected(error)
                self._fail(batch)
            else:
                self._resolve(batch, iter(replies))

    def _next_batch(self) -> Iterator[_PendingBatch]:
        """Take whole calls from the queue until they hold BATCH commands; skip the cancelled ones."""
        room = BATCH
        while self._queue and room > 0:
            pending = self._queue.popleft()
            if self.disconnected and not pending.probe:
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
        try:
            replies = await self._round_trip(commands, with_text=False)
        except Exception as error:
            if not is_connection_error(error):
                raise
            # the pool may have given a connection that the server closed while it was idle
            replies = await self._round_trip(commands, with_text=False)
        uncached = [index for index, reply in enumerate(replies) if reply_starts_with(reply, "NOSCRIPT")]
        if uncached:
            repeated = await self._round_trip([commands[index] for index in uncached], with_text=True)
            for index, reply in zip(uncached, repeated, strict=True):
                replies[index] = reply
        return replies

    async def _round_trip(self, commands: list[Command], *, with_text: bool) -> list[Any]:
        self.round_trips += 1
        async with self.redis.pipeline(transaction=False) as pipeline:
            for command in commands:
                pipeline.execute_command(*command.encode(with_text=with_text))
            replies: list[Any] = await pipeline.execute(raise_on_error=False)
        return replies


def add_consequence(error: StoreError, consequence: str) -> StoreError:
    """Return an error of the same type that also says what the failed call leaves behind."""
    return type(error)(f"{error.message}; {consequence}")


def _client(url: str, timeout: float) -> Redis:
    """Return a redis-py client that does not retry by itself: its hidden retries would multiply the timeout."""
    try:
        from redis import asyncio as redis  # noqa: PLC0415 - an optional extra
        from redis.asyncio.retry import Retry  # noqa: PLC0415
        from redis.backoff import NoBackoff  # noqa: PLC0415
    except ModuleNotFoundError:
        raise StoreError("RedisStore needs redis-py: pip install 'aiowatermark[redis]'") from None
    try:
        pool = redis.BlockingConnectionPool.from_url(
            url,
            max_connections=SENDERS + 2,  # one for pub/sub, one spare
            timeout=2 * timeout,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            health_check_interval=15,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
        )
    except Exception:  # noqa: BLE001 - its text may hold the password
        raise InvalidInput("the options in the Redis URL are not valid for redis-py") from None
    return redis.Redis(connection_pool=pool)


def is_connection_error(error: Exception) -> bool:
    """Whether the connection broke, as opposed to a server that did not answer in time."""
    from redis import exceptions  # noqa: PLC0415 - an optional extra

    return isinstance(error, exceptions.ConnectionError | OSError) and not isinstance(error, TimeoutError)


def reply_starts_with(reply: Any, *words: str) -> bool:
    """Whether a reply is an error of one of these names, by its class in redis-py or by the text Redis sent."""
    return isinstance(reply, Exception) and any(
        type(reply).__name__.upper().startswith(word) or str(reply).startswith(word) for word in words
    )


def server_cannot_write(error: Exception) -> bool:
    """Whether an error reply is about the state of the server rather than about the command."""
    return reply_starts_with(error, *_CANNOT_WRITE_REPLIES)


def describe_error(error: Exception) -> str:
    """Return what went wrong, on one line; refused credentials are not quoted."""
    if reply_starts_with(error, *_REFUSED_REPLIES):
        return "it refuses the user or password of the URL"
    text = str(error).partition("\n")[0][:200]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
