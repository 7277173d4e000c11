"""CallbackRegistry: finds the job that a callback belongs to by the key in its URL, and wakes it.

It knows no web framework: the bridges (aiohttp.py, asgi.py) pass deliveries in, the client's engine registers handlers.

No provider signs its callbacks, so a delivery proves nothing: it only makes the client query the provider. What
protects a job is its URL, which contains an unguessable key (192 bits) and is created before the submission, because
a callback may arrive before the submission's own response. The life of a key, identified by its hash, and what a POST
to it does:

    create_url()       nothing is stored yet                       404, "unknown"
    expect(hash, f)    expected                                    f(delivery), then 200, "expected"
    release(hash)      ended; the last 10,000 are remembered       200, "late", ignored
    not known here     each client's forwarder is asked in turn    200, "elsewhere", if one expects it; otherwise 404

Media that is lent to a provider has a key of the same form, for GET, in a table of its own: lend() and revoke().

Invariants: only hashes of keys are stored, here, in records and in Redis, so that none of them contains a usable URL.
All tables are bounded: by the jobs that wait, or by a constant. A payload is never parsed here, and at most
`body_limit` bytes of it are passed on. One delivery costs one lookup and one call of a handler, which only notes it
and sets an event.

Everything runs on the clients' event loop. Nothing awaits between the lookup and the call of a handler, so that
expect() and release() cannot come in between. After forwarding nothing is looked up again.

If forwarding fails, the response is 404, so that a provider that repeats its callbacks tries again; a lost delivery
costs the job one polling interval. A handler stays registered until the client calls release().
"""

from __future__ import annotations

import hashlib
import logging
import re
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeAlias
from urllib.parse import quote

from ..errors import Unsupported, WatermarkError
from ..media.base import Media
from ..media.memory import Link
from ..wire import Delivery
from .observers import ResultObservers

log = logging.getLogger("aiowatermark")

DeliveryHandler: TypeAlias = Callable[[Delivery], object]
Forwarder: TypeAlias = Callable[[str, Delivery], Awaitable[bool]]
"""Passes the hash of a key and a delivery to other processes; returns whether one of them expects it."""

_KEY = re.compile(r"[A-Za-z0-9_-]{32}")
_KEY_BYTES = 24
_MAX_ENDED_KEYS = 10_000


def hash_key(key: str) -> str:
    """Return the hash under which a key is stored: enough to recognise the key, useless for calling it."""
    return hashlib.sha256(key.encode()).hexdigest()[:32]


class CallbackRegistry:
    """Keys, handlers, lent media and forwarders of one receiver; several clients of one event loop may share it.

    `public_url` has no slash at its end; `verify` and `body_limit` (bytes) are the receiver's; `counts` counts
    deliveries by what became of them; `observers` hear of results.
    """

    def __init__(self, public_url: str, *, verify: bool, body_limit: int) -> None:
        self.public_url = public_url
        self.verify = verify
        self.body_limit = body_limit
        self.counts: Counter[str] = Counter()
        self.observers = ResultObservers()
        self._expected: dict[str, DeliveryHandler] = {}
        self._ended: dict[str, None] = {}  # a set that keeps its order, so that the oldest can be dropped
        self._served: dict[str, Media] = {}
        self._forwarders: list[Forwarder] = []

    @property
    def expected(self) -> int:
        """How many keys are expected."""
        return len(self._expected)

    # for the engine

    def create_url(self) -> tuple[str, str]:
        """Create a callback URL with an unguessable key for one job; returns the URL and the hash of its key."""
        key = secrets.token_urlsafe(_KEY_BYTES)
        return f"{self.public_url}/{key}", hash_key(key)

    def expect(self, key_hash: str, handler: DeliveryHandler) -> None:
        """Call `handler` with every delivery to the key with this hash."""
        self._expected[key_hash] = handler

    def release(self, key_hash: str) -> None:
        """Stop waiting for this key; later deliveries are answered 200 and ignored."""
        if self._expected.pop(key_hash, None) is not None:
            self._ended[key_hash] = None
            if len(self._ended) > _MAX_ENDED_KEYS:
                del self._ended[next(iter(self._ended))]

    def serve_media(self, media: Media) -> tuple[Link, str]:
        """Make media available to a provider; returns a link to it and the hash for `revoke`.

        Raises Unsupported for media that can be read only once: a provider may download it twice.
        """
        if not media.reopenable:
            raise Unsupported(
                f"{media.name} can be read only once and cannot be served to the provider: pass a path or bytes"
            )
        key = secrets.token_urlsafe(_KEY_BYTES)
        self._served[hash_key(key)] = media
        return Link(f"{self.public_url}/{key}/{quote(media.name)}"), hash_key(key)

    def stop_serving(self, key_hash: str) -> None:
        """Stop serving lent media."""
        self._served.pop(key_hash, None)

    def add_forwarder(self, forwarder: Forwarder) -> Callable[[], None]:
        """Forward deliveries for unknown keys with this function, too; returns a function that removes it again."""
        self._forwarders.append(forwarder)
        return lambda: self._forwarders.remove(forwarder) if forwarder in self._forwarders else None

    def deliver_from_replica(self, key_hash: str, delivery: Delivery) -> None:
        """Accept a delivery that another process received and forwarded."""
        if (handler := self._expected.get(key_hash)) is not None:
            handler(delivery)
            self.counts["from elsewhere"] += 1

    # for the bridges

    async def receive(self, key: str, delivery: Delivery) -> int:
        """Accept a delivery and return the HTTP status to respond with.

        200 if a job waits for it or has ended, 404 for an unknown key, 413 for a body larger than `body_limit`.
        """
        self.counts["received"] += 1
        if not _KEY.fullmatch(key):
            return self._count("unknown", 404)
        if len(delivery.body) > self.body_limit:
            return self._count("too large", 413)
        key_hash = hash_key(key)
        if (handler := self._expected.get(key_hash)) is not None:
            handler(delivery)
            return self._count("expected", 200)
        if key_hash in self._ended:
            return self._count("late", 200)
        return self._count("elsewhere", 200) if await self._forward(key_hash, delivery) else self._count("unknown", 404)

    def served_media(self, key: str) -> Media | None:
        """Return the media lent under a key, or None."""
        return self._served.get(hash_key(key)) if _KEY.fullmatch(key) else None

    async def _forward(self, key_hash: str, delivery: Delivery) -> bool:
        for forwarder in list(self._forwarders):
            try:
                if await forwarder(key_hash, delivery):
                    return True
            except WatermarkError as error:
                log.warning("cannot forward a delivery to other replicas: %s", error)
        return False

    def _count(self, outcome: str, status: int) -> int:
        self.counts[outcome] += 1
        return status


class _Receiver(Protocol):
    _registry: CallbackRegistry


def registry_of(receiver: _Receiver) -> CallbackRegistry:
    """Return the registry of a CallbackReceiver; only the engine, the server and the probe use it, not applications."""
    return receiver._registry  # noqa: SLF001 - the one place that does
