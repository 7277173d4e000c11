"""The emulator: the five providers' APIs on loopback, for tests and for trying the SDK without an account.

It refuses what the providers' documents do not allow, removes watermarks from images and videos (with
`restore=False` it returns each file unchanged), counts what it would have charged, and injects faults on demand.
"""

from __future__ import annotations

from .backend.tasks import EmulatedTask
from .callbacks import CallbackAttempt, CallbackScript
from .controls import EmulatedProvider
from .emulator import Emulator
from .faults import Fault
from .web.request_log import ServedRequest

__all__ = [
    "CallbackAttempt",
    "CallbackScript",
    "EmulatedProvider",
    "EmulatedTask",
    "Emulator",
    "Fault",
    "ServedRequest",
]
