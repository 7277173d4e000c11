"""Network: the proxy and the TLS settings of a client, for the API, uploads and results alike."""

from __future__ import annotations

import ssl as tls
from collections.abc import Mapping
from typing import Any
from urllib.request import getproxies, proxy_bypass

import aiohttp
from attrs import Factory, field, frozen
from yarl import URL

from ...errors import InvalidInput

_SCHEMES = {"http", "https"}


def _to_proxy(proxy: str | URL | None) -> URL | None:
    """Return the URL of a proxy; raises InvalidInput, without its password, for what is none."""
    if proxy is None:
        return None
    try:
        url = URL(proxy)
    except (TypeError, ValueError):
        url = URL()
    if url.scheme not in _SCHEMES or not url.host:
        raise InvalidInput("proxy must be an http:// or https:// URL, such as http://proxy.example.com:3128")
    return url


def _validate_tls(_: object, __: object, value: Any) -> None:
    if value is not None and not isinstance(value, bool | tls.SSLContext | aiohttp.Fingerprint):
        raise InvalidInput(f"ssl must be an ssl.SSLContext or a bool, not {type(value).__name__}")


@frozen
class Network:
    """`proxy` is used for every host; else, with `trust_env`, that of the environment (HTTP_PROXY, NO_PROXY …)."""

    trust_env: bool = False
    proxy: URL | None = field(default=None, converter=_to_proxy, repr=False)
    ssl: tls.SSLContext | aiohttp.Fingerprint | bool | None = field(default=None, validator=_validate_tls)
    _environment: Mapping[str, str] = field(
        default=Factory(lambda self: self.read_environment(), takes_self=True), init=False, repr=False
    )

    def read_environment(self) -> Mapping[str, str]:
        """Return the proxies of the environment by scheme, if they are used."""
        return getproxies() if self.trust_env and self.proxy is None else {}

    @property
    def tls(self) -> tls.SSLContext | aiohttp.Fingerprint | bool:
        """The setting as connectors want it: True checks certificates as usual."""
        return True if self.ssl is None else self.ssl

    @property
    def has_proxies(self) -> bool:
        """Whether any URL is requested through a proxy."""
        return self.proxy is not None or bool(self._environment)

    def proxy_for(self, url: URL) -> URL | None:
        """Return the proxy through which a URL is requested, None for a direct connection."""
        if self.proxy is not None or not self._environment:
            return self.proxy
        proxy = self._environment.get(url.scheme) or self._environment.get("all")
        if not proxy or proxy_bypass(url.authority):
            return None
        found = URL(proxy if "://" in proxy else f"http://{proxy}")
        return found if found.scheme in _SCHEMES else None
