"""Providers: one module per vendor, found by its file name, and those of other packages, found by their entry points.

Modules that several vendors share begin with `_`.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pkgutil import iter_modules

from ..errors import InvalidInput
from ..provider import Provider
from ..suggestions import did_you_mean
from ..wire import join_sorted
from ._packages import ignored, load, names
from ._packages import package_of as package_of


def built_in_names() -> tuple[str, ...]:
    """Return the names of the providers in this package, sorted."""
    return tuple(sorted(module.name for module in iter_modules(__path__) if not module.name.startswith("_")))


def provider_names() -> tuple[str, ...]:
    """Return the names of all providers, sorted; also those that installed packages offer, which are not imported."""
    built_in = built_in_names()
    return tuple(sorted((*built_in, *names(built_in))))


def provider_class(name: str) -> type[Provider]:
    """Return the provider class for a name such as "picwish"; `provider_class(name).from_env()` is an account.

    Raises InvalidInput that lists the valid names, or that names the package whose provider cannot be used. A package
    cannot offer a provider with a built-in name.
    """
    built_in = built_in_names()
    if name in built_in:
        return _built_in_class(name)
    if name not in provider_names():
        known = provider_names()
        raise InvalidInput(f"{name!r} is not a provider: choose one of {join_sorted(known)}{did_you_mean(name, known)}")
    return load(name)


def ignored_providers() -> Iterator[str]:
    """Yield a sentence for each provider of an installed package that is not used."""
    yield from ignored(built_in_names())


def _built_in_class(name: str) -> type[Provider]:
    module = import_module(f"{__name__}.{name}")
    # the class defined in this module, not a base class imported into it
    return next(
        item
        for item in vars(module).values()
        if isinstance(item, type) and issubclass(item, Provider) and item.__module__ == module.__name__
    )
