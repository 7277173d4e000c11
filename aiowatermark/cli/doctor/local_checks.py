"""What this machine brings along: Python, packages, extras, keys. Nothing here speaks to anybody."""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Iterator, Mapping
from importlib import metadata
from importlib.util import find_spec

import click
from attrs import frozen

from ... import InvalidInput, known, named
from ..console.runner import printable, told

_PYTHON = (3, 11)
_REQUIRED = {
    "aiohttp": "3.14.3",
    "attrs": "24.1",
    "cattrs": "25.1",
    "backoff": "2.2.1",
    "imagesize": "2",
    "pillow": "11",
}
# by what is imported: OpenCV comes in packages of several names
_EXTRAS: Mapping[str, Mapping[str, str]] = {
    "cli": {"click": "click", "rich": "rich"},
    "emulator": {"numpy": "numpy", "cv2": "opencv-python-headless"},
    "video": {"av": "av"},
    "redis": {"redis": "redis"},
    "dask": {"distributed": "distributed"},
}


@frozen
class Check:
    """One thing that was looked at: `ok` is None where it is not there and nobody needs it. `advice`: what to do."""

    ok: bool | None
    text: str
    advice: str = ""

    @property
    def line(self) -> str:
        """It for people."""
        word, colour = {True: ("ok", "green"), False: ("failed", "red"), None: ("-", None)}[self.ok]
        text = f"{click.style(f'{word:<6}', fg=colour)}  {printable(self.text)}"
        return f"{text}\n        {printable(self.advice)}" if self.advice else text


def fine(text: str) -> Check:
    """All is well."""
    return Check(ok=True, text=text)


def bad(text: str, advice: str) -> Check:
    """Something failed."""
    return Check(ok=False, text=text, advice=advice)


def absent(text: str, advice: str = "") -> Check:
    """It is not there, and nobody needs it."""
    return Check(ok=None, text=text, advice=advice)


def machine() -> Iterator[Check]:
    """Python, the package, what it stands on, and the extras."""
    version = platform.python_version()
    yield Check(
        sys.version_info >= _PYTHON, f"Python {version}", "" if sys.version_info >= _PYTHON else "3.11 or newer"
    )
    ours = _version("aiowatermark")
    yield fine(f"aiowatermark {ours}" if ours else "aiowatermark, run from its sources")
    yield from (_package(name, least) for name, least in _REQUIRED.items())
    yield from (_extra(extra, modules) for extra, modules in _EXTRAS.items())


def _package(name: str, least: str) -> Check:
    found = _version(name)
    if found is None:
        return bad(f"{name} is not installed", f"pip install '{name}>={least}'")
    if _numbers(found) < _numbers(least):
        return bad(f"{name} {found} is older than {least}", f"pip install -U '{name}>={least}'")
    return fine(f"{name} {found}")


def _extra(extra: str, modules: Mapping[str, str]) -> Check:
    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        return absent(f"extra [{extra}]: without {', '.join(missing)}", f"pip install 'aiowatermark[{extra}]'")
    versions = (f"{module} {_version(package) or ''}".strip() for module, package in modules.items())
    return fine(f"extra [{extra}]: {', '.join(versions)}")


def keys(name: str | None) -> Iterator[Check]:
    """Which variables hold keys: those of one provider, or of all, of which nobody needs more than one. Never shown."""
    for each in [name] if name else known():
        kind = named(each)
        missing = [variable for variable in kind.env.values() if not os.environ.get(variable, "").strip()]
        if missing:
            text = f"{kind.title}: {' and '.join(missing)} not set"
            yield bad(text, f"put your {kind.title} key into the environment") if name else absent(text)
        else:
            yield _usable(each)


def _usable(name: str) -> Check:
    kind = named(name)
    variables = " and ".join(kind.env.values())
    try:
        kind.from_env()
    except InvalidInput as error:
        return bad(f"{kind.title}: {variables} set, and not usable", told(error))
    return fine(f"{kind.title}: {variables} set")


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version)[:3]))
