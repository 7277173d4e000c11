"""What lies beyond this process: a provider, the callback server and its public URL, a store."""

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
    Snapshot,
    Status,
    Unsupported,
    WatermarkError,
)
from ...callbacks.probe import ProbeResult, ProbeVerdict, check_reachable, probe_callbacks
from ...jobs import Record
from ..commands.credits import describe_balance
from ..console.runner import error_text
from ..options.callbacks import CallbackOptions
from ..options.store import is_network_url, store_from
from .local_checks import CheckResult, failed, passed


async def check_provider(provider: Provider) -> AsyncIterator[CheckResult]:
    """The provider is there and takes the key, as far as it can be asked for nothing."""
    try:
        async with Client(provider) as client:
            yield passed(f"{provider.display_name} takes the key: {describe_balance(await client.credits())}")
    except Unsupported:
        found = await check_reachable(provider.base_url)
        if found.verdict is ProbeVerdict.ARRIVED:
            yield passed(f"{provider.display_name} answers; whether it takes the key, only a job can show")
        else:
            yield failed(f"{provider.display_name}: {found.sentence}", _ADVICE.get(found.verdict, _NETWORK))
    except WatermarkError as error:
        yield failed(
            f"{provider.display_name}: {error_text(error)}",
            "mend the key or the network; `aiowatermark emulator` needs neither",
        )


async def check_callbacks(callbacks: CallbackOptions) -> AsyncIterator[CheckResult]:
    """The server can listen, and the public URL leads to it."""
    where = f"{callbacks.host} port {callbacks.port}"
    try:
        receiver = CallbackReceiver(callbacks.url or "http://localhost")
        async with CallbackServer(receiver, callbacks.host, callbacks.port) as server:
            yield passed(f"the callback server listens on {callbacks.host} port {server.port}")
            if callbacks.url is not None:
                yield _arrival(await probe_callbacks(receiver), callbacks.url, where)
    except InvalidInput as error:
        yield failed(error_text(error), "give another --callback-port, and lead the public URL to it")


def _arrival(found: ProbeResult, url: str, where: str) -> CheckResult:
    if found.verdict is ProbeVerdict.ARRIVED:
        return passed(f"{url} leads here: {found.sentence}")
    advice = _ADVICE.get(found.verdict, _NETWORK).format(host=urlsplit(url).hostname, where=where)
    return failed(f"{url}: {found.sentence}", advice)


_NETWORK = "look at the network between this machine and that host"
_ADVICE = {
    ProbeVerdict.NO_NAME: "look at the spelling, and at the DNS entry of that name",
    ProbeVerdict.REFUSED: "start the proxy or the tunnel there, and look at the URL's port",
    ProbeVerdict.UNREACHABLE: _NETWORK,
    ProbeVerdict.NO_TLS: "look at the proxy's certificate and its chain, and whether that port speaks TLS at all",
    ProbeVerdict.SILENT: "open the port in the firewall, and look whether the proxy waits for somebody",
    ProbeVerdict.REDIRECTED: "give the address it redirects to as --callback-url",
    ProbeVerdict.GATEWAY: "have the proxy lead to {where}",
    ProbeVerdict.CHANGED: "have the proxy pass the path on as it is, and the answer back",
    ProbeVerdict.ELSEWHERE: "have whatever answers at {host} lead this path to {where}",
}


async def check_store(where: str) -> AsyncIterator[CheckResult]:
    """The store opens, and remembers a record that is forgotten again."""
    path = await asyncio.to_thread(_new, where)
    # a store that is not there yet is tried beside its place, so that nothing is left of a mere check
    tried = str(path.with_name(f".{path.name}-{secrets.token_hex(4)}")) if path else where
    try:
        async with store_from(tried) as store:
            await _written(store)
        new = ", a new file" if path else ""
        yield passed(f"the store {_shown(where)} opens and can be written{new}")
    except WatermarkError as error:
        yield failed(error_text(error), "give another --store, or mend this one")
    finally:
        if path is not None:
            await asyncio.to_thread(_remove, path.parent, Path(tried).name)


async def _written(store: JobStore) -> None:
    """Write a record as if a job were never sent, and forget it."""
    key = f"doctor-{secrets.token_hex(8)}"
    await store.open(Record(key, "doctor", Snapshot(None, Status.UPLOADING)))
    try:
        if await store.get(key) is None:
            raise InvalidInput("the store does not remember what is written to it")
    finally:
        await store.forget(key)


def _new(where: str) -> Path | None:
    """The path of a store that is not there yet."""
    return None if is_network_url(where) or Path(where).exists() else Path(where)


def _remove(folder: Path, begins: str) -> None:
    for left in folder.glob(f"{begins}*"):
        with contextlib.suppress(OSError):
            shutil.rmtree(left) if left.is_dir() else left.unlink()


def _shown(where: str) -> str:
    """A path, or a URL without its password."""
    if not is_network_url(where):
        return where
    parts = urlsplit(where)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
