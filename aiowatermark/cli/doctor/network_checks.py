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
from ...callbacks.probe import Finding, Verdict, probe, reached
from ...jobs import Record
from ..commands.credits import held
from ..console.runner import told
from ..options.callbacks import Callbacks
from ..options.store import memory, on_network
from .local_checks import Check, bad, fine


async def provider_answers(provider: Provider) -> AsyncIterator[Check]:
    """The provider is there and takes the key, as far as it can be asked for nothing."""
    try:
        async with Client(provider) as client:
            yield fine(f"{provider.title} takes the key: {held(await client.credits())}")
    except Unsupported:
        found = await reached(provider.base_url)
        if found.verdict is Verdict.ARRIVED:
            yield fine(f"{provider.title} answers; whether it takes the key, only a job can show")
        else:
            yield bad(f"{provider.title}: {found.sentence}", _ADVICE.get(found.verdict, _NETWORK))
    except WatermarkError as error:
        yield bad(
            f"{provider.title}: {told(error)}", "mend the key or the network; `aiowatermark emulator` needs neither"
        )


async def callbacks_arrive(callbacks: Callbacks) -> AsyncIterator[Check]:
    """The server can listen, and the public URL leads to it."""
    where = f"{callbacks.host} port {callbacks.port}"
    try:
        receiver = CallbackReceiver(callbacks.url or "http://localhost")
        async with CallbackServer(receiver, callbacks.host, callbacks.port) as server:
            yield fine(f"the callback server listens on {callbacks.host} port {server.port}")
            if callbacks.url is not None:
                yield _arrival(await probe(receiver), callbacks.url, where)
    except InvalidInput as error:
        yield bad(told(error), "give another --callback-port, and lead the public URL to it")


def _arrival(found: Finding, url: str, where: str) -> Check:
    if found.verdict is Verdict.ARRIVED:
        return fine(f"{url} leads here: {found.sentence}")
    advice = _ADVICE.get(found.verdict, _NETWORK).format(host=urlsplit(url).hostname, where=where)
    return bad(f"{url}: {found.sentence}", advice)


_NETWORK = "look at the network between this machine and that host"
_ADVICE = {
    Verdict.NO_NAME: "look at the spelling, and at the DNS entry of that name",
    Verdict.REFUSED: "start the proxy or the tunnel there, and look at the URL's port",
    Verdict.UNREACHABLE: _NETWORK,
    Verdict.NO_TLS: "look at the proxy's certificate and its chain, and whether that port speaks TLS at all",
    Verdict.SILENT: "open the port in the firewall, and look whether the proxy waits for somebody",
    Verdict.REDIRECTED: "give the address it redirects to as --callback-url",
    Verdict.GATEWAY: "have the proxy lead to {where}",
    Verdict.CHANGED: "have the proxy pass the path on as it is, and the answer back",
    Verdict.ELSEWHERE: "have whatever answers at {host} lead this path to {where}",
}


async def store_remembers(where: str) -> AsyncIterator[Check]:
    """The store opens, and remembers a record that is forgotten again."""
    path = await asyncio.to_thread(_new, where)
    # a store that is not there yet is tried beside its place, so that nothing is left of a mere check
    tried = str(path.with_name(f".{path.name}-{secrets.token_hex(4)}")) if path else where
    try:
        async with memory(tried) as store:
            await _written(store)
        new = ", a new file" if path else ""
        yield fine(f"the store {_shown(where)} opens and can be written{new}")
    except WatermarkError as error:
        yield bad(told(error), "give another --store, or mend this one")
    finally:
        if path is not None:
            await asyncio.to_thread(_remove, path.parent, Path(tried).name)


async def _written(store: JobStore) -> None:
    """Write a record as if a job were never sent, and forget it."""
    key = f"doctor-{secrets.token_hex(8)}"
    await store.open(Record(key, "doctor", Snapshot(None, Status.UPLOADING)))
    try:
        if await store.get(key) is None:
            msg = "the store does not remember what is written to it"
            raise InvalidInput(msg)
    finally:
        await store.forget(key)


def _new(where: str) -> Path | None:
    """The path of a store that is not there yet."""
    return None if on_network(where) or Path(where).exists() else Path(where)


def _remove(folder: Path, begins: str) -> None:
    for left in folder.glob(f"{begins}*"):
        with contextlib.suppress(OSError):
            shutil.rmtree(left) if left.is_dir() else left.unlink()


def _shown(where: str) -> str:
    """A path, or a URL without its password."""
    if not on_network(where):
        return where
    parts = urlsplit(where)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
