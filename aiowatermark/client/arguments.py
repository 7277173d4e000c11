"""Arguments of a client's calls: their types, and what is refused before anything else happens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from ..errors import InvalidInput
from ..media import Source
from ..media.base import Media
from ..options import Options
from .engine.build import validate_key

MediaArgument: TypeAlias = Source | Sequence[Source] | None
"""What a job is made of: one medium, several for providers that accept batches, or None where a session replaces it."""


def known_key(key: str) -> str:
    """Return the key of a job that exists; raises InvalidInput for what cannot be one."""
    if key is None:
        raise InvalidInput("name the job by its key")
    return validate_key(key)


def merge_options(options: Mapping[str, Any] | None, named: Options) -> Mapping[str, Any]:
    """Return the options of a call from its `options=` and from those given by name; the latter take precedence.

    Raises InvalidInput if `options=` is not a mapping with names as keys.
    """
    if options is None:
        return {**named}
    if not isinstance(options, Mapping) or not all(isinstance(name, str) for name in options):
        raise InvalidInput(f'options must be a mapping such as {{"strength": 3}}, not {type(options).__name__}')
    return {**options, **named}


def is_source(value: object) -> bool:
    """Whether a value that may be a function or a source is to be used as a source."""
    return isinstance(value, Media) or not callable(value) or callable(getattr(value, "read", None))
