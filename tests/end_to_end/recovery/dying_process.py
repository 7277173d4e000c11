"""A process that removes one watermark and kills itself with SIGKILL: before a query, before a handler, before a save.

Arguments: the moment, the provider, its key, the base URL of the emulator, the path of the store, and the job's key.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import Any

import aiowatermark as aw
from aiowatermark.client.engine.watch import JobWatcher
from aiowatermark.providers import provider_class
from tests.support.images import make_jpeg

moment, name, api_key, base_url, path, key = sys.argv[1:]


def die(*_: object) -> Any:
    """End this process at once."""
    os.kill(os.getpid(), signal.SIGKILL)


async def main() -> None:
    receiver = aw.CallbackReceiver("http://127.0.0.1:1/wm")
    if moment == "before a query":
        JobWatcher._poll = die  # type: ignore[method-assign, assignment]
    if moment == "before a handler":
        receiver.on_result(die)
    credentials: tuple[Any, ...] = (api_key,)
    provider = provider_class(name)(*credentials, base_url=base_url)
    polling = aw.Polling(0.01, 1.2, 0.1)
    async with aw.Client(provider, store=aw.SQLiteStore(path), callbacks=receiver, polling=polling) as client:
        await client.remove(make_jpeg(), key=key)
        if moment == "before a handler":
            await asyncio.sleep(60)  # the handler runs in a task of its own
        die()


asyncio.run(main())
