"""The five APIs, one module each: a new module is found by itself; one shared by several begins with `_`."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator, Mapping

from .base import EmulatedApi


def _api_classes() -> Iterator[type[EmulatedApi]]:
    for module in pkgutil.iter_modules(__path__):
        if module.name.startswith("_"):
            continue
        values = vars(importlib.import_module(f".{module.name}", __name__)).values()
        yield from (value for value in values if _is_api(value, f"{__name__}.{module.name}"))


def _is_api(value: object, module: str) -> bool:
    """Whether the value is a concrete API that is defined in this module, not imported by it."""
    return (
        inspect.isclass(value)
        and issubclass(value, EmulatedApi)
        and not inspect.isabstract(value)
        and value.__module__ == module
    )


APIS: Mapping[str, type[EmulatedApi]] = {api.name: api for api in _api_classes()}
