"""Sessions of aiohttp, each with a pool of connections of its own, so that no kind of request waits for another.

    kind         connections             kept alive     for
    queries      100                     4 s            polls and other requests to the API that cost nothing
    submissions  as many as submissions  0.5 s          paid requests
    uploads      as many as submissions  0.5 s          signed URLs to send media to
    downloads    4 for each transfer     15 s           results and links

A server or load balancer closes connections that are idle for some time. If it closes one in the moment in which a
request is written, it is unknown whether it got the request. A paid request therefore uses a connection that was idle
for less than half a second, or a new one: idle limits of a second and more leave nothing in doubt. A session of the
user's serves the API as it is; set `keepalive_timeout` of its connector likewise.

Uploads and downloads connect to permitted addresses only. Through a proxy, it is the proxy that resolves and connects:
then the addresses of hosts are not known here, and only those that are written in the URL are checked.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

import aiohttp
from attrs import Factory, field, frozen
from yarl import URL

from ...redaction import redact_url
from ..url_guard import PermanentTransferError, create_permitted_socket, is_forbidden_literal
from .proxies import Network

_QUERY_CONNECTIONS = 100
_QUERY_KEEPALIVE = 4.0
"""Below the idle time after which common servers close a connection."""
_PAID_KEEPALIVE = 0.5
_CONNECTIONS_PER_TRANSFER = 4
_READ_BUFFER_BYTES = 1 << 18
"""Bytes of a download that wait to be read; aiohttp holds twice as many before it stops reading from the socket."""
_USER_AGENT = {"User-Agent": "aiowatermark"}


@frozen(eq=False)
class HttpSession:
    """A session, and the one to use through a proxy; `options` are added to every request.

    `request(method, url, **options)` requests a URL, through the proxy that the settings of the network name for it.
    """

    direct: aiohttp.ClientSession
    proxied: aiohttp.ClientSession
    network: Network
    guarded: bool = False
    local: bool = False
    options: Mapping[str, Any] = {}
    request: Callable[..., Awaitable[aiohttp.ClientResponse]] = field(
        default=Factory(lambda self: self.choose_request(), takes_self=True), init=False, repr=False
    )

    def choose_request(self) -> Callable[..., Awaitable[aiohttp.ClientResponse]]:
        """Return the session's own method where nothing must be added or chosen."""
        return self._request if self.network.has_proxies or self.options else self.direct.request

    def _request(self, method: str, url: URL, **options: Any) -> Awaitable[aiohttp.ClientResponse]:
        proxy = self.network.proxy_for(url)
        if proxy is None:
            return self.direct.request(method, url, **self.options, **options)
        if self.guarded and is_forbidden_literal(url.host or "", local=self.local):
            raise PermanentTransferError(f"{redact_url(str(url))} has an address that is not public")
        return self.proxied.request(method, url, proxy=proxy, **self.options, **options)

    async def close(self) -> None:
        """Close both sessions."""
        try:
            await self.direct.close()
        finally:
            await self.proxied.close()


def users_session(session: aiohttp.ClientSession, network: Network) -> HttpSession:
    """A session of the user's, with what the client was told about the network on top."""
    return HttpSession(session, session, network, options={} if network.ssl is None else {"ssl": network.ssl})


def api_session(headers: Mapping[str, str], network: Network, *, paid: bool) -> HttpSession:
    """A session for requests to the API, paid ones or others."""
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            limit=0 if paid else _QUERY_CONNECTIONS,
            keepalive_timeout=_PAID_KEEPALIVE if paid else _QUERY_KEEPALIVE,
            ssl=network.tls,
        ),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers=headers,
    )
    return HttpSession(session, session, network)


def upload_session(network: Network, *, local: bool) -> HttpSession:
    """A session for signed URLs to send media to: no credentials, no cookies; permitted addresses only."""
    settings = {"limit": 0, "keepalive_timeout": _PAID_KEEPALIVE}
    return _anonymous_session(network, settings, local=local)


def download_session(transfers: int, network: Network, *, local: bool) -> HttpSession:
    """A session for links and results: no credentials, no cookies, no decompression; permitted addresses only."""
    limit = transfers * _CONNECTIONS_PER_TRANSFER
    # downloads that are too slow to keep a slot must not take all connections
    return _anonymous_session(network, {"limit": limit, "limit_per_host": limit // 2}, local=local)


def _anonymous_session(network: Network, settings: Mapping[str, Any], *, local: bool) -> HttpSession:
    direct, proxied = (
        aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=network.tls, socket_factory=factory, **settings),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            read_bufsize=_READ_BUFFER_BYTES,
            headers=_USER_AGENT,
        )
        for factory in (partial(create_permitted_socket, local=local), None)
    )
    return HttpSession(direct, proxied, network, guarded=True, local=local)
