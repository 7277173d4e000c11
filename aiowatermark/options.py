"""The options of all providers as one type, so that type checkers and editors know them.

`client.remove(photo, sync=True)`: type checkers accept what one of the five providers documents, and each provider
accepts its own options only, when the call is made. A test keeps this table equal to the `Options` of the providers.
Options of a provider of your own are passed as `options={…}`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypedDict, TypeVar

from .errors import InvalidInput
from .media import Source
from .suggestions import did_you_mean
from .wire import join_sorted

T = TypeVar("T")
PARAMETERS = ("mask", "key", "deadline", "progress", "size", "again", "extra_fields", "brush", "media", "options")
"""What the calls of a client accept besides options: a misspelt one arrives as an option."""


class Options(TypedDict, total=False):
    """Options of a job; which of them a job may have depends on the provider."""

    sync: bool
    """PicWish, gpt.ge: ask for the result in the answer to the submission, if that is quick enough."""

    smear: Source | None
    """Kaze: a mask in Kaze's own colours, in place of `mask`, sent unchanged; the brush is neither black nor white."""

    tier: Literal["standard", "advanced"] | None
    """PicWish: "advanced" is the better and slower remover; it takes no mask."""

    priority: int
    """Photo Eraser: 0 to 9; the default is 1."""

    remove_text: bool
    """Dewatermark, images: remove all text."""

    predict_mode: Literal["4.0", "3.0", "2.0", "old"] | None
    """Dewatermark, images: the model; v3 of the API has "4.0", v2 the others ("2.0", also "old", for emoji)."""

    pro: bool | None
    """Dewatermark, images: the PRO call, which costs three credits."""

    session_id: str | None
    """Dewatermark, images: a session from an earlier answer, in place of the image."""

    mask_base: Source | None
    """Dewatermark, images: the mask of everything that was removed before in the session."""


def create_options(kind: type[T], values: Mapping[str, Any]) -> T:
    """Return the options of a provider; raises InvalidInput that names the wrong one and the type that was given."""
    try:
        return kind(**values)
    except InvalidInput:
        # which of them it is about: converters and validators are shared and do not know
        for name, value in values.items():
            _check_option(kind, name, value)
        raise


def _check_option(kind: type[Any], name: str, value: object) -> None:
    try:
        kind(**{name: value})
    except InvalidInput as error:
        given = type(value).__name__
        message = error.message if name in error.message else f"{name}: {error.message}"
        raise InvalidInput(message if f"not {given}" in message else f"{message} ({given} given)") from None


def unknown_options(display_name: str, unknown: Iterable[str], known: Iterable[str]) -> str:
    """Return the message for options that a provider does not have; `known` are those it has."""
    names = sorted(map(str, unknown))
    foreign = ", an option of another provider" if set(names) <= Options.__annotations__.keys() else ""
    accepted = f"it has {join_sorted(known)}" if known else "it has none"
    if names[0] in PARAMETERS:
        hint = f"; {names[0]} is no option but an argument of the call, {names[0]}=…"
    else:
        hint = "" if foreign else did_you_mean(names[0], [*known, *PARAMETERS])
    return f"{display_name} has no option {join_sorted(names)}{foreign}: {accepted}{hint}"
