"""Records an emulated provider in this process, and searches what was written for the emulator's secrets."""

from __future__ import annotations

import asyncio
import html
import json
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus, unquote

import pytest

from aiowatermark.cli.options.callbacks import CallbackOptions
from aiowatermark.cli.record.paths import paths_of
from aiowatermark.cli.record.run import RecordingPlan, record_paths
from aiowatermark.cli.record.samples import MediaChoice
from aiowatermark.emulator import Emulator
from aiowatermark.emulator.storage.objects import ObjectStore, StoredObject, Upload
from tests.support.http_server import free_port
from tests.support.videos import make_mp4


async def record_provider(
    emulator: Emulator,
    name: str,
    folder: Path,
    *,
    paths: Sequence[str] = (),
    urls: Sequence[str] = (),
    stop: asyncio.Event | None = None,
) -> tuple[int, dict[str, Any]]:
    """Record these paths, or all of them, with callbacks; return the exit code and the cassette."""
    provider, port = emulator.provider(name), free_port()
    (folder / "clip.mp4").write_bytes(make_mp4(100_000))
    plan = RecordingPlan(
        provider,
        [path for path in paths_of(type(provider)) if path.name in paths or not paths],
        MediaChoice(video=folder / "clip.mp4", urls=tuple(urls)),
        folder / "out",
        CallbackOptions(f"http://127.0.0.1:{port}/wm", port=port),
        emulator.base_url,
        deadline=20.0,
        callback_wait=5.0,
    )
    code = await record_paths(plan, stop or asyncio.Event())
    return code, json.loads((folder / f"out/{name}-1.json").read_text())


def collect_links(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list to which every signed URL is added that the emulator makes from now on."""
    links: list[str] = []
    create_link, create_upload = ObjectStore.create_link, ObjectStore.create_upload

    def link(self: ObjectStore, stored: StoredObject) -> str:
        links.append(create_link(self, stored))
        return links[-1]

    def upload(self: ObjectStore, provider: str, name: str) -> Upload:
        result = create_upload(self, provider, name)
        links.append(result.link)
        return result

    monkeypatch.setattr(ObjectStore, "create_link", link)
    monkeypatch.setattr(ObjectStore, "create_upload", upload)
    return links


def forms(secret: str) -> Iterator[str]:
    """Yield the forms in which a secret may stand in a text."""
    data = secret.encode()
    yield from {secret, unquote(secret), quote(secret, safe=""), quote_plus(secret), quote(quote(secret, safe=""))}
    yield from {json.dumps(secret)[1:-1], json.dumps(json.dumps(secret))[2:-2], html.escape(secret), secret[::-1]}
    yield data.hex()
    for encode in (b64encode, urlsafe_b64encode):
        for offset in range(3):
            yield encode(bytes(offset) + data).decode()[(offset * 8 + 5) // 6 : (offset + len(data)) * 8 // 6]


def find_secrets(text: str, secrets: Mapping[str, str]) -> list[str]:
    """Return what a text contains of these secrets in any form; the names are for the message of a failed test."""
    lower = text.lower()
    return [f"{name}: {form}" for name, secret in secrets.items() for form in forms(secret) if form.lower() in lower]
