"""CallbackReceiver: what an application holds of the callbacks; the registry below it does the work."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ..errors import InvalidInput
from ..jobs import Snapshot
from ..redaction import redact_url
from ..wire import Delivery
from . import aiohttp as aiohttp_bridge
from .asgi import AsgiApp, asgi_app
from .keys import normalize_secret
from .observers import ResultHandler
from .registry import CallbackRegistry

if TYPE_CHECKING:
    from aiohttp import web


class CallbackReceiver:
    """Receives the providers' callbacks and wakes the jobs that wait for them.

    A delivery makes the client query the provider; no provider signs its callbacks. One receiver serves any number of
    clients.

    Args:
        public_url: the http or https URL under which providers reach this receiver; its bridges (`setup`, `asgi`,
            CallbackServer) respond below that.
        verify: False trusts a callback that names the job's own task id instead of querying, for an API whose query
            cannot be used.
        body_limit: bytes of a callback's body, before and after decompression; a larger one is answered 413.
        secret: what the keys in callback URLs are signed with, at least 16 bytes; the same in all processes behind the
            URL, also after a restart. Deliveries with a key that is neither expected nor signed with it are refused
            without asking the store. Without a secret, that of the store is used if it has one.

    Raises InvalidInput for a URL that is not absolute or has a query, a fragment or credentials, or a short secret.
    """

    def __init__(
        self,
        public_url: str,
        *,
        verify: bool = True,
        body_limit: int = 64 << 10,
        secret: str | bytes | None = None,
    ) -> None:
        self._registry = CallbackRegistry(
            _validate_public_url(public_url),
            verify=verify,
            body_limit=body_limit,
            secret=None if secret is None else normalize_secret(secret),
        )

    def __repr__(self) -> str:
        """Show the public URL and how many jobs wait; never a key."""
        return f"<CallbackReceiver {self.public_url} expecting {self._registry.expected}>"

    @property
    def public_url(self) -> str:
        """The URL under which providers reach this receiver, without a slash at its end."""
        return self._registry.public_url

    @public_url.setter
    def public_url(self, public_url: str) -> None:
        """Change it before the first job is submitted, for example once a server on port 0 knows its port."""
        self._registry.public_url = _validate_public_url(public_url)

    @property
    def counts(self) -> Counter[str]:
        """Deliveries by outcome: received, expected, late, unknown, elsewhere, too large, from elsewhere."""
        return self._registry.counts

    async def receive(self, key: str, delivery: Delivery) -> int:
        """Accept a delivery and return the HTTP status to respond with.

        200 if a job waits for it or has ended, 404 for an unknown key, 413 for a body larger than `body_limit`. For any
        framework: `status = await receiver.receive(key, Delivery(body, content_type))`. It may run on any event loop of
        any thread: a view of Flask or Django calls `asyncio.run(receiver.receive(key, delivery))`. Raises nothing.
        """
        return await self._registry.receive(key, delivery)

    def deliveries(self) -> AsyncIterator[Snapshot]:
        """Iterate over the final snapshots of all jobs that end from now on; `snapshot.key` names the job.

        Ends when the server or the application the receiver is mounted in shuts down. A consumer that falls 10,000
        snapshots behind loses the oldest, and the log says so.
        """
        return self._registry.observers.subscribe()

    def on_result(self, handler: ResultHandler) -> ResultHandler:
        """Run `await handler(result)` in the background for every job that ends, failed ones included. A decorator.

        `result.snapshot.status` tells how the job ended. A handler that raises is called again three times. A result
        is acknowledged when all handlers have returned; one that was not, also because the process died, is given to
        them again by `client.recover()`: they run at least once per result. Closing the client gives those that still
        run half a minute, in which they can save.
        """
        return self._registry.observers.add_handler(handler)

    def setup(self, app: web.Application, path: str = "/") -> None:
        """Add the receiver's routes to an aiohttp application below `path`; its cleanup waits for result handlers.

        Raises InvalidInput for a path that does not start with a slash.
        """
        aiohttp_bridge.setup(self._registry, app, path)

    def asgi(self) -> AsgiApp:
        """Return the receiver as an ASGI application, to be mounted in any ASGI framework.

        Its lifespan shutdown waits for result handlers. Starlette and FastAPI run no lifespan of mounted applications:
        there the closing of the clients waits for result handlers.
        """
        return asgi_app(self._registry)


def _validate_public_url(public_url: str) -> str:
    parts = urlsplit(public_url)
    if (
        parts.scheme not in {"http", "https"}
        or not parts.hostname
        or parts.query
        or parts.fragment
        or "@" in parts.netloc
    ):
        raise InvalidInput(
            "public_url must be the http or https URL under which providers reach this receiver, "
            f"like https://hooks.example.com/wm, not {redact_url(public_url)!r}"
        )
    return public_url.rstrip("/")
