"""Providers of other packages: found by their entry points, loaded when they are asked for by name.

A package offers a provider by an entry point of the group `aiowatermark.providers`, whose name is that of the provider:

    [project.entry-points."aiowatermark.providers"]
    acme = "acme:Acme"

    read                   names only, from the metadata of installed packages: nothing of a package is imported
    load                   imports the class of one provider; what is wrong with a package is one InvalidInput that
                           names the package, and concerns no other provider
    a built-in name        the entry point is ignored and `ignored` says so: no package may take over a provider whose
                           key a user has in the environment
    offered twice          neither is loaded: which one would get the key would depend on the order of the path
"""

from __future__ import annotations

import logging
import re
import sys
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from importlib import import_module
from inspect import isabstract
from typing import Any

from attrs import field, frozen, has

from ..errors import InvalidInput
from ..provider import Provider

GROUP = "aiowatermark.providers"
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}")
_ATTRIBUTES = ("name", "display_name", "default_base_url", "env", "capabilities")
log = logging.getLogger("aiowatermark")


@frozen
class OfferedProvider:
    """An entry point: the provider's name, and the package that offers it, with its version."""

    name: str
    package: str
    _entry_point: Any = field(repr=False)

    def load(self) -> type[Provider]:
        """Import and return the class; raises InvalidInput that names the package."""
        try:
            value = self._entry_point.load()
        except (Exception, SystemExit) as error:
            raise self._error(f"cannot be loaded: {type(error).__name__}: {error}") from error
        if problem := _problem(value, self.name):
            raise self._error(f"is not usable: {self._entry_point.value} {problem}")
        kind: type[Provider] = value
        return kind

    def _error(self, problem: str) -> InvalidInput:
        return InvalidInput(f"the provider {self.name} of the package {self.package} {problem}")


def _problem(value: Any, name: str) -> str | None:
    """Return what keeps a value from being the class of the provider `name`; None if nothing does."""
    if not isinstance(value, type) or not issubclass(value, Provider):
        return "is not a subclass of aiowatermark.Provider"
    if missing := [attribute for attribute in _ATTRIBUTES if not hasattr(value, attribute)]:
        return f"does not set {', '.join(missing)}"
    kind: type[Provider] = value
    if kind.name != name:
        # records and tokens hold the name of the class, and are resumed by that of the entry point
        return f"has the name {kind.name!r}: class and entry point must have the same"
    if isabstract(kind) or not has(kind):
        return "must be an attrs class that implements headers and submit"
    return None


def read_offers() -> Mapping[str, tuple[OfferedProvider, ...]]:
    """Return what installed packages offer, by name; nothing of them is imported."""
    return _read(tuple(sys.path))


@lru_cache(maxsize=2)
def _read(_: tuple[str, ...]) -> Mapping[str, tuple[OfferedProvider, ...]]:
    offers: dict[str, set[OfferedProvider]] = defaultdict(set)
    try:
        # imported here: it takes 10 ms, which programs that name a provider's class need not spend
        for entry_point in import_module("importlib.metadata").entry_points(group=GROUP):
            offers[entry_point.name].add(OfferedProvider(entry_point.name, _package_of(entry_point), entry_point))
    except Exception as error:  # noqa: BLE001 - damaged metadata of any package must not break the built-in providers
        log.warning("the entry points of installed packages cannot be read: %s: %s", type(error).__name__, error)
    return {name: tuple(sorted(found, key=lambda each: each.package)) for name, found in sorted(offers.items())}


def _package_of(entry_point: Any) -> str:
    try:
        return f"{entry_point.dist.name} {entry_point.dist.version}"
    except Exception:  # noqa: BLE001 - metadata without a name or version
        return f"that contains {entry_point.value}"


def names(built_in: Collection[str]) -> Iterator[str]:
    """Yield the names that packages may use, `built_in` excepted."""
    return (name for name in read_offers() if name not in built_in and _NAME.fullmatch(name))


def load(name: str) -> type[Provider]:
    """Return the class of a name that `names` yields; raises InvalidInput that names the package, or both of them."""
    first, *others = read_offers()[name]
    if others:
        packages = " and ".join(offer.package for offer in (first, *others))
        raise InvalidInput(f"the provider {name} is offered by {packages}: uninstall all of these packages but one")
    return first.load()


def package_of(name: str) -> str | None:
    """Return the package that offers a provider, with its version; None for a built-in one."""
    offers = read_offers().get(name)
    return offers[0].package if offers else None


def ignored(built_in: Collection[str]) -> Iterator[str]:
    """Yield a sentence for each entry point that is not used."""
    for name, offers in read_offers().items():
        for offer in offers:
            if name in built_in:
                yield f"{offer.package} offers a provider with the built-in name {name}: it is ignored"
            elif not _NAME.fullmatch(name):
                yield f"{offer.package} offers a provider whose name is not like acme-2: it is ignored"
