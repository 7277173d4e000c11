"""The receiver: mints one key a job, and wakes whoever waits when that key is called. No framework, no network."""

from __future__ import annotations

import hashlib
import logging
import re
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import quote, urlsplit

from ..errors import InvalidInput, Unsupported, WatermarkError
from ..jobs import Snapshot
from ..media.base import Media
from ..media.memory import Link
from ..results import Result
from ..wire import Delivery
from . import aiohttp as aiohttp_door
from .asgi import AsgiApp, asgi_app
from .observers import ResultHandler, ResultObservers

if TYPE_CHECKING:
    from aiohttp import web

log = logging.getLogger("aiowatermark")

DeliveryHandler: TypeAlias = Callable[[Delivery], object]
Forwarder: TypeAlias = Callable[[str, Delivery], Awaitable[bool]]
"""Rings a key's hash in other processes; whether anybody there has it."""

_KEY = re.compile(r"[A-Za-z0-9_-]{32}")
_MAX_ENDED_KEYS = 10_000


def hash_key(key: str) -> str:
    """What is kept of a key: enough to know it again, not to use it."""
    return hashlib.sha256(key.encode()).hexdigest()[:32]


class CallbackReceiver:
    """Turns deliveries into wake-ups. `public_url` is where the provider reaches it; its doors answer below that.

    A delivery is a wake-up: the client asks the provider itself. `verify=False` believes a payload that names the
    job's own task, for an API whose query cannot be used. `body_limit` is in bytes. One receiver serves any number
    of clients of one event loop. Raises InvalidInput for a URL that is none.
    """

    def __init__(self, public_url: str, *, verify: bool = True, body_limit: int = 64 << 10) -> None:
        self.public_url = _validate_public_url(public_url)
        self.verify = verify
        self.body_limit = body_limit
        self.counts: Counter[str] = Counter()
        self.observers = ResultObservers()
        self.forwarder: Forwarder | None = None
        self._expected: dict[str, DeliveryHandler] = {}
        self._ended: dict[str, None] = {}
        self._lent: dict[str, Media] = {}

    def __repr__(self) -> str:
        """Where it is, and how many jobs it waits for."""
        return f"<CallbackReceiver {self.public_url} expecting {len(self._expected)}>"

    # what a client does with it

    def create_url(self) -> tuple[str, str]:
        """A callback URL for one job, unguessable (192 bits), and the hash by which its key is known."""
        key = secrets.token_urlsafe(24)
        return f"{self.public_url}/{key}", hash_key(key)

    def expect(self, callback: str, ring: DeliveryHandler) -> None:
        """Call `ring` with every delivery to the key of that hash."""
        self._expected[callback] = ring

    def release(self, callback: str) -> None:
        """Expect no more of a key; what still comes is late and answered politely."""
        if self._expected.pop(callback, None) is not None:
            self._ended[callback] = None
            if len(self._ended) > _MAX_ENDED_KEYS:
                del self._ended[next(iter(self._ended))]

    def lend(self, media: Media) -> tuple[Link, str]:
        """A link under which a provider can fetch media, and the hash that takes it back.

        Raises Unsupported for what can be read only once: a provider may fetch twice.
        """
        if not media.reopenable:
            raise Unsupported(
                f"{media.name} can be read only once: give a path or bytes, so that it can be lent by a link"
            )
        key = secrets.token_urlsafe(24)
        self._lent[hash_key(key)] = media
        return Link(f"{self.public_url}/{key}/{quote(media.name)}"), hash_key(key)

    def revoke(self, lent: str) -> None:
        """The link leads nowhere from now on."""
        self._lent.pop(lent, None)

    # what its doors do with it

    async def receive(self, key: str, delivery: Delivery) -> int:
        """Take a delivery; gives the HTTP status to answer with: 200, 404 for an unknown key, 413 for too much.

        Any framework: `status = await receiver.receive(key, Delivery(body, content_type))`. Raises nothing.
        """
        self.counts["received"] += 1
        if not _KEY.fullmatch(key):
            return self._count("unknown", 404)
        if len(delivery.body) > self.body_limit:
            return self._count("too large", 413)
        callback = hash_key(key)
        if (ring := self._expected.get(callback)) is not None:
            ring(delivery)
            return self._count("expected", 200)
        if callback in self._ended:
            return self._count("late", 200)
        return self._count("elsewhere", 200) if await self._deliver(callback, delivery) else self._count("unknown", 404)

    async def _deliver(self, callback: str, delivery: Delivery) -> bool:
        try:
            return self.forwarder is not None and await self.forwarder(callback, delivery)
        except WatermarkError as error:
            log.warning("a delivery cannot be passed on to other replicas: %s", error)
            return False

    def deliver_from_replica(self, callback: str, delivery: Delivery) -> None:
        """Another process got a delivery: wake whoever waits for it here."""
        if (ring := self._expected.get(callback)) is not None:
            ring(delivery)
            self.counts["from elsewhere"] += 1

    def lent_media(self, key: str) -> Media | None:
        """The media lent under a key."""
        return self._lent.get(hash_key(key)) if _KEY.fullmatch(key) else None

    def _count(self, what: str, status: int) -> int:
        self.counts[what] += 1
        return status

    # what a workflow does with it

    def deliveries(self) -> AsyncIterator[Snapshot]:
        """The terminal snapshot of every job that ends from now on, `snapshot.key` naming it; ends with the server."""
        return self.observers.subscribe()

    def on_result(self, handler: ResultHandler) -> ResultHandler:
        """Have `handler(result)` run in the background for every job that ends, failed ones too. A decorator.

        Look at `result.snapshot.status`. Handlers are drained at exit; what they raise is logged.
        """
        return self.observers.add_handler(handler)

    def notify_result(self, result: Result) -> None:
        """A job has ended: tell the audience."""
        self.observers.notify(result)

    def setup(self, app: web.Application, path: str = "/") -> None:
        """Mount it in an aiohttp application: its routes below `path`, its lifetime with the application's."""
        aiohttp_door.setup(self, app, path)

    def asgi(self) -> AsgiApp:
        """It as a plain ASGI application, to be mounted in any framework that speaks ASGI."""
        return asgi_app(self)


def _validate_public_url(public_url: str) -> str:
    parts = urlsplit(public_url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment or parts.username:
        raise InvalidInput(
            f"public_url is where providers reach this receiver, like https://hooks.example.com/wm, not {public_url!r}"
        )
    return public_url.rstrip("/")
