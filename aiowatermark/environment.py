"""The process's environment, read in one place, so that the floors above it need not know there is one."""

from __future__ import annotations

import os

from .errors import InvalidInput


def required_variable(variable: str, *, purpose: str) -> str:
    """The variable's value; raises InvalidInput that names it where it is missing or empty."""
    value = os.environ.get(variable, "").strip()
    if not value:
        raise InvalidInput(
            f"the environment variable {variable} is not set: put {purpose} into it, or try the emulator without one"
        )
    return value
