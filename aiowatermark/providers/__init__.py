"""Providers: one module per vendor, found by its file name; modules that several vendors share begin with `_`."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from ..errors import InvalidInput
from ..provider import Provider
from ..suggestions import did_you_mean
from ..wire import join_sorted


def provider_names() -> tuple[str, ...]:
    """Return the names of all providers, sorted."""
    return tuple(sorted(module.name for module in iter_modules(__path__) if not module.name.startswith("_")))


def provider_class(name: str) -> type[Provider]:
    """Return the provider class for a name such as "picwish"; raises InvalidInput that lists the valid names."""
    if name not in provider_names():
        names = provider_names()
        raise InvalidInput(f"{name!r} is not a provider: choose one of {join_sorted(names)}{did_you_mean(name, names)}")
    module = import_module(f"{__name__}.{name}")
    # the class defined in this module, not a base class imported into it
    return next(
        item
        for item in vars(module).values()
        if isinstance(item, type) and issubclass(item, Provider) and item.__module__ == module.__name__
    )
