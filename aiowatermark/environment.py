"""Access to environment variables, in one module so that providers do not depend on the process environment."""

from __future__ import annotations

import os

from .errors import InvalidInput


def required_variable(variable: str, *, purpose: str) -> str:
    """Return an environment variable without surrounding whitespace.

    `purpose` says in the error what belongs in it. Raises InvalidInput if the variable is missing or blank.
    """
    value = os.environ.get(variable, "").strip()
    if not value:
        raise InvalidInput(
            f"the environment variable {variable} is not set: set it to {purpose}, or use the emulator, "
            "which needs no account"
        )
    return value
