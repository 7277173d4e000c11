"""The providers, found by looking: one module each, strangers to one another; a shared dialect starts with `_`."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from ..errors import InvalidInput
from ..provider import Provider
from ..wire import join_sorted


def provider_names() -> tuple[str, ...]:
    """The providers' names, sorted."""
    return tuple(sorted(module.name for module in iter_modules(__path__) if not module.name.startswith("_")))


def provider_class(name: str) -> type[Provider]:
    """The provider of that name; raises InvalidInput that lists what there is."""
    if name not in provider_names():
        raise InvalidInput(f"there is no provider {name!r}: choose one of {join_sorted(provider_names())}")
    module = import_module(f"{__name__}.{name}")
    return next(
        item
        for item in vars(module).values()
        if isinstance(item, type) and issubclass(item, Provider) and item.__module__ == module.__name__
    )
