"""The client's tests pass under asyncio's debug mode, without assertions, on uvloop, and with eager tasks."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, STDOUT

import pytest

from tests.support.loops import LOOP, TASKS
from tests.support.processes import REPOSITORY, ROOT

pytestmark = pytest.mark.slow

CLIENT = ("tests/unit/client", "tests/integration/lifetimes")
# those with a virtual clock need asyncio's own loop
SOCKETS = ("tests/integration/lifetimes", "tests/integration/transport", "tests/integration/callbacks")
# pytest warns about -O because plain modules lose their assertions; it keeps those of tests
OPTIMISED = ("-O", "-m", "pytest", "-W", "ignore:assertions not in test modules::", *CLIENT)
# uvloop drops a connection that was accepted in the moment in which accepting is cancelled, when a server closes
DROPPED = ("-W", "ignore::pytest.PytestUnraisableExceptionWarning", "-W", "ignore:unclosed <socket:ResourceWarning")


@pytest.mark.parametrize(
    ("environment", "arguments"),
    [
        pytest.param({"PYTHONASYNCIODEBUG": "1"}, ("-m", "pytest", *CLIENT), id="debug"),
        pytest.param({}, OPTIMISED, id="optimised"),
        pytest.param({LOOP: "uvloop"}, ("-m", "pytest", *DROPPED, *SOCKETS), id="uvloop"),
        pytest.param(
            {TASKS: "eager"},
            ("-m", "pytest", *CLIENT, *SOCKETS[1:]),
            id="eager tasks",
            marks=pytest.mark.skipif(sys.version_info < (3, 12), reason="Python 3.12 has asyncio.eager_task_factory"),
        ),
    ],
)
async def test_the_clients_tests_pass(environment: dict[str, str], arguments: tuple[str, ...]) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, *arguments, "-q", "-p", "no:cacheprovider"),
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stdout=PIPE,
        stderr=STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()[-5000:]
