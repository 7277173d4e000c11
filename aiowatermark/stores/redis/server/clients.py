"""Clients of redis-py for the URL of a store: one server, or the primary that Redis Sentinel names.

    redis://[[user]:password@]host[:port][/db]                       one server
    rediss://…                                                       the same over TLS
    unix://[[user]:password@]/path/to/socket[?db=0]                  the same over a Unix socket
    sentinel://[[user]:password@]host[:port],…/service_name[/db]     Sentinels, and the name of the primary they watch

Options of redis-py may follow in the query. For Sentinel, user and password are those of the Redis servers; those of
the Sentinels themselves are the options `sentinel_username` and `sentinel_password`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlencode, urlsplit

from attrs import define, field, frozen

from ....errors import InvalidInput, StoreError
from ..rewind.identity import ServerIdentity, parse_identity, parse_info
from .errors import ConnectionRefused, reply_starts_with

if TYPE_CHECKING:
    from redis.asyncio import Redis
    from redis.asyncio.sentinel import Sentinel

_SENTINEL = "sentinel"
_SCHEMES = ("redis", "rediss", "unix", _SENTINEL)
_SENTINEL_PORT = 26379
_SENTINEL_OPTIONS = {"sentinel_username": "username", "sentinel_password": "password"}
_INVALID_OPTIONS = "the options in the Redis URL are not valid for redis-py"

OnConnect = Callable[[Any], Awaitable[None]]
"""Initialises a new connection of redis-py; called before its first command."""


@frozen
class SentinelAddress:
    """What a sentinel:// URL says about the Sentinels."""

    hosts: tuple[tuple[str, int], ...]
    service: str
    database: str


def check_url(url: str) -> None:
    """Raise InvalidInput for an invalid URL, without repeating it: it may hold a password."""
    try:
        parts = urlsplit(url)
        rest = parts.path + parts.query + parts.fragment
        # an "@" behind the host means that a special character in the password was not percent-encoded;
        # the decode_ options of redis-py would change the type of replies
        valid = parts.scheme in _SCHEMES and "@" not in rest and "decode_" not in rest
        if valid and parts.scheme == _SENTINEL:
            parse_sentinel(parts)
        valid = valid and (parts.scheme == _SENTINEL or parts.port != 0)
    except (ValueError, AttributeError, TypeError):
        valid = False
    if not valid:
        raise InvalidInput(
            "url must be a Redis URL: redis://host:6379/0, rediss://…, unix:///path/to/socket or "
            "sentinel://host:26379,host2:26379/service_name/0, with special characters in a password percent-encoded"
        )


def address_of(url: str) -> str:
    """Return a URL without user, password and options, for texts."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def parse_sentinel(parts: SplitResult) -> SentinelAddress:
    """Return the Sentinels of a sentinel:// URL; raises ValueError if it names none, or no service."""
    hosts = tuple(_host_and_port(text) for text in parts.netloc.rpartition("@")[2].split(","))
    service, _, database = parts.path.removeprefix("/").partition("/")
    if not service or (database and not database.isdecimal()):
        raise ValueError("no service name, or the database is no number")
    return SentinelAddress(hosts, unquote(service), database or "0")


def _host_and_port(text: str) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    if not parts.hostname or parts.port == 0:
        raise ValueError("no host, or port 0")
    return parts.hostname, parts.port or _SENTINEL_PORT


@define(eq=False)
class ClientFactory:
    """Makes clients with a pool of connections each; `timeout` is in seconds.

    Nothing is retried inside redis-py: its hidden retries would multiply the timeout. Raises StoreError if redis-py is
    missing, and InvalidInput for options that it does not know.
    """

    url: str = field(repr=False)
    timeout: float
    max_connections: int
    _sentinel: Sentinel | None = field(default=None, init=False, repr=False)

    def create(self, on_connect: OnConnect) -> Redis:
        """Return a client whose connections are initialised by `on_connect`."""
        try:
            from redis import asyncio as redis  # noqa: PLC0415 - an optional extra
        except ModuleNotFoundError:
            raise StoreError("RedisStore needs redis-py: pip install 'aiowatermark[redis]'") from None
        options = {**self._options(), "redis_connect_func": on_connect, "health_check_interval": 15}
        try:
            if urlsplit(self.url).scheme == _SENTINEL:
                return redis.Redis(connection_pool=self._sentinel_pool(options))
            pool = redis.BlockingConnectionPool.from_url(
                self.url, max_connections=self.max_connections, timeout=2 * self.timeout, **options
            )
        except Exception:  # noqa: BLE001 - its text may hold the password
            raise InvalidInput(_INVALID_OPTIONS) from None
        return redis.Redis(connection_pool=pool)

    def _options(self) -> dict[str, Any]:
        from redis.asyncio.retry import Retry  # noqa: PLC0415 - an optional extra
        from redis.backoff import NoBackoff  # noqa: PLC0415

        timeouts = {"socket_timeout": self.timeout, "socket_connect_timeout": self.timeout}
        return {**timeouts, "retry": Retry(NoBackoff(), 0), "protocol": 2}

    def _sentinel_pool(self, options: Mapping[str, Any]) -> Any:
        """Return a pool that asks the Sentinels for the primary whenever it connects."""
        from redis.asyncio.connection import parse_url  # noqa: PLC0415 - an optional extra
        from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool  # noqa: PLC0415

        parts = urlsplit(self.url)
        address = parse_sentinel(parts)
        query = parse_qsl(parts.query)
        login = {_SENTINEL_OPTIONS[name]: value for name, value in query if name in _SENTINEL_OPTIONS}
        # redis-py knows no sentinel:// URL, but everything of it except the addresses is that of a redis:// URL
        rest = urlencode([(name, value) for name, value in query if name not in _SENTINEL_OPTIONS])
        user_info = parts.netloc.rpartition("@")[0]
        known = dict(parse_url(f"redis://{user_info}@host/{address.database}?{rest}"))
        if self._sentinel is None:
            create: Any = Sentinel  # without types in redis-py
            self._sentinel = create(list(address.hosts), sentinel_kwargs={**self._options(), **login})
        del known["host"]
        create = SentinelConnectionPool
        return create(address.service, self._sentinel, **{**options, **known})

    async def close(self) -> None:
        """Disconnect from the Sentinels."""
        sentinel, self._sentinel = self._sentinel, None
        for client in () if sentinel is None else sentinel.sentinels:
            await client.aclose()


async def read_identity(connection: Any) -> ServerIdentity:
    """Ask a server over a new connection who it is; no health check, which would be another command before it."""
    fields: dict[str, str] = {}
    try:
        for section in ("server", "replication"):
            await connection.send_command("INFO", section, check_health=False)
            fields |= parse_info(await connection.read_response())
        return parse_identity(fields)
    except Exception as error:
        if isinstance(error, ValueError) or reply_starts_with(error, "NOPERM"):
            raise ConnectionRefused(
                "it does not answer INFO, which shows whether it was restarted or replaced: the user needs +info, and "
                "there must be no proxy"
            ) from None
        raise
