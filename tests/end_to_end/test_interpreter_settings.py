"""The client's tests pass under other settings of the interpreter: asyncio's debug mode, and without assertions."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, STDOUT

import pytest

from tests.support.processes import REPOSITORY, ROOT

pytestmark = pytest.mark.slow

FOLDERS = ("tests/unit/client", "tests/integration/lifetimes")
# pytest warns about -O because plain modules lose their assertions; it keeps those of tests
OPTIMISED = ("-O", "-m", "pytest", "-W", "ignore:assertions not in test modules::")


@pytest.mark.parametrize(
    ("environment", "arguments"),
    [({"PYTHONASYNCIODEBUG": "1"}, ("-m", "pytest")), ({}, OPTIMISED)],
    ids=["debug", "optimised"],
)
async def test_the_clients_tests_pass(environment: dict[str, str], arguments: tuple[str, ...]) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, *arguments, "-q", "-p", "no:cacheprovider", *FOLDERS),
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stdout=PIPE,
        stderr=STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()[-5000:]
