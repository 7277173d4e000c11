"""Checks of this machine without network: Python, packages, extras, API keys and the address in the environment."""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Iterator, Mapping
from importlib import metadata
from importlib.util import find_spec

from ... import InvalidInput, provider_class, provider_names
from ...environment import BASE_URL_VARIABLE
from ...provider import normalize_base_url
from ...providers import built_in_names, ignored_providers
from ..console.runner import error_text
from ..options.providers import base_url_is_from_environment
from .results import CheckResult, failed, passed, remark

_MIN_PYTHON = (3, 11)
REQUIRED = {
    "aiohttp": "3.14.4",
    "attrs": "24.3",
    "cattrs": "25.1",
    "backoff": "2.2.1",
    "imagesize": "2.0",
    "pillow": "11.3",
}
# extra: {module: distribution}. Found by the module, because OpenCV is distributed under several names
EXTRAS: Mapping[str, Mapping[str, str]] = {
    "cli": {"click": "click", "rich": "rich"},
    "emulator": {"numpy": "numpy", "cv2": "opencv-python-headless"},
    "video": {"av": "av"},
    "redis": {"redis": "redis"},
    "dask": {"distributed": "distributed"},
    "images": {"numpy": "numpy"},
    "fast": {"hiredis": "hiredis", "pybase64": "pybase64", "uvloop": "uvloop"},
}


def check_packages() -> Iterator[CheckResult]:
    """Check Python, this package, its dependencies and its extras."""
    python = f"Python {platform.python_version()}"
    required = ".".join(map(str, _MIN_PYTHON))
    if sys.version_info >= _MIN_PYTHON:
        yield passed(python)
    else:
        yield failed(python, f"install Python {required} or newer")
    version = _version("aiowatermark")
    yield passed(f"aiowatermark {version}" if version else "aiowatermark, run from its source directory")
    yield from (_check_package(name, minimum) for name, minimum in REQUIRED.items())
    yield from (_check_extra(extra, modules) for extra, modules in EXTRAS.items())
    yield from (remark(sentence) for sentence in ignored_providers())


def _check_package(name: str, minimum: str) -> CheckResult:
    installed = _version(name)
    if installed is None:
        return failed(f"{name} is not installed", f"pip install '{name}>={minimum}'")
    if _version_tuple(installed) < _version_tuple(minimum):
        return failed(f"{name} {installed} is older than {minimum}", f"pip install -U '{name}>={minimum}'")
    return passed(f"{name} {installed}")


def _check_extra(extra: str, modules: Mapping[str, str]) -> CheckResult:
    absent = [module for module in modules if find_spec(module) is None]
    if absent:
        text = f"optional extra [{extra}]: {', '.join(absent)} not installed"
        return remark(text, f"pip install 'aiowatermark[{extra}]'")
    versions = (f"{module} {_version(package) or ''}".strip() for module, package in modules.items())
    return passed(f"extra [{extra}]: {', '.join(versions)}")


def check_keys(name: str | None) -> Iterator[CheckResult]:
    """Check the environment variables with API keys, without showing them.

    With the name of a provider its keys are required; without, the keys of all providers are optional.
    """
    for each in [name] if name else provider_names():
        try:
            kind = provider_class(each)
        except InvalidInput as error:
            yield failed(error_text(error), "repair or uninstall this package; the other providers are not affected")
            continue
        absent = [variable for variable in kind.env.values() if not os.environ.get(variable, "").strip()]
        if not absent:
            yield _check_key_values(each)
            continue
        text = f"{kind.display_name}: {' and '.join(absent)} not set"
        if name:
            yield failed(text, f"set {' and '.join(absent)} to the key of your {kind.display_name} account")
        else:
            yield remark(f"{text} (needed only for this provider)")


def _check_key_values(name: str) -> CheckResult:
    kind = provider_class(name)
    variables = " and ".join(kind.env.values())
    try:
        kind.from_env(base_url=kind.default_base_url)  # another address is checked on its own
    except InvalidInput as error:
        return failed(f"{kind.display_name}: the value of {variables} is not valid", error_text(error))
    return passed(f"{kind.display_name}: {variables} set")


def check_base_url(name: str | None, base_url: str | None) -> Iterator[CheckResult]:
    """Check the address in the environment, if it is set, and say that requests go to it."""
    if base_url is None or not base_url_is_from_environment():
        return
    try:
        address = normalize_base_url(base_url, provider_class(name or built_in_names()[0]), BASE_URL_VARIABLE)
    except InvalidInput as error:
        yield failed(error_text(error), f"correct {BASE_URL_VARIABLE}, or unset it")
    else:
        yield remark(f"requests go to {address} ({BASE_URL_VARIABLE})")


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _version_tuple(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version)[:3]))
