"""An asyncio SDK for watermark-removal services: nothing paid is submitted twice, nothing paid is lost."""

from __future__ import annotations

import logging

from .callbacks.receiver import CallbackReceiver
from .callbacks.server import CallbackServer
from .client.client import Client
from .client.handle import JobHandle
from .client.limits import Limits
from .client.outcomes import Done, Failed, Outcome
from .client.recovery import Recovery
from .errors import (
    AuthenticationError,
    DeadlineExceeded,
    InsufficientCredits,
    InvalidInput,
    JobFailed,
    ProviderUnavailable,
    RateLimited,
    Rejected,
    ResultExpired,
    SubmissionInDoubt,
    TransferFailed,
    UnexpectedAnswer,
    Unsupported,
    WatermarkError,
)
from .jobs import Output, Result, Snapshot, Status
from .media import Source, as_media
from .media.base import Media
from .provider import Credits, Polling, Provider
from .providers import known, named
from .providers.dewatermark import Dewatermark
from .providers.gptge import GptGe
from .providers.kaze import Kaze
from .providers.photoeraser import PhotoEraser
from .providers.picwish import PicWish
from .stores import JobStore
from .stores.memory import MemoryStore
from .wire import Delivery

__all__ = [
    "AuthenticationError",
    "CallbackReceiver",
    "CallbackServer",
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
    "JobFailed",
    "JobHandle",
    "JobStore",
    "Kaze",
    "Limits",
    "Media",
    "MemoryStore",
    "Outcome",
    "Output",
    "PhotoEraser",
    "PicWish",
    "Polling",
    "Provider",
    "ProviderUnavailable",
    "RateLimited",
    "Recovery",
    "Rejected",
    "Result",
    "ResultExpired",
    "Snapshot",
    "Source",
    "Status",
    "SubmissionInDoubt",
    "TransferFailed",
    "UnexpectedAnswer",
    "Unsupported",
    "WatermarkError",
    "as_media",
    "known",
    "named",
]

logging.getLogger("aiowatermark").addHandler(logging.NullHandler())
