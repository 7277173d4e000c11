"""Checks of what surrounds this program: the proxies that the environment names, and the clock."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from attrs import evolve

from ...connection_errors import connection_problem
from ...redaction import is_loopback
from .results import CheckResult, failed, passed, remark

_CONNECT_TIMEOUT = 5.0
_DEFAULT_PORTS = {"http": 80, "https": 443}
_SLOW_CLOCK, _WRONG_CLOCK = 30.0, 300.0
"""Seconds from which on a clock is worth a remark, and a failure."""
_BUILT = 1764547200.0
"""2025-12-01: no clock of a machine with this version is right and shows an earlier time."""
_SET_CLOCK = "set the clock, for example with `timedatectl set-ntp true`: certificates and signed links depend on it"


async def check_proxies(base_url: str | None) -> AsyncIterator[CheckResult]:
    """Say which proxy requests to a provider go through, or which ones the environment names, and try to connect."""
    proxies = {scheme: url for scheme, url in getproxies().items() if scheme in {"http", "https", "all"}}
    if not proxies:
        yield passed("no proxy is set (HTTPS_PROXY, HTTP_PROXY)")
        return
    if base_url is not None:
        parts = urlsplit(base_url)
        proxy = proxies.get(parts.scheme) or proxies.get("all")
        if proxy is None or proxy_bypass(parts.netloc):
            yield passed(f"requests to {parts.hostname} go through no proxy")
            return
        if is_loopback(parts.hostname):
            text = f"requests to {parts.hostname}, this machine, go through the proxy {_address(proxy)}"
            yield failed(text, f"set NO_PROXY={parts.hostname}")
            return
        proxies = {parts.scheme: proxy}
    for scheme, proxy in proxies.items():
        yield await _check_proxy(scheme, proxy)


async def _check_proxy(scheme: str, proxy: str) -> CheckResult:
    variable, address = f"{scheme.upper()}_PROXY", _address(proxy)
    try:
        parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
        port = parts.port or _DEFAULT_PORTS.get(parts.scheme, 80)
        async with asyncio.timeout(_CONNECT_TIMEOUT):
            _, writer = await asyncio.open_connection(parts.hostname, port)
        writer.close()
    except TimeoutError:
        return failed(f"the proxy {address} of {variable} does not answer", f"check {variable}, or unset it")
    except (OSError, ValueError) as error:
        reason = connection_problem(error) if isinstance(error, OSError) else "not a URL"
        return failed(
            f"the proxy {address} of {variable} cannot be reached: {reason}", f"check {variable}, or unset it"
        )
    return passed(f"requests go through the proxy {address} of {variable}, which accepts connections")


def _address(proxy: str) -> str:
    """Return a proxy without user, password and path."""
    return proxy.rpartition("://")[2].rpartition("@")[2].partition("/")[0]


def check_clock(date: str = "", host: str = "") -> CheckResult:
    """Compare the clock with the Date header of a server; without one, only with the time of this version."""
    return evolve(_compare_clock(time.time(), date, host), check="clock")


def _compare_clock(now: float, date: str, host: str) -> CheckResult:
    if now < _BUILT:
        return failed(f"the clock shows {datetime.fromtimestamp(now, UTC):%Y-%m-%d}, which is past", _SET_CLOCK)
    try:
        ahead = now - parsedate_to_datetime(date).timestamp()
    except ValueError:  # no date, or none that can be read
        return passed(f"the clock shows {datetime.fromtimestamp(now, UTC):%Y-%m-%d %H:%M} UTC; it was not compared")
    if abs(ahead) < _SLOW_CLOCK:
        return passed(f"the clock agrees with that of {host}")
    text = f"the clock is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} that of {host}"
    return remark(text, _SET_CLOCK) if abs(ahead) < _WRONG_CLOCK else failed(text, _SET_CLOCK)
