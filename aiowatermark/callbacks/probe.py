"""Probe: checks that `public_url` reaches this process, by POSTing one test delivery to it."""

from __future__ import annotations

import json
import secrets
from enum import StrEnum

import aiohttp
from attrs import frozen

from ..connection_errors import connection_problem
from ..wire import Delivery
from .receiver import CallbackReceiver
from .registry import registry_of

_TIMEOUT = 10.0
_USER_AGENT = {"User-Agent": "aiowatermark-doctor"}
_MAX_HEADER = 60


class ProbeVerdict(StrEnum):
    """What became of the test delivery."""

    ARRIVED = "arrived"
    UNKNOWN_HOST = "unknown host"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    TLS_FAILED = "TLS failed"
    TIMED_OUT = "timed out"
    DISCONNECTED = "disconnected"
    REDIRECTED = "redirected"
    BAD_GATEWAY = "bad gateway"
    CHANGED = "changed"
    WRONG_SERVER = "wrong server"
    PROXY_UNREACHABLE = "proxy unreachable"
    PROXY_REFUSED = "proxy refused"


@frozen
class ProbeResult:
    """The verdict and a sentence that explains it; HTTP status, Server and Date of the response, if there was one."""

    verdict: ProbeVerdict
    sentence: str
    status: int | None = None
    server: str = ""
    date: str = ""


async def probe_callbacks(receiver: CallbackReceiver, timeout_seconds: float = _TIMEOUT) -> ProbeResult:
    """POST one delivery with a key of its own to the receiver's public URL. Raises nothing."""
    registry = registry_of(receiver)
    url, key_hash = registry.create_url()
    arrived: list[Delivery] = []
    body = json.dumps({"probe": secrets.token_hex(8)}).encode()
    unknown_before = registry.counts["unknown"]
    registry.expect(key_hash, arrived.append)
    try:
        response = await _post(url, body, timeout_seconds)
    finally:
        registry.release(key_hash)
    if isinstance(response, ProbeResult):
        return response
    status, server, _ = response
    if any(delivery.body == body for delivery in arrived):
        return _arrived_verdict(status, server)
    if registry.counts["unknown"] > unknown_before:
        sentence = "a request came here with another path: a proxy must keep the last segment of the path unchanged"
        return ProbeResult(ProbeVerdict.CHANGED, sentence, status, server)
    return _wrong_server_verdict(status, server)


async def check_reachable(url: str, timeout_seconds: float = _TIMEOUT) -> ProbeResult:
    """Check whether anything responds at a URL, with a GET without credentials. Raises nothing."""
    response = await _request("GET", url, None, timeout_seconds)
    if isinstance(response, ProbeResult):
        return response
    return ProbeResult(ProbeVerdict.ARRIVED, f"it answers with HTTP {response[0]}", *response)


async def _post(url: str, body: bytes, timeout_seconds: float) -> tuple[int, str, str] | ProbeResult:
    return await _request("POST", url, body, timeout_seconds)


async def _request(
    method: str, url: str, body: bytes | None, timeout_seconds: float
) -> tuple[int, str, str] | ProbeResult:
    """Return the status and the headers Server and Date of the response, or the verdict if there was none."""
    timeout = aiohttp.ClientTimeout(total=timeout_seconds)
    headers = _USER_AGENT if body is None else {**_USER_AGENT, "Content-Type": "application/json"}
    try:
        async with (
            aiohttp.ClientSession(trust_env=True, timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()) as session,
            session.request(method, url, data=body, headers=headers, allow_redirects=False) as response,
        ):
            server, date = (response.headers.get(name, "")[:_MAX_HEADER] for name in ("Server", "Date"))
            return response.status, server, date
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        return _connection_verdict(error, timeout_seconds)


def _connection_verdict(error: Exception, timeout_seconds: float) -> ProbeResult:
    """Explain why there was no response; never with the error's own text, which may contain the key."""
    problem = connection_problem(error)
    match error:
        case aiohttp.ClientProxyConnectionError():
            return ProbeResult(ProbeVerdict.PROXY_UNREACHABLE, problem)
        case aiohttp.ClientHttpProxyError():
            return ProbeResult(ProbeVerdict.PROXY_REFUSED, f"the proxy answers HTTP {error.status}")
        case aiohttp.ClientConnectorDNSError():
            return ProbeResult(ProbeVerdict.UNKNOWN_HOST, problem)
        case aiohttp.ClientSSLError():
            return ProbeResult(ProbeVerdict.TLS_FAILED, problem)
        case TimeoutError():
            sentence = f"no answer within {timeout_seconds:g} s: a firewall or a proxy may hold the request back"
            return ProbeResult(ProbeVerdict.TIMED_OUT, sentence)
        case aiohttp.ClientConnectorError() if isinstance(error.os_error, ConnectionRefusedError):
            return ProbeResult(ProbeVerdict.REFUSED, "the connection is refused: nothing listens there")
        case aiohttp.ClientConnectorError():
            return ProbeResult(ProbeVerdict.UNREACHABLE, f"the host cannot be reached: {problem}")
        case _:
            return ProbeResult(ProbeVerdict.DISCONNECTED, problem)


def _arrived_verdict(status: int, server: str) -> ProbeResult:
    if status == 200:
        return ProbeResult(ProbeVerdict.ARRIVED, "exactly the delivery that was sent arrived", status, server)
    sentence = f"the delivery arrived, but the caller is told HTTP {status}: a provider would try again"
    return ProbeResult(ProbeVerdict.CHANGED, sentence, status, server)


def _wrong_server_verdict(status: int, server: str) -> ProbeResult:
    """Explain a response that did not come from this receiver."""
    name = server or "something"
    if 300 <= status < 400:
        sentence = f"{name} answers HTTP {status}, a redirect: providers may not follow it"
        return ProbeResult(ProbeVerdict.REDIRECTED, sentence, status, server)
    if status in {502, 503, 504}:
        sentence = f"{name} answers HTTP {status}: it cannot reach the port behind it"
        return ProbeResult(ProbeVerdict.BAD_GATEWAY, sentence, status, server)
    if status == 404:
        sentence = f"{name} answers HTTP 404, and it is not this receiver"
        return ProbeResult(ProbeVerdict.WRONG_SERVER, sentence, status, server)
    sentence = f"{name} answered HTTP {status}, but nothing arrived here"
    return ProbeResult(ProbeVerdict.WRONG_SERVER, sentence, status, server)
