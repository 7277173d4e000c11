"""Suggestions for misspelt names."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ` Did you mean NAME?` for the nearest of the known names, empty if none is near."""
    nearest = get_close_matches(name.lower(), list(known), n=1)
    return f" Did you mean {nearest[0]}?" if nearest else ""
