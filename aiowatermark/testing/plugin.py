"""The pytest plugin: fixtures of an emulator in its own thread, and one sentence for a setting that is missing.

    watermark_emulator              returns images unchanged, at once; needs no extra
    restoring_watermark_emulator    removes watermarks; needs the extra `[emulator]`, for videos `[video]`
    no_waiting                      polling, retries, rate limits and processing take no time in this test

All three are synchronous. So nothing depends on which plugin runs asynchronous tests, in which mode, and on how long an
event loop lives; the emulator's loop is never the test's.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from ..emulator import Emulator

SCOPE_SETTING = "watermark_emulator_scope"
_SCOPES = ("function", "class", "module", "package", "session")
_FIXTURES = frozenset({"watermark_emulator", "restoring_watermark_emulator", "no_waiting"})


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the setting `watermark_emulator_scope`."""
    text = f"scope of the fixtures watermark_emulator and restoring_watermark_emulator: {', '.join(_SCOPES)}"
    parser.addini(SCOPE_SETTING, text, default="function")


def _emulator_scope(fixture_name: str, config: pytest.Config) -> Any:  # noqa: ARG001 - pytest passes both by name
    scope = config.getini(SCOPE_SETTING)
    if scope not in _SCOPES:
        raise pytest.UsageError(f"{SCOPE_SETTING} must be one of {', '.join(_SCOPES)}, not {scope!r}.")
    return scope


@pytest.fixture(scope=_emulator_scope)
def watermark_emulator() -> Iterator[Emulator]:
    """Yield an emulator in a thread of its own that returns images unchanged and without delay.

    Use it as `aw.Client(watermark_emulator.provider("kaze"))`, or over `watermark_emulator.base_url`.
    """
    from ..emulator import Emulator  # noqa: PLC0415 - this module is loaded by every pytest run

    with Emulator(restore=False, processing=0.0) as emulator:
        yield emulator


@pytest.fixture(scope=_emulator_scope)
def restoring_watermark_emulator() -> Iterator[Emulator]:
    """Yield an emulator in a thread of its own that removes watermarks; fails without the extra `[emulator]`."""
    if find_spec("cv2") is None:
        pytest.fail(
            "The fixture restoring_watermark_emulator needs pip install 'aiowatermark[emulator]'.", pytrace=False
        )
    from ..emulator import Emulator  # noqa: PLC0415 - the same

    with Emulator(processing=0.0) as emulator:
        yield emulator


@pytest.fixture(name="no_waiting")
def no_waiting_fixture() -> Iterator[None]:
    """Let waits of the SDK and of the emulator take no time during this test; see `aiowatermark.testing.no_waiting`."""
    from .virtual_time import no_waiting  # noqa: PLC0415 - the same

    with no_waiting():
        yield


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """Name the line to write for a test that anyio runs on trio, and for an asynchronous one that no plugin runs."""
    __tracebackhide__ = True
    if _FIXTURES.isdisjoint(pyfuncitem.fixturenames):
        return (yield)
    if _backend(pyfuncitem) == "trio":
        pytest.fail(_NOT_UNDER_TRIO, pytrace=False)
    try:
        return (yield)
    except pytest.fail.Exception as failure:
        # of pytest itself, which is asked last; other plugins may run asynchronous tests in ways unknown here
        if str(failure.msg).startswith("async def functions are not natively supported"):
            pytest.fail(_advice(pyfuncitem.config), pytrace=False)
        raise


def _backend(item: pytest.Function) -> object:
    """Return the name of anyio's backend; None for a test that anyio does not run."""
    backend = item.funcargs.get("anyio_backend")
    return backend[0] if isinstance(backend, tuple) else backend


_NOT_UNDER_TRIO = (
    "This test runs on trio, and aiowatermark on asyncio: write in conftest.py\n"
    '    @pytest.fixture\n    def anyio_backend():\n        return "asyncio"'
)
_AUTO = 'asyncio_mode = "auto" under [tool.pytest.ini_options] in pyproject.toml'


def _advice(config: pytest.Config) -> str:
    if config.pluginmanager.hasplugin("asyncio"):
        return f"pytest-asyncio is in strict mode: write @pytest.mark.asyncio above this test, or {_AUTO}."
    if config.pluginmanager.hasplugin("anyio"):
        return "No plugin runs this test: write @pytest.mark.anyio above it, or pip install pytest-asyncio."
    return f"No plugin runs asynchronous tests: pip install pytest-asyncio, and write {_AUTO}."
