"""What a wrong name or value was probably meant to be, for error messages."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from difflib import get_close_matches

_MAX_NAME = 60


def closest(name: object, names: Iterable[str]) -> str | None:
    """Return the name that a wrong one resembles most, upper and lower case being equal; None if there is none."""
    if not isinstance(name, str):
        return None
    by_text = {each.lower().replace("_", ""): each for each in names}
    text = name[:_MAX_NAME].lower().replace("_", "").replace("-", "").replace(" ", "")
    return next((by_text[match] for match in get_close_matches(text, by_text, 1)), None)


def did_you_mean(name: object, names: Iterable[str]) -> str:
    """Return the question to append to a message, or an empty text if no name is near."""
    match = closest(name, names)
    return "" if match is None else f"; did you mean {match}?"


def forgotten_await(value: object) -> str | None:
    """Return the message for a coroutine where its result was expected, and close it; None for anything else."""
    if not inspect.iscoroutine(value):
        return None
    value.close()  # it is answered here: Python need not warn, too
    owner = value.__qualname__.rpartition("<locals>")[2].rpartition(".")[0].strip(".").lower()
    return f"{value.__name__}() was not awaited: `await {f'{owner}.' if owner else ''}{value.__name__}(…)`"
