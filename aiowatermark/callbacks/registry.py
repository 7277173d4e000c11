"""CallbackRegistry: finds the job that a callback belongs to by the key in its URL, and wakes it.

It knows no web framework: the bridges (aiohttp.py, asgi.py) pass deliveries in, the client's engine registers handlers.

No provider signs its callbacks, so a delivery proves nothing: it only makes the client query the provider. What
protects a job is its URL, which contains an unguessable key (keys.py) and is created before the submission, because a
callback may arrive before the submission's own response. The life of a key, identified by its hash, and what a POST
to it does:

    create_url()       nothing is stored yet                       404, "unknown"
    expect(hash, f)    expected                                    f(delivery), then 200, "expected"
    release(hash)      ended; the last 10,000 are remembered       200, "late", ignored
    not known here     each client's store is asked in turn        200, "elsewhere", if one knows it; otherwise 404

Before a body is read, `look_up` decides whether the key is known. A key that is not known in this process is passed to
a client's store only if it is signed, so that made-up keys cause no query:

    secret of the receiver given    keys are signed with it, and only keys signed with it reach a store
    else, the store has a secret    keys are signed with that, and only keys signed with it reach this store
    else                            keys are signed with a secret of this process; the store is asked for any key,
                                    because replicas, and this service before its restart, have other secrets

Keys that this process expects are accepted in any case: jobs recovered from a store may have been signed with an older
secret.

Media that is lent to a provider has a key of the same form, for GET, in a table of its own: lend() and revoke().

Invariants: only hashes of keys are stored, here, in records and in Redis, so that none of them contains a usable URL.
All tables are bounded: by the jobs that wait, or by a constant. A payload is never parsed here, and at most
`body_limit` bytes of it are passed on. One delivery costs one lookup and one call of a handler, which only notes it
and sets an event.

Handlers and forwarders run on the event loop on which they were registered; deliveries may be received on any loop of
any thread. On that loop nothing awaits between the lookup and the call of a handler, so that expect() and release()
cannot come in between. After forwarding nothing is looked up again.

If forwarding fails, the response is 404, so that a provider that repeats its callbacks tries again; a lost delivery
costs the job one polling interval. A handler stays registered until the client calls release().
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Protocol, TypeAlias
from urllib.parse import quote

from attrs import field, frozen

from ..errors import Unsupported, WatermarkError
from ..media.base import Media
from ..media.memory import Link
from ..wire import Delivery
from .bodies import decode_body
from .keys import create_key, create_secret, hash_key, is_signed, is_well_formed
from .lent import LentMedia
from .observers import ResultObservers
from .throttle import ThrottledLog

log = logging.getLogger("aiowatermark")

DeliveryHandler: TypeAlias = Callable[[Delivery], object]

_MAX_ENDED_KEYS = 10_000
_MAX_CONTENT_TYPE = 200
_OTHER_LOOP_SECONDS = 10.0
"""Seconds for an answer of a client's store that must be asked on another event loop."""


class Forwarder(Protocol):
    """What a client does with deliveries for keys that this process does not expect; both may raise WatermarkError."""

    async def knows(self, key_hash: str) -> bool:
        """Whether the store knows the key with this hash."""
        ...

    async def forward(self, key_hash: str, delivery: Delivery) -> bool:
        """Pass a delivery to other processes; returns whether the key is known."""
        ...


@frozen
class _Expected:
    handler: DeliveryHandler
    loop: asyncio.AbstractEventLoop | None

    def __call__(self, delivery: Delivery) -> None:
        """Call the handler, on its own loop."""
        if self.loop is None or self.loop is _running_loop():
            self.handler(delivery)
        elif not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self.handler, delivery)


@frozen(eq=False)
class _Attached:
    """A client's forwarder, the loop it belongs to, and the secret of the client's store."""

    forwarder: Forwarder
    loop: asyncio.AbstractEventLoop | None
    secret: bytes | None

    async def run(self, call: Coroutine[Any, Any, bool]) -> bool:
        """Await a call of the forwarder on the forwarder's own loop; False if that loop does not run any more."""
        if self.loop is None or self.loop is _running_loop():
            return await call
        if self.loop.is_closed():
            call.close()
            return False
        answer = asyncio.wrap_future(asyncio.run_coroutine_threadsafe(call, self.loop))
        try:
            return await asyncio.wait_for(answer, _OTHER_LOOP_SECONDS)
        except TimeoutError:
            return False


@frozen(eq=False)
class ReceivedRequest:
    """A request to the URL of a job that is expected, as the server received it, for a recorder of callbacks."""

    method: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(default=b"", repr=False)


@frozen(eq=False)
class KnownKey:
    """A key that was looked up: its hash, and the forwarders that may pass its deliveries on."""

    key_hash: str
    forwarders: tuple[_Attached, ...] = ()


