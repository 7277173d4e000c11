"""For tests of your own code: pytest fixtures, `ScriptedTransport` in place of HTTP, and `no_waiting()`.

::

    to                                              use
    send jobs to the five APIs on loopback          the fixture watermark_emulator
    have watermarks really removed                  the fixture restoring_watermark_emulator
    let no test wait                                the fixture no_waiting, or `with no_waiting():`
    list the provider's answers, without sockets    ScriptedTransport

The fixtures are synchronous, because the emulator has a thread of its own: they work in synchronous tests, and under
pytest-asyncio and anyio in each of their modes and loop scopes.

This module is loaded by every pytest run of an environment that has the package, so it imports next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .plugin import (
    no_waiting_fixture,
    pytest_addoption,
    pytest_pyfunc_call,
    restoring_watermark_emulator,
    watermark_emulator,
)

if TYPE_CHECKING:
    from .scripted_transport import Answer, ScriptedTransport, connection_lost, json_response
    from .virtual_time import no_waiting

__all__ = [
    "Answer",
    "ScriptedTransport",
    "connection_lost",
    "json_response",
    "no_waiting",
    "no_waiting_fixture",
    "pytest_addoption",
    "pytest_pyfunc_call",
    "restoring_watermark_emulator",
    "watermark_emulator",
]

_MODULE_BY_NAME = {
    "Answer": "scripted_transport",
    "ScriptedTransport": "scripted_transport",
    "connection_lost": "scripted_transport",
    "json_response": "scripted_transport",
    "no_waiting": "virtual_time",
}


def __getattr__(name: str) -> Any:
    """Import a name on first use: pytest loads this module in runs that use none of them."""
    if name not in _MODULE_BY_NAME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f".{_MODULE_BY_NAME[name]}", __name__), name)
    return value
