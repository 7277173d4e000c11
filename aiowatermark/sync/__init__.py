"""Synchronous use: the client for scripts, Flask, Django and notebooks. `with` in place of `async with`, no `await`.

::

    from aiowatermark import sync

    with sync.Client(aw.PicWish(api_key="…")) as client:
        result = client.remove("photo.jpg")
        result.save("clean.jpg")

The client and the objects it returns have the methods of the asynchronous ones, which run on an event loop in a daemon
thread of their own. `open_in_thread` opens anything else that needs `async with`, such as an Emulator.
"""

from __future__ import annotations

from ..client.stream import Failed
from .client import Client, Done, JobHandle, Outcome, Recovery, Result
from .opening import open_in_thread
from .script import remove

__all__ = [
    "Client",
    "Done",
    "Failed",
    "JobHandle",
    "Outcome",
    "Recovery",
    "Result",
    "open_in_thread",
    "remove",
]
