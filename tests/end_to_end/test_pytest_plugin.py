"""The fixtures of the pytest plugin in users' projects: each case is a pytest run of its own in a new process."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

pytest_plugins = ["pytester"]
pytestmark = pytest.mark.slow

SECONDS = 60
"""A run that takes longer hangs."""

PLAIN_TEST = """
import json
from urllib.request import Request, urlopen

def test_over_http(watermark_emulator):
    headers = {"Authorization": "Bearer " + watermark_emulator.keys["kaze"], "Content-Type": "application/json"}
    with urlopen(Request(watermark_emulator.base_url + "/api/ext/v1/get_quota", b"{}", headers)) as answer:
        assert json.load(answer)["data"]["remaining"] == 1000
"""
ASYNC_TEST = """
import aiowatermark as aw
import pytest
from aiowatermark.emulator import pictures

async def remove(emulator):
    async with aw.Client(emulator.provider("picwish")) as client:
        result = await client.remove(pictures.sample_photo())
        assert await result.read() == pictures.sample_photo()
    assert emulator.picwish.charged == 1

{mark}
async def test_one(watermark_emulator):
    await remove(watermark_emulator)

{mark}
async def test_another(watermark_emulator):
    await remove(watermark_emulator)
"""


def run(pytester: pytest.Pytester, source: str, *arguments: str, ini: str = "") -> pytest.RunResult:
    # pytest-asyncio deprecates that its own loop scope is not set, which these projects leave as it is
    warnings = "filterwarnings =\n    error\n    ignore::pytest.PytestDeprecationWarning"
    pytester.makeini(f"[pytest]\n{warnings}\n{ini}")
    pytester.makepyfile(source)
    return pytester.runpytest_subprocess("-p", "no:cacheprovider", *arguments, timeout=SECONDS)


def texts(result: pytest.RunResult) -> str:
    return result.stdout.str() + result.stderr.str()


def test_a_synchronous_test_needs_no_asynchronous_plugin(pytester: pytest.Pytester) -> None:
    run(pytester, PLAIN_TEST, "-p", "no:asyncio", "-p", "no:anyio").assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("ini", "mark"),
    [
        ("asyncio_mode = auto", ""),
        ("asyncio_mode = strict", "@pytest.mark.asyncio"),
        ("asyncio_mode = strict", '@pytest.mark.asyncio(loop_scope="module")'),
        ("asyncio_mode = auto\nasyncio_default_test_loop_scope = session", ""),
    ],
)
def test_every_mode_and_loop_scope_of_pytest_asyncio_works(pytester: pytest.Pytester, ini: str, mark: str) -> None:
    result = run(pytester, ASYNC_TEST.format(mark=mark) + PLAIN_TEST, "-p", "no:anyio", ini=ini)
    result.assert_outcomes(passed=3)


@pytest.mark.parametrize("plugins", [["-p", "no:asyncio"], []])
def test_anyio_works_on_asyncio(pytester: pytest.Pytester, plugins: list[str]) -> None:
    pytester.makeconftest('import pytest\n@pytest.fixture\ndef anyio_backend():\n    return "asyncio"\n')
    result = run(pytester, ASYNC_TEST.format(mark="@pytest.mark.anyio") + PLAIN_TEST, *plugins)
    result.assert_outcomes(passed=3)


@pytest.mark.skipif(find_spec("trio") is None, reason="needs trio")
def test_on_trio_the_fixture_to_write_is_named(pytester: pytest.Pytester) -> None:
    pytester.makeconftest('import pytest\n@pytest.fixture\ndef anyio_backend():\n    return "trio"\n')
    result = run(pytester, ASYNC_TEST.format(mark="@pytest.mark.anyio"))
    result.assert_outcomes(failed=2)
    assert "def anyio_backend():" in texts(result)


@pytest.mark.parametrize(
    ("plugins", "advice"),
    [
        ([], "@pytest.mark.asyncio above this test"),
        (["-p", "no:asyncio"], "@pytest.mark.anyio above it"),
        (["-p", "no:asyncio", "-p", "no:anyio"], "pip install pytest-asyncio"),
    ],
)
def test_a_missing_mark_or_plugin_is_named(pytester: pytest.Pytester, plugins: list[str], advice: str) -> None:
    result = run(pytester, ASYNC_TEST.format(mark=""), *plugins)
    result.assert_outcomes(failed=2)
    assert texts(result).count(advice) >= 2


def test_the_emulator_can_live_as_long_as_the_session(pytester: pytest.Pytester) -> None:
    source = """
import pytest_asyncio
import aiowatermark as aw
from aiowatermark.emulator import pictures

@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def client(watermark_emulator):
    async with aw.Client(watermark_emulator.provider("kaze")) as client:
        yield client

async def test_one(client, watermark_emulator):
    await client.remove(pictures.sample_photo())
    assert watermark_emulator.kaze.charged == 1

async def test_another(client, watermark_emulator):
    await client.remove(pictures.sample_photo())
    assert watermark_emulator.kaze.charged == 2
"""
    settings = "asyncio_mode = auto\nasyncio_default_test_loop_scope = session\nwatermark_emulator_scope = session"
    run(pytester, source, ini=settings).assert_outcomes(passed=2)


def test_a_wrong_scope_is_named(pytester: pytest.Pytester) -> None:
    result = run(pytester, PLAIN_TEST, ini="watermark_emulator_scope = test")
    assert result.ret
    assert "watermark_emulator_scope must be one of function, class, module, package, session, not 'test'" in texts(
        result
    )


def test_restoring_without_opencv_names_the_extra(pytester: pytest.Pytester) -> None:
    pytester.makeconftest("import sys\nfrom importlib.abc import MetaPathFinder\nsys.modules['cv2'] = None\n")
    result = run(pytester, "def test_restoring(restoring_watermark_emulator):\n    pass\n")
    result.assert_outcomes(errors=1)
    assert "pip install 'aiowatermark[emulator]'" in texts(result)


def test_a_test_that_fails_leaves_nothing_that_hangs(pytester: pytest.Pytester) -> None:
    source = """
import aiowatermark as aw
from aiowatermark.emulator import pictures

async def test_a_client_is_left_open(watermark_emulator):
    watermark_emulator.picwish.stall_answer()
    client = await aw.Client(watermark_emulator.provider("picwish")).__aenter__()
    job = await client.submit(pictures.sample_photo())

def test_next(watermark_emulator):
    assert watermark_emulator.picwish.charged == 0
"""
    result = run(pytester, source, "--timeout=3", "-W", "ignore", ini="asyncio_mode = auto")
    result.assert_outcomes(failed=1, passed=1)


def test_a_run_without_our_fixtures_imports_next_to_nothing(pytester: pytest.Pytester) -> None:
    source = """
import sys

def test_nothing_is_imported():
    assert "aiowatermark.testing" in sys.modules
    assert not {"aiohttp", "attr", "attrs", "cattrs", "aiowatermark.media", "cv2"} & sys.modules.keys()
"""
    run(pytester, source, "-p", "no:anyio", "-p", "no:hypothesispytest").assert_outcomes(passed=1)
