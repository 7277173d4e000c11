"""Runs a callback server whose receiver announces the server's own address."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiowatermark as aw


@asynccontextmanager
async def serve_callbacks(
    receiver: aw.CallbackReceiver | None = None, **settings: Any
) -> AsyncIterator[aw.CallbackServer]:
    """Serve a receiver, or a new one, on a free port; `settings` are those of `aw.CallbackServer`."""
    receiver = receiver or aw.CallbackReceiver("http://127.0.0.1:1")
    async with aw.CallbackServer(receiver, port=0, **settings) as server:
        receiver.public_url = f"http://127.0.0.1:{server.port}/wm"
        yield server
