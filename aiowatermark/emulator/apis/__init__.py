"""The five APIs, one file each; a new file is found by itself, and a module shared by several starts with `_`."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator, Mapping

from .base import EmulatedApi


def _classes() -> Iterator[type[EmulatedApi]]:
    for module in pkgutil.iter_modules(__path__):
        if module.name.startswith("_"):
            continue
        found = vars(importlib.import_module(f".{module.name}", __name__)).values()
        yield from (kind for kind in found if _is_api(kind, f"{__name__}.{module.name}"))


def _is_api(kind: object, module: str) -> bool:
    return (
        inspect.isclass(kind)
        and issubclass(kind, EmulatedApi)
        and not inspect.isabstract(kind)
        and kind.__module__ == module
    )


APIS: Mapping[str, type[EmulatedApi]] = {kind.name: kind for kind in _classes()}
