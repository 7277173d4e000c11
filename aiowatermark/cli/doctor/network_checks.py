"""Checks beyond this machine: a provider, and the callback URL from the outside in."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

from ... import CallbackReceiver, CallbackServer, Client, InvalidInput, Provider, Unsupported, WatermarkError
from ...callbacks.probe import ProbeResult, ProbeVerdict, check_reachable, probe_callbacks
from ...redaction import is_loopback
from ...transport.url_guard import is_public
from ..batch.items import format_balance
from ..console.runner import error_text
from ..options.callbacks import CallbackOptions
from .advice import advice_for_callback, advice_for_error, advice_for_provider
from .results import CheckResult, failed, passed, remark
from .surroundings import check_clock

_AWAY = {502, 503, 504}
_PUBLIC_URL = "give the public URL of this machine, of a reverse proxy or of a tunnel that leads here"


async def check_provider(provider: Provider) -> AsyncIterator[CheckResult]:
    """Check that the provider is reachable and, by its call for credits if it has one, that it accepts the key."""
    name = provider.display_name
    probe = await check_reachable(provider.base_url)
    if probe.verdict is not ProbeVerdict.ARRIVED:
        yield failed(f"{name}: {probe.sentence}", advice_for_provider(probe.verdict, provider))
        return
    if probe.status in _AWAY:
        yield failed(f"{name}: {probe.sentence}", advice_for_provider(ProbeVerdict.BAD_GATEWAY, provider))
        return
    yield check_clock(probe.date, urlsplit(provider.base_url).hostname or "")
    try:
        async with Client(provider, trust_env=True) as client:
            yield passed(f"{name} accepts the key: {format_balance(await client.credits())}")
    except Unsupported:
        # no documented call is free of charge: only the address can be checked
        yield passed(f"{name} is reachable; only a paid job can show whether it accepts the key")
    except WatermarkError as error:
        yield failed(f"{name}: {error_text(error)}", advice_for_error(error, provider))


async def check_callbacks(callbacks: CallbackOptions, base_url: str | None) -> AsyncIterator[CheckResult]:
    """Check the way of a callback from the outside in: the URL's address, the way to this machine, the server.

    `base_url`: the provider's; the emulator's may call an address that only this machine reaches.
    """
    where = f"{callbacks.host} port {callbacks.port}"
    try:
        receiver = CallbackReceiver(callbacks.url or "http://localhost")
    except InvalidInput as error:
        yield failed(error_text(error), "correct the --callback-url")
        return
    try:
        async with CallbackServer(receiver, callbacks.host, callbacks.port) as server:
            if callbacks.url is not None:
                local = is_loopback(urlsplit(base_url or "").hostname)
                async for result in _check_address(callbacks.url, local=local):
                    yield result
                yield _url_result(await probe_callbacks(receiver), callbacks.url, where)
            yield passed(f"the callback server can listen on {callbacks.host} port {server.port}")
    except InvalidInput as error:
        yield failed(
            error_text(error), "end the program that has the port, or use another --callback-port and forward to it"
        )


async def _check_address(url: str, *, local: bool) -> AsyncIterator[CheckResult]:
    """Check that providers, who are outside, can reach the address at all; a probe from here cannot tell."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if not local and parts.scheme == "http":
        yield remark(
            f"{url} is not encrypted: the keys in callback URLs can be read on the way", "give an https:// URL"
        )
    addresses = await _resolve(host)
    if not addresses:
        return  # the probe says so
    shown = host if host in addresses else f"{host} is {', '.join(addresses[:3])}, which"
    if local or any(is_public(address) for address in addresses):
        yield passed(f"{shown} is an address that {'the emulator' if local else 'providers'} can reach")
    elif host in addresses or all(is_loopback(address) for address in addresses):
        yield failed(f"{shown} is an address that providers, who are outside, cannot reach", _PUBLIC_URL)
    else:
        yield remark(
            f"from here {shown} is not public: providers need another answer of the DNS",
            "check the public DNS entry of that host",
        )


async def _resolve(host: str) -> list[str]:
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return list(dict.fromkeys(str(info[4][0]) for info in found))


def _url_result(probe: ProbeResult, url: str, where: str) -> CheckResult:
    if probe.verdict is ProbeVerdict.ARRIVED:
        return passed(f"{url} leads to this machine: {probe.sentence} (sent from here)")
    return failed(f"{url}: {probe.sentence}", advice_for_callback(probe.verdict, url, where))
