"""The options of all providers as one type, so that type checkers and editors know them.

`client.remove(photo, sync=True)`: type checkers accept what one of the five providers documents, and each provider
accepts its own options only, when the call is made. A test keeps this table equal to the `Options` of the providers.
Options of a provider of your own are passed as `options={…}`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypedDict, TypeVar

from attrs import NOTHING, fields

from .errors import InvalidInput
from .media import Source
from .suggestions import did_you_mean
from .wire import join_sorted

T = TypeVar("T")
_REFUSALS = (ValueError, TypeError, ArithmeticError)
"""What validators and converters raise for a wrong value: InvalidInput and attrs' own, int() and Decimal()."""
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


def create_options(kind: type[T], values: Mapping[str, Any], display_name: str) -> T:
    """Return the options of a provider, made by its attrs class; raises InvalidInput that names the wrong one.

    A validator or a converter may raise InvalidInput itself, or what attrs' own raise; then the provider is named, too.
    """
    needed = [each.name for each in fields(kind) if each.default is NOTHING]  # type: ignore[arg-type]
    if missing := [name for name in needed if name not in values]:
        raise InvalidInput(f"{display_name} needs the option {join_sorted(missing)}: it has no default")
    try:
        return kind(**values)
    except _REFUSALS as error:
        # which of them it is about: converters and validators are shared and do not know
        for name in sorted(values, key=needed.__contains__, reverse=True):
            _check_option(kind, {each: values[each] for each in needed} | {name: values[name]}, name, display_name)
        if isinstance(error, InvalidInput):
            raise
        refused = f"{display_name} does not accept the options {join_sorted(values)} together"
        raise InvalidInput(f"{refused}: {_text_of(error)}") from error


def _check_option(kind: type[Any], values: Mapping[str, Any], name: str, display_name: str) -> None:
    try:
        kind(**values)
    except InvalidInput as error:
        message = error.message if name in error.message else f"{name}: {error.message}"
        raise InvalidInput(_with_type(message, values[name])) from None
    except _REFUSALS as error:
        text = _with_type(_text_of(error), values[name])
        raise InvalidInput(f"{display_name} does not accept the option {name}: {text}") from error


def _with_type(text: str, value: object) -> str:
    given = type(value).__name__
    return text if f"not {given}" in text else f"{text} ({given} given)"


def _text_of(error: Exception) -> str:
    # attrs' validators raise with the attribute and the value behind the text
    return str(error.args[0]) if error.args else type(error).__name__


def unknown_options(display_name: str, unknown: Iterable[str], known: Iterable[str]) -> str:
    """Return the message for options that a provider does not have; `known` are those it has."""
    names = sorted(map(str, unknown))
    foreign = ", an option of another provider" if set(names) <= Options.__annotations__.keys() else ""
    accepted = f"it has {join_sorted(known)}" if known else "it has none"
    if names[0] in PARAMETERS:
        hint = f"; {names[0]} is not an option but an argument of the call, {names[0]}=…"
    else:
        hint = "" if foreign else did_you_mean(names[0], [*known, *PARAMETERS])
    return f"{display_name} has no option {join_sorted(names)}{foreign}: {accepted}{hint}"
