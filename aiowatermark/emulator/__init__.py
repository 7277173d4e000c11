"""The five APIs on loopback, for tests and for a first try without an account.

They are strict about what the documents require, really restore pictures and videos (or with `restore=False` hand
them back as they came), count what they would have charged, and go wrong on demand.
"""

from __future__ import annotations

from .backend.tasks import EmulatedTask
from .callbacks import CallbackAttempt, CallbackScript
from .emulator import Emulator
from .faults import Fault

__all__ = ["CallbackAttempt", "CallbackScript", "EmulatedTask", "Emulator", "Fault"]
