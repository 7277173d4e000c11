"""Asyncio SDK for watermark-removal APIs: at most one charge per job, and no accepted job is lost.

Start with a `Client` for an account at a provider::

    import aiowatermark as aw

    async with aw.Client(aw.PicWish(api_key="…")) as client:
        result = await client.remove("photo.jpg")  # submits and waits
        await result.save("clean.jpg")

::

    to                                       use
    choose a provider                        PicWish, GptGe, Kaze, PhotoEraser, Dewatermark
    submit an image or a video               Client.remove, or Client.submit and its JobHandle
    pass an array or a PIL image             image
    say what to remove                       mask=, an image that is white there, or Boxes
    work without an event loop               sync.Client, or remove("photo.jpg", "clean.jpg", provider="picwish")
    submit many                              Client.stream, whose outcomes are Done or Failed
    save or read the result                  Result.save, Result.read
    limit what is done concurrently          Limits
    keep paid jobs across a crash            SQLiteStore, RedisStore, and Client.recover
    wait for callbacks instead of polling    CallbackReceiver, CallbackServer
    handle failures                          WatermarkError, and help("aiowatermark.errors") for the whole tree

Without an account, try it with the emulator: `aiowatermark demo`, or `aiowatermark.emulator.Emulator` in code.
"""

from __future__ import annotations

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .callbacks.receiver import CallbackReceiver
    from .callbacks.server import CallbackServer
    from .charges import Charge
    from .client.client import Client
    from .client.content_key import CONTENT_KEY
    from .client.handle import JobHandle
    from .client.limits import Limits
    from .client.recovery import Recovery
    from .client.stream import Done, Failed, Outcome
    from .errors import (
        AuthenticationError,
        DeadlineExceeded,
        InsufficientCredits,
        InvalidInput,
        JobFailed,
        JobNotFound,
        ProviderUnavailable,
        RateLimited,
        Rejected,
        ResultExpired,
        StoreError,
        SubmissionInDoubt,
        TransferFailed,
        UnexpectedAnswer,
        Unsupported,
        WatermarkError,
    )
    from .jobs import Output, Record, Snapshot, Status
    from .media import Source, as_media
    from .media.base import Media
    from .media.masks.boxes import Boxes
    from .media.pixels import image
    from .observation.events import JobChanged, RequestEnded, RequestStarted
    from .observation.stats import Percentiles, Stats
    from .options import Options
    from .provider import Credits, Polling, Provider
    from .providers import provider_class, provider_names
    from .providers.dewatermark import Dewatermark
    from .providers.gptge import GptGe
    from .providers.kaze import Kaze
    from .providers.photoeraser import PhotoEraser
    from .providers.picwish import PicWish
    from .results import Result
    from .stores import JobStore
    from .stores.memory import MemoryStore
    from .stores.redis.store import RedisStore
    from .stores.sqlite.store import SQLiteStore
    from .sync.script import remove
    from .wire import Delivery

__all__ = [  # noqa: RUF022 - sorted by code points
    "AuthenticationError",
    "Boxes",
    "CONTENT_KEY",
    "CallbackReceiver",
    "CallbackServer",
    "Charge",
    "Client",
    "Credits",
    "DeadlineExceeded",
    "Delivery",
    "Dewatermark",
    "Done",
    "Failed",
    "GptGe",
    "InsufficientCredits",
    "InvalidInput",
    "JobChanged",
    "JobFailed",
    "JobHandle",
    "JobNotFound",
    "JobStore",
    "Kaze",
    "Limits",
    "Media",
    "MemoryStore",
    "Options",
    "Outcome",
    "Output",
    "Percentiles",
    "PhotoEraser",
    "PicWish",
    "Polling",
    "Provider",
    "ProviderUnavailable",
    "RateLimited",
    "Record",
    "Recovery",
    "RedisStore",
    "Rejected",
    "RequestEnded",
    "RequestStarted",
    "Result",
    "ResultExpired",
    "SQLiteStore",
    "Snapshot",
    "Source",
    "Stats",
    "Status",
    "StoreError",
    "SubmissionInDoubt",
    "TransferFailed",
    "UnexpectedAnswer",
    "Unsupported",
    "WatermarkError",
    "as_media",
    "image",
    "provider_class",
    "provider_names",
    "remove",
]

# Modules are imported when one of their names is first used, so that `--help`, or a script with one provider, does not
# import aiohttp, the stores and every provider.
_PUBLIC_NAMES = {
    "callbacks.receiver": ("CallbackReceiver",),
    "callbacks.server": ("CallbackServer",),
    "charges": ("Charge",),
    "client.client": ("Client",),
    "client.content_key": ("CONTENT_KEY",),
    "client.handle": ("JobHandle",),
    "client.limits": ("Limits",),
    "client.stream": ("Done", "Failed", "Outcome"),
    "client.recovery": ("Recovery",),
    "errors": (
        "AuthenticationError",
        "DeadlineExceeded",
        "InsufficientCredits",
        "InvalidInput",
        "JobFailed",
        "JobNotFound",
        "ProviderUnavailable",
        "RateLimited",
        "Rejected",
        "ResultExpired",
        "StoreError",
        "SubmissionInDoubt",
        "TransferFailed",
        "UnexpectedAnswer",
        "Unsupported",
        "WatermarkError",
    ),
    "jobs": ("Output", "Record", "Snapshot", "Status"),
    "media": ("Source", "as_media"),
    "media.base": ("Media",),
    "media.masks.boxes": ("Boxes",),
    "media.pixels": ("image",),
    "observation.events": ("JobChanged", "RequestEnded", "RequestStarted"),
    "observation.stats": ("Percentiles", "Stats"),
    "options": ("Options",),
    "provider": ("Credits", "Polling", "Provider"),
    "providers": ("provider_class", "provider_names"),
    "providers.dewatermark": ("Dewatermark",),
    "providers.gptge": ("GptGe",),
    "providers.kaze": ("Kaze",),
    "providers.photoeraser": ("PhotoEraser",),
    "providers.picwish": ("PicWish",),
    "results": ("Result",),
    "stores": ("JobStore",),
    "stores.memory": ("MemoryStore",),
    "stores.redis.store": ("RedisStore",),
    "stores.sqlite.store": ("SQLiteStore",),
    "sync.script": ("remove",),
    "wire": ("Delivery",),
}
_MODULE_BY_NAME = {name: module for module, names in _PUBLIC_NAMES.items() for name in names}
# names of version 0.1, to be removed in 0.3
_ALIASES = {"known": "provider_names", "named": "provider_class"}


def __getattr__(name: str) -> Any:
    """Import a public name from its module on first use."""
    if name in _ALIASES:
        return __getattr__(_ALIASES[name])
    if name not in _MODULE_BY_NAME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f".{_MODULE_BY_NAME[name]}", __name__), name)
    return value


def __dir__() -> list[str]:
    """List the public names, imported already or not."""
    return sorted({*globals(), *__all__})


logging.getLogger("aiowatermark").addHandler(logging.NullHandler())
