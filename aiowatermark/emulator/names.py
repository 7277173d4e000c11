"""Names that a test gives: one error for a wrong one, with the nearest that is right."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def unknown_name(what: str, name: object, names: Iterable[str]) -> str:
    """Return the message for a name that is none of `names`; it suggests the nearest one, or else lists all."""
    valid = sorted(names)
    near = get_close_matches(str(name).lower(), valid, n=1, cutoff=0.5)
    advice = f"did you mean {near[0]}?" if near else f"valid names are {', '.join(valid)}."
    return f"No such {what}: {name}; {advice}"
