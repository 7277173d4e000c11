"""Checks beyond this process: a provider, the callback server and its public URL, a store."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

from ... import (
    CallbackReceiver,
    CallbackServer,
    Client,
    InvalidInput,
    JobStore,
    Provider,
    RedisStore,
    Snapshot,
    Status,
    Unsupported,
    WatermarkError,
)
from ...callbacks.probe import ProbeResult, ProbeVerdict, check_reachable, probe_callbacks
from ...jobs import Record
from ..commands.credits import format_balance
from ..console.runner import error_text
from ..options.callbacks import CallbackOptions
from ..options.store import is_network_url, store_from
from .local_checks import CheckResult, failed, passed
from .redis_checks import check_redis_settings

_CHECK_NETWORK = "check the network between this machine and that host"
_ADVICE = {
    ProbeVerdict.UNKNOWN_HOST: "check the spelling and the DNS entry of that host name",
    ProbeVerdict.REFUSED: "start the proxy or tunnel on that host, and check the port in the URL",
    ProbeVerdict.UNREACHABLE: _CHECK_NETWORK,
    ProbeVerdict.TLS_FAILED: "check the certificate of the proxy and its chain, and that this port speaks TLS",
    ProbeVerdict.TIMED_OUT: "open the port in the firewall, and check that the proxy is not waiting for another server",
    ProbeVerdict.REDIRECTED: "set --callback-url to the address of the redirect",
    ProbeVerdict.BAD_GATEWAY: "configure the proxy to forward to {where}",
    ProbeVerdict.CHANGED: "configure the proxy to forward the path and to return the answer unchanged",
    ProbeVerdict.WRONG_SERVER: "configure the server that answers at {host} to forward this path to {where}",
}


async def check_provider(provider: Provider) -> AsyncIterator[CheckResult]:
    """Check that the provider is reachable and, by its call for credits if it has one, that it accepts the key."""
    try:
        async with Client(provider, trust_env=True) as client:
            yield passed(f"{provider.display_name} accepts the key: {format_balance(await client.credits())}")
    except Unsupported:
        # no documented call is free of charge: only the address can be checked
        probe = await check_reachable(provider.base_url)
        if probe.verdict is ProbeVerdict.ARRIVED:
            yield passed(f"{provider.display_name} is reachable; only a paid job can show whether it accepts the key")
        else:
            yield failed(f"{provider.display_name}: {probe.sentence}", _ADVICE.get(probe.verdict, _CHECK_NETWORK))
    except WatermarkError as error:
        yield failed(
            f"{provider.display_name}: {error_text(error)}",
            "check the key and the network; `aiowatermark emulator` needs neither",
        )


async def check_callbacks(callbacks: CallbackOptions) -> AsyncIterator[CheckResult]:
    """Check that the callback server can listen and that the public URL leads to it."""
    where = f"{callbacks.host} port {callbacks.port}"
    try:
        receiver = CallbackReceiver(callbacks.url or "http://localhost")
        async with CallbackServer(receiver, callbacks.host, callbacks.port) as server:
            yield passed(f"the callback server can listen on {callbacks.host} port {server.port}")
            if callbacks.url is not None:
                yield _url_result(await probe_callbacks(receiver), callbacks.url, where)
    except InvalidInput as error:
        yield failed(
            error_text(error), "check --callback-url, or use another --callback-port and forward the URL to it"
        )


def _url_result(probe: ProbeResult, url: str, where: str) -> CheckResult:
    if probe.verdict is ProbeVerdict.ARRIVED:
        return passed(f"{url} leads to this machine: {probe.sentence}")
    advice = _ADVICE.get(probe.verdict, _CHECK_NETWORK).format(host=urlsplit(url).hostname, where=where)
    return failed(f"{url}: {probe.sentence}", advice)


async def check_store(location: str) -> AsyncIterator[CheckResult]:
    """Check that the store can be opened and written; leaves nothing behind."""
    new_path = await asyncio.to_thread(_path_if_new, location)
    # a store that does not exist is tried out under another name in the same folder: a check must not create it
    tried = str(new_path.with_name(f".{new_path.name}-{secrets.token_hex(4)}")) if new_path else location
    try:
        async with store_from(tried) as store:
            await _try_write(store)
            settings = await store.server_settings() if isinstance(store, RedisStore) else None
        note = "; it does not exist yet and will be created" if new_path else ""
        yield passed(f"the store {_without_password(location)} can be opened and written{note}")
        for result in () if settings is None else check_redis_settings(settings):
            yield result
    except WatermarkError as error:
        yield failed(error_text(error), "use another --store, or repair this one")
    finally:
        if new_path is not None:
            await asyncio.to_thread(_remove_files, new_path.parent, Path(tried).name)


async def _try_write(store: JobStore) -> None:
    """Write a record and delete it; its status says that nothing was sent, in case the deletion fails."""
    record = Record(f"doctor-{secrets.token_hex(8)}", "doctor", Snapshot(None, Status.UPLOADING))
    await store.open(record)
    try:
        if await store.get(record.key) is None:
            raise InvalidInput("the store did not return the record that was written to it")
    finally:
        await store.forget(record)


def _path_if_new(location: str) -> Path | None:
    """Return the path of a store that does not exist yet; None for one that exists, or a URL."""
    return None if is_network_url(location) or Path(location).exists() else Path(location)


def _remove_files(folder: Path, prefix: str) -> None:
    # SQLite puts journals beside its file, and the store a folder for results
    for path in folder.glob(f"{prefix}*"):
        with contextlib.suppress(OSError):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _without_password(location: str) -> str:
    """Return the path, or the URL without user name and password."""
    if not is_network_url(location):
        return location
    parts = urlsplit(location)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
