"""Whether a public URL leads to a receiver of this process: one delivery, sent the long way round."""

from __future__ import annotations

import json
import secrets
from enum import StrEnum

import aiohttp
from attrs import frozen

from ..wire import Delivery
from .receiver import CallbackReceiver

_TIMEOUT = 10.0
_USER_AGENT = {"User-Agent": "aiowatermark-doctor"}


class ProbeVerdict(StrEnum):
    """How far a delivery came."""

    ARRIVED = "arrived"
    NO_NAME = "no name"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    NO_TLS = "no TLS"
    SILENT = "silent"
    BROKEN = "broken"
    REDIRECTED = "redirected"
    GATEWAY = "gateway"
    CHANGED = "changed"
    ELSEWHERE = "elsewhere"


@frozen
class ProbeResult:
    """What was found, in a sentence; `status` and `server` are those of whoever answered."""

    verdict: ProbeVerdict
    sentence: str
    status: int | None = None
    server: str = ""


async def probe_callbacks(receiver: CallbackReceiver, patience: float = _TIMEOUT) -> ProbeResult:
    """POST one delivery to a key of its own at the public URL; `patience` is in seconds. Raises nothing."""
    url, callback = receiver.create_url()
    arrived: list[Delivery] = []
    body = json.dumps({"probe": secrets.token_hex(8)}).encode()
    strangers = receiver.counts["unknown"]
    receiver.expect(callback, arrived.append)
    try:
        answer = await _post(url, body, patience)
    finally:
        receiver.release(callback)
    if isinstance(answer, ProbeResult):
        return answer
    status, server = answer
    if any(delivery.body == body for delivery in arrived):
        return _arrived_verdict(status, server)
    if receiver.counts["unknown"] > strangers:
        sentence = (
            "a request came here with another path: whatever stands before keeps the last part of the path as it is"
        )
        return ProbeResult(ProbeVerdict.CHANGED, sentence, status, server)
    return _wrong_server_verdict(status, server)


async def check_reachable(url: str, patience: float = _TIMEOUT) -> ProbeResult:
    """Whether anything answers at a URL: GET, without any key. Raises nothing."""
    answer = await _request("GET", url, None, patience)
    if isinstance(answer, ProbeResult):
        return answer
    return ProbeResult(ProbeVerdict.ARRIVED, f"it answers, with HTTP {answer[0]}", *answer)


async def _post(url: str, body: bytes, patience: float) -> tuple[int, str] | ProbeResult:
    return await _request("POST", url, body, patience)


async def _request(method: str, url: str, body: bytes | None, patience: float) -> tuple[int, str] | ProbeResult:
    """The status and the name of whoever answered, or why nobody did."""
    limits = aiohttp.ClientTimeout(total=patience)
    headers = _USER_AGENT if body is None else {**_USER_AGENT, "Content-Type": "application/json"}
    try:
        async with (
            aiohttp.ClientSession(trust_env=True, timeout=limits, cookie_jar=aiohttp.DummyCookieJar()) as session,
            session.request(method, url, data=body, headers=headers, allow_redirects=False) as answer,
        ):
            return answer.status, answer.headers.get("Server", "")[:60]
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        return _connection_verdict(error, patience)


def _connection_verdict(error: Exception, patience: float) -> ProbeResult:
    """Why nobody answered; never the error's own text, which may hold the key."""
    cause = getattr(error, "os_error", error)
    words = getattr(cause, "strerror", None)
    reason = f" ({words})" if words else ""
    match error:
        case aiohttp.ClientConnectorDNSError():
            return ProbeResult(ProbeVerdict.NO_NAME, f"the name leads nowhere{reason}: DNS knows no such host")
        case aiohttp.ClientSSLError():
            certificate = getattr(error, "certificate_error", None)
            why = getattr(certificate, "verify_message", "") or getattr(cause, "reason", "") or type(error).__name__
            return ProbeResult(ProbeVerdict.NO_TLS, f"TLS cannot be spoken with it: {why}")
        case TimeoutError():
            return ProbeResult(ProbeVerdict.SILENT, f"no answer within {patience:g} s: a firewall or a proxy holds it")
        case aiohttp.ClientConnectorError() if isinstance(cause, ConnectionRefusedError):
            return ProbeResult(ProbeVerdict.REFUSED, "the connection is refused: nothing listens there")
        case aiohttp.ClientConnectorError():
            return ProbeResult(ProbeVerdict.UNREACHABLE, f"the host cannot be reached{reason}")
        case _:
            return ProbeResult(
                ProbeVerdict.BROKEN, f"the connection broke before an answer came: {type(error).__name__}"
            )


def _arrived_verdict(status: int, server: str) -> ProbeResult:
    if status == 200:
        return ProbeResult(ProbeVerdict.ARRIVED, "exactly the delivery that was sent arrived", status, server)
    sentence = f"the delivery arrived, but whoever called is told HTTP {status}: a provider would try again"
    return ProbeResult(ProbeVerdict.CHANGED, sentence, status, server)


def _wrong_server_verdict(status: int, server: str) -> ProbeResult:
    """Something answered, and it was not this receiver."""
    who = f"{server} " if server else "something "
    if 300 <= status < 400:
        return ProbeResult(
            ProbeVerdict.REDIRECTED, f"{who}answers HTTP {status}, a redirect: providers may not follow", status, server
        )
    if status in {502, 503, 504}:
        return ProbeResult(
            ProbeVerdict.GATEWAY, f"{who}answers HTTP {status}: it cannot reach the port behind it", status, server
        )
    if status == 404:
        return ProbeResult(
            ProbeVerdict.ELSEWHERE, f"{who}answers HTTP 404, and it is not this receiver", status, server
        )
    return ProbeResult(ProbeVerdict.ELSEWHERE, f"{who}answered HTTP {status}, but nothing arrived here", status, server)
