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

from ... import InvalidInput, provider_class, provider_names
from ..console.runner import error_text, printable

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
class CheckResult:
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


def passed(text: str) -> CheckResult:
    """All is well."""
    return CheckResult(ok=True, text=text)


def failed(text: str, advice: str) -> CheckResult:
    """Something failed."""
    return CheckResult(ok=False, text=text, advice=advice)


def missing(text: str, advice: str = "") -> CheckResult:
    """It is not there, and nobody needs it."""
    return CheckResult(ok=None, text=text, advice=advice)


def check_packages() -> Iterator[CheckResult]:
    """Python, the package, what it stands on, and the extras."""
    version = platform.python_version()
    yield CheckResult(
        sys.version_info >= _PYTHON, f"Python {version}", "" if sys.version_info >= _PYTHON else "3.11 or newer"
    )
    ours = _version("aiowatermark")
    yield passed(f"aiowatermark {ours}" if ours else "aiowatermark, run from its sources")
    yield from (_package(name, least) for name, least in _REQUIRED.items())
    yield from (_extra(extra, modules) for extra, modules in _EXTRAS.items())


def _package(name: str, least: str) -> CheckResult:
    found = _version(name)
    if found is None:
        return failed(f"{name} is not installed", f"pip install '{name}>={least}'")
    if _numbers(found) < _numbers(least):
        return failed(f"{name} {found} is older than {least}", f"pip install -U '{name}>={least}'")
    return passed(f"{name} {found}")


def _extra(extra: str, modules: Mapping[str, str]) -> CheckResult:
    absent = [module for module in modules if find_spec(module) is None]
    if absent:
        return missing(f"extra [{extra}]: without {', '.join(absent)}", f"pip install 'aiowatermark[{extra}]'")
    versions = (f"{module} {_version(package) or ''}".strip() for module, package in modules.items())
    return passed(f"extra [{extra}]: {', '.join(versions)}")


def check_keys(name: str | None) -> Iterator[CheckResult]:
    """Which variables hold keys: those of one provider, or of all, of which nobody needs more than one. Never shown."""
    for each in [name] if name else provider_names():
        kind = provider_class(each)
        absent = [variable for variable in kind.env.values() if not os.environ.get(variable, "").strip()]
        if absent:
            text = f"{kind.display_name}: {' and '.join(absent)} not set"
            yield failed(text, f"put your {kind.display_name} key into the environment") if name else missing(text)
        else:
            yield _usable(each)


def _usable(name: str) -> CheckResult:
    kind = provider_class(name)
    variables = " and ".join(kind.env.values())
    try:
        kind.from_env()
    except InvalidInput as error:
        return failed(f"{kind.display_name}: {variables} set, and not usable", error_text(error))
    return passed(f"{kind.display_name}: {variables} set")


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version)[:3]))
