"""The way to Redis: what many ask at once travels as one; a lost server is said once and asked for until it is back."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterator
from itertools import islice
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


@frozen
class _PendingBatch:
    commands: tuple[Command, ...]
    answer: asyncio.Future[list[Any]]
    probe: bool


@define(eq=False)
class Connection:
    """Asks Redis; whoever asks may be cancelled. `trips` counts round trips; `bell` rings when Redis is lost.

    A call that fails for want of a connection is sent once more, which no call minds. `timeout` is in seconds.
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
        """Refuse what is no address, without repeating it."""
        try:
            parts = urlsplit(self.url)
            behind = parts.path + parts.query + parts.fragment
            fit = parts.scheme in _SCHEMES and "@" not in behind and "decode_" not in behind and parts.port != 0
        except (ValueError, AttributeError, TypeError):
            fit = False
        if not fit:
            raise InvalidInput(
                "url is Redis's address: redis://host:6379/0, rediss://… or unix:///path/to/socket; "
                "what is special in a password is percent-encoded"
            )

    @property
    def address(self) -> str:
        """Where Redis is, fit for texts."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

    async def open(self) -> None:
        """Connect, and teach the scripts; raises StoreError where Redis cannot be reached or is none."""
        self._redis = _client(self.url, self.timeout)
        self.disconnected = True  # whoever opens is told by the error: nothing for the log yet
        try:
            await self.execute(*(Command("SCRIPT LOAD", (script.text,)) for script in ALL), probe=True)
        except BaseException:
            await self.close()
            raise
        self.disconnected = False

    async def close(self) -> None:
        """Let what was asked be answered, and hang up."""
        if self._senders:
            await asyncio.wait(self._senders)
        redis, self._redis = self._redis, None
        if redis is not None:
            await redis.aclose()
            await redis.connection_pool.disconnect()

    @property
    def redis(self) -> Redis:
        """The client; raises StoreError while the store is closed."""
        if self._redis is None:
            raise StoreError(f"the store at {self.address} is closed: use it inside `async with`")
        return self._redis

    async def execute(self, *calls: Command, probe: bool = False) -> list[Any]:
        """The answers to calls that are made in this order; raises StoreError where one of them fails.

        While Redis is lost nobody waits for it: only a `probe` is sent.
        """
        _ = self.redis
        if not calls:
            return []
        if self.disconnected and not probe:
            raise self.unavailable()
        asked = _PendingBatch(calls, asyncio.get_running_loop().create_future(), probe)
        self._queue.append(asked)
        if len(self._senders) < SENDERS:
            sender = asyncio.create_task(self._send())
            self._senders.add(sender)
            sender.add_done_callback(self._senders.discard)
        return await asked.answer

    def unavailable(self) -> RedisUnavailable:
        """What is raised while Redis is lost."""
        return RedisUnavailable(
            f"Redis at {self.address} is out of reach ({self._reason}): nothing new is begun until it is back"
        )

    def mark_connected(self) -> None:
        """Redis answers again, and has been told what it missed."""
        if self.disconnected:
            self.disconnected = False
            log.info("Redis at %s is back", self.address)

    def _mark_disconnected(self, error: Exception) -> None:
        self._reason = describe_error(error)
        if not self.disconnected:
            self.disconnected = True
            log.warning(
                "Redis at %s is lost (%s): nothing new is begun; jobs under way go on", self.address, self._reason
            )
            self.wakeup.set()

    async def _send(self) -> None:
        while batch := list(self._next_batch()):
            try:
                answers = await self._execute_batch([call for asked in batch for call in asked.commands])
            except Exception as error:  # noqa: BLE001 - whatever it is, those who asked are told
                self._mark_disconnected(error)
                self._fail(batch)
            else:
                self._resolve(batch, iter(answers))

    def _next_batch(self) -> Iterator[_PendingBatch]:
        room = BATCH
        while self._queue and room > 0:
            asked = self._queue.popleft()
            if self.disconnected and not asked.probe:
                self._fail([asked])
            if not asked.answer.done():
                room -= len(asked.commands)
                yield asked

    def _fail(self, batch: list[_PendingBatch]) -> None:
        for asked in batch:
            if not asked.answer.done():
                asked.answer.set_exception(self.unavailable())

    def _resolve(self, batch: list[_PendingBatch], answers: Iterator[Any]) -> None:
        for asked in batch:
            mine = list(islice(answers, len(asked.commands)))
            problem = next((answer for answer in mine if isinstance(answer, Exception)), None)
            if problem is not None and server_cannot_write(problem):
                self._mark_disconnected(problem)
                self._fail([asked])
            elif asked.answer.done():
                continue
            elif problem is None:
                asked.answer.set_result(mine)
            else:
                asked.answer.set_exception(StoreError(f"Redis at {self.address}: {describe_error(problem)}"))

    async def _execute_batch(self, calls: list[Command]) -> list[Any]:
        """The answers in their order; an error stands where its answer would."""
        try:
            answers = await self._round_trip(calls, whole=False)
        except Exception as error:
            if not is_connection_error(error):
                raise
            answers = await self._round_trip(calls, whole=False)  # a connection that was closed while it idled
        strange = [at for at, answer in enumerate(answers) if reply_starts_with(answer, "NOSCRIPT")]
        if strange:
            learned = await self._round_trip([calls[at] for at in strange], whole=True)
            for at, answer in zip(strange, learned, strict=True):
                answers[at] = answer
        return answers

    async def _round_trip(self, calls: list[Command], *, whole: bool) -> list[Any]:
        self.round_trips += 1
        async with self.redis.pipeline(transaction=False) as pipeline:
            for call in calls:
                pipeline.execute_command(*call.encode(whole=whole))
            answers: list[Any] = await pipeline.execute(raise_on_error=False)
        return answers


def _client(url: str, timeout: float) -> Redis:
    """A client that neither retries nor waits by itself."""
    try:
        from redis import asyncio as redis  # noqa: PLC0415 - an optional extra
        from redis.asyncio.retry import Retry  # noqa: PLC0415
        from redis.backoff import NoBackoff  # noqa: PLC0415
    except ModuleNotFoundError:
        raise StoreError("RedisStore needs redis-py: pip install 'aiowatermark[redis]'") from None
    try:
        pool = redis.BlockingConnectionPool.from_url(
            url,
            max_connections=SENDERS + 2,
            timeout=2 * timeout,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            health_check_interval=15,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
        )
    except Exception:  # noqa: BLE001 - its text may hold the password
        raise InvalidInput("Redis's address has options that redis-py does not know") from None
    return redis.Redis(connection_pool=pool)


# what a server says that can write nothing at the moment: as good as gone
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
    """Nothing can be written at the moment, whatever it is."""


def is_connection_error(error: Exception) -> bool:
    """Whether a connection broke, as opposed to a server that does not answer."""
    from redis import exceptions  # noqa: PLC0415 - an optional extra

    return isinstance(error, exceptions.ConnectionError | OSError) and not isinstance(error, TimeoutError)


def reply_starts_with(answer: Any, *words: str) -> bool:
    """Whether it is an error of that name: redis-py's or Redis's own."""
    return isinstance(answer, Exception) and any(
        type(answer).__name__.upper().startswith(word) or str(answer).startswith(word) for word in words
    )


def server_cannot_write(error: Exception) -> bool:
    """Whether an answer says something about the server rather than about the call."""
    return reply_starts_with(error, *_CANNOT_WRITE_REPLIES)


def describe_error(error: Exception) -> str:
    """What went wrong, in a line."""
    if reply_starts_with(error, *_REFUSED_REPLIES):
        return "it refuses the user or password of the URL"
    text = str(error).partition("\n")[0][:200]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
