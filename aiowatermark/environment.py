"""Access to environment variables, in one module so that providers do not depend on the process environment."""

from __future__ import annotations

import os

from .errors import InvalidInput

BASE_URL_VARIABLE = "AIOWATERMARK_BASE_URL"
"""Names the address to which the requests of every provider are sent: that of the emulator, or of a gateway."""


def optional_variable(variable: str) -> str | None:
    """Return an environment variable without surrounding whitespace; None if it is missing or blank."""
    return os.environ.get(variable, "").strip() or None


def required_variable(variable: str, *, purpose: str) -> str:
    """Return an environment variable without surrounding whitespace.

    `purpose` says in the error what belongs in it. Raises InvalidInput if the variable is missing or blank.
    """
    value = optional_variable(variable)
    if value is None:
        raise InvalidInput(
            f"the environment variable {variable} is not set: set it to {purpose}, or use the emulator, "
            "which needs no account"
        )
    return value
