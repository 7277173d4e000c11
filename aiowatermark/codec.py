"""Strict cattrs converter: turns the JSON of an answer into attrs classes, without converting between types."""

from __future__ import annotations

from math import isfinite
from typing import Any, NewType, TypeVar

import cattrs
from attrs import has
from cattrs.errors import BaseValidationError
from cattrs.gen import make_dict_structure_fn

from .errors import UnexpectedAnswer
from .redaction import clean_text
from .wire import Response

T = TypeVar("T")

NumberLike = NewType("NumberLike", float)
"""A number or its text: some documents type numbers as text, so both are accepted."""
TextLike = NewType("TextLike", str)
"""A text or a number, which is converted to text: ids occur as both."""


def _structure_number(value: Any, _: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TypeError(f"{type(value).__name__} is not a number")
    number = float(value)
    if not isfinite(number):
        raise ValueError("the number is not finite")
    return number


def _structure_text(value: Any, _: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TypeError(f"{type(value).__name__} is not a text")
    return str(value)


def _exactly(*types: type) -> Any:
    """Return a hook that accepts values of these types only; cattrs would call `int("7")` or `str(None)`."""

    def hook(value: Any, _: Any) -> Any:
        # bool is a subclass of int
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            raise TypeError(f"{type(value).__name__} is not {types[0].__name__}")
        return value

    return hook


def _structure_object(cls: type[T]) -> Any:
    structure = make_dict_structure_fn(cls, converter, _cattrs_use_alias=False)

    def hook(value: Any, cls: Any) -> T:
        # cattrs expects a mapping here and fails on a list or text with an unclear error
        if not isinstance(value, dict):
            raise TypeError(f"{type(value).__name__} is not an object")
        return structure(value, cls)

    return hook


converter = cattrs.Converter()
converter.register_structure_hook(str, _exactly(str))
converter.register_structure_hook(int, _exactly(int))
converter.register_structure_hook(float, _exactly(float, int))
converter.register_structure_hook(bool, _exactly(bool))
converter.register_structure_hook_func(lambda cls: cls is NumberLike, _structure_number)
converter.register_structure_hook_func(lambda cls: cls is TextLike, _structure_text)
converter.register_structure_hook_factory(has, _structure_object)


def parse(payload: Any, cls: type[T], reply: Response | None = None) -> T:
    """Return `payload` as an instance of `cls`; unknown keys are ignored.

    Raises UnexpectedAnswer, with the redacted text of `reply`, for missing keys and wrong types.
    """
    try:
        return converter.structure(payload, cls)
    except (BaseValidationError, TypeError, ValueError, OverflowError) as error:
        details = "; ".join(cattrs.transform_error(error)) if isinstance(error, BaseValidationError) else str(error)
        raise UnexpectedAnswer(
            f"the answer is not as documented: {clean_text(details)}", answer=None if reply is None else reply.excerpt
        ) from None
