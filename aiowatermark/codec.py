"""The one strict cattrs converter: what an answer says is taken as it is, or refused."""

from __future__ import annotations

from math import isfinite
from typing import Any, NewType, TypeVar

import cattrs
from attrs import has
from cattrs.errors import BaseValidationError
from cattrs.gen import make_dict_structure_fn

from .errors import UnexpectedAnswer
from .wire import Response

T = TypeVar("T")

NumberLike = NewType("NumberLike", float)
"""A number that some documents type as text: both are taken."""
TextLike = NewType("TextLike", str)
"""A text that may come as a number."""


def _structure_number(value: Any, _: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TypeError(f"{type(value).__name__} is no number")
    number = float(value)
    if not isfinite(number):
        raise ValueError("it is not finite")
    return number


def _structure_text(value: Any, _: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TypeError(f"{type(value).__name__} is no text")
    return str(value)


def _exactly(*kinds: type) -> Any:
    def hook(value: Any, _: Any) -> Any:
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            raise TypeError(f"{type(value).__name__} is not {kinds[0].__name__}")
        return value

    return hook


def _structure_object(cls: type[T]) -> Any:
    structure = make_dict_structure_fn(cls, converter, _cattrs_use_alias=False)

    def hook(value: Any, kind: Any) -> T:
        if not isinstance(value, dict):
            raise TypeError(f"{type(value).__name__} is no object")
        return structure(value, kind)

    return hook


converter = cattrs.Converter()
converter.register_structure_hook(str, _exactly(str))
converter.register_structure_hook(int, _exactly(int))
converter.register_structure_hook(float, _exactly(float, int))
converter.register_structure_hook(bool, _exactly(bool))
converter.register_structure_hook_func(lambda kind: kind is NumberLike, _structure_number)
converter.register_structure_hook_func(lambda kind: kind is TextLike, _structure_text)
converter.register_structure_hook_factory(has, _structure_object)


def parse(payload: Any, cls: type[T], reply: Response | None = None) -> T:
    """`payload` as a `cls`; unknown keys are ignored, wrong types raise UnexpectedAnswer with the redacted answer."""
    try:
        return converter.structure(payload, cls)
    except (BaseValidationError, TypeError, ValueError) as error:
        what = "; ".join(cattrs.transform_error(error)) if isinstance(error, BaseValidationError) else str(error)
        raise UnexpectedAnswer(
            f"the answer is not as documented: {what}", answer=None if reply is None else reply.excerpt
        ) from None