class CallbackRegistry:
    """Keys, handlers, lent media and forwarders of one receiver; several clients may share it.

    `public_url` has no slash at its end; `verify` and `body_limit` (bytes) are the receiver's; `counts` counts
    deliveries by what became of them; `observers` hear of results. `secret` signs keys, as a MAC key of 32 bytes; None
    where the receiver was given none. `on_request`, if set, is called with each request to a known key that the aiohttp
    bridge receives, whatever its method.
    """

    def __init__(self, public_url: str, *, verify: bool, body_limit: int, secret: bytes | None = None) -> None:
        self.public_url = public_url
        self.verify = verify
        self.body_limit = body_limit
        self.counts: Counter[str] = Counter()
        self.observers = ResultObservers()
        self.on_request: Callable[[ReceivedRequest], object] | None = None
        self._secret = secret
        self._own_secret = secret or create_secret()
        self._expected: dict[str, _Expected] = {}
        self._ended: dict[str, None] = {}  # a set that keeps its order, so that the oldest can be dropped
        self._served: dict[str, LentMedia] = {}
        self._attached: list[_Attached] = []
        self._counting = threading.Lock()
        self._log = ThrottledLog(log)

    @property
    def expected(self) -> int:
        """How many keys are expected."""
        return len(self._expected)

    # for the engine

    def create_url(self, store_secret: bytes | None = None) -> tuple[str, str]:
        """Create a callback URL with an unguessable key for one job; returns the URL and the hash of its key.

        `store_secret` is that of the store which keeps the job, if it has one.
        """
        key = create_key(self._secret or store_secret or self._own_secret)
        return f"{self.public_url}/{key}", hash_key(key)

    def expect(self, key_hash: str, handler: DeliveryHandler) -> None:
        """Call `handler` on this event loop with every delivery to the key with this hash."""
        self._expected[key_hash] = _Expected(handler, _running_loop())

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
        key = create_key(self._own_secret)
        self._served[hash_key(key)] = LentMedia(media)
        return Link(f"{self.public_url}/{key}/{quote(media.name)}"), hash_key(key)

    def stop_serving(self, key_hash: str) -> None:
        """Stop serving lent media."""
        self._served.pop(key_hash, None)

    def add_forwarder(self, forwarder: Forwarder, secret: bytes | None = None) -> Callable[[], None]:
        """Ask this forwarder, too, about keys that are not known here; returns a function that removes it again.

        `secret` is what the keys of the forwarder's store are signed with; None if replicas may use other secrets.
        """
        attached = _Attached(forwarder, _running_loop(), secret)
        self._attached.append(attached)
        return lambda: self._attached.remove(attached) if attached in self._attached else None

    def deliver_from_replica(self, key_hash: str, delivery: Delivery) -> None:
        """Accept a delivery that another process received and forwarded."""
        if (expected := self._expected.get(key_hash)) is not None:
            expected(delivery)
            self._count("from elsewhere", 200)

    # for the bridges

    async def receive(self, key: str, delivery: Delivery) -> int:
        """Accept a delivery and return the HTTP status to respond with.

        200 if a job waits for it or has ended, 404 for an unknown key, 413 for a body larger than `body_limit`.
        """
        known = await self.look_up(key)
        return self.refuse() if known is None else await self.deliver(known, delivery)

    async def look_up(self, key: str) -> KnownKey | None:
        """Return the key if it is known here or in a client's store; None for a stranger's."""
        if not is_well_formed(key):
            return None
        # both are computed for every key, so that the time tells nothing about either
        forwarders, key_hash = self._forwarders_for(key), hash_key(key)
        if key_hash in self._expected or key_hash in self._ended:
            return KnownKey(key_hash, forwarders)
        for attached in forwarders:
            try:
                if await attached.run(attached.forwarder.knows(key_hash)):
                    return KnownKey(key_hash, forwarders)
            except WatermarkError as error:
                self._log.log(logging.WARNING, "a callback key cannot be looked up in the store", error)
        return None

    async def deliver(self, known: KnownKey, delivery: Delivery) -> int:
        """Accept a delivery for a key that was looked up and return the HTTP status to respond with."""
        delivery = self._decode(delivery)
        if len(delivery.body) > self.body_limit:
            return self._received("too large", 413)
        if (expected := self._expected.get(known.key_hash)) is not None:
            expected(delivery)
            return self._received("expected", 200)
        if known.key_hash in self._ended:
            return self._received("late", 200)
        if await self._forward(known, delivery):
            return self._received("elsewhere", 200)
        return self.refuse()

    def refuse(self) -> int:
        """Count a delivery for an unknown key, and return the status to respond with."""
        return self._received("unknown", 404)

    def served_media(self, key: str) -> LentMedia | None:
        """Return the media lent under a key, or None."""
        return self._served.get(hash_key(key)) if is_well_formed(key) else None

    def _forwarders_for(self, key: str) -> tuple[_Attached, ...]:
        """The forwarders that may be asked for this key, see the table at the head of the module."""
        attached = tuple(self._attached)
        if self._secret is not None:
            return attached if is_signed(key, self._secret) else ()
        return tuple(each for each in attached if each.secret is None or is_signed(key, each.secret))

    def _decode(self, delivery: Delivery) -> Delivery:
        """The delivery without its content coding; one that is larger than the limit stays as it is."""
        body = delivery.body
        if len(body) <= self.body_limit:
            body = decode_body(body, delivery.content_encoding, self.body_limit)
        return Delivery(body, delivery.content_type[:_MAX_CONTENT_TYPE])

    async def _forward(self, known: KnownKey, delivery: Delivery) -> bool:
        for attached in known.forwarders:
            try:
                if await attached.run(attached.forwarder.forward(known.key_hash, delivery)):
                    return True
            except WatermarkError as error:
                self._log.log(logging.WARNING, "cannot forward a delivery to other replicas", error)
        return False

    def _received(self, outcome: str, status: int) -> int:
        self._count("received", status)
        return self._count(outcome, status)

    def _count(self, outcome: str, status: int) -> int:
        with self._counting:  # deliveries may come in several threads
            self.counts[outcome] += 1
        return status


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


class _Receiver(Protocol):
    _registry: CallbackRegistry


def registry_of(receiver: _Receiver) -> CallbackRegistry:
    """Return the registry of a CallbackReceiver; only the engine, the server and the probe use it, not applications."""
    return receiver._registry  # noqa: SLF001 - the one place that does
