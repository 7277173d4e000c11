"""mypy --strict and pyright accept what the public API promises and every documented line, and refuse its misuse.

Both are in the extra `lint`. Without it these tests are skipped; if the variable CI is set, they fail.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.support.documents import DOCUMENTS, read_modules
from tests.support.processes import REPOSITORY

CHECKERS = {
    # Django has no types, so its decorators have none
    "mypy": ("--strict", "--allow-untyped-decorators", "--cache-dir", os.devnull, "--no-error-summary"),
    "pyright": ("--pythonpath", sys.executable),
}
API = REPOSITORY / "tests" / "typing_api.py"
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def blocks(tmp_path: Path) -> list[Path]:
    """Files with the Python blocks of all documents."""
    files = []
    for document in DOCUMENTS:
        for number, module in enumerate(read_modules(document)):
            name = "_".join(document.relative_to(REPOSITORY).with_suffix("").parts).replace("-", "_").lower()
            files.append(tmp_path / f"{name}_{number}.py")
            files[-1].write_text(module)
    return files


def check(checker: str, *files: Path) -> list[str]:
    """Run a type checker with the settings of the repository; returns the errors that it reports."""
    if find_spec(checker) is None and "CI" not in os.environ:
        pytest.skip(f"{checker} is not installed: pip install -e '.[lint]'")
    command = [sys.executable, "-m", checker, *CHECKERS[checker], *map(str, files)]
    environment = {**os.environ, "MYPYPATH": str(REPOSITORY), "PYTHONPATH": str(REPOSITORY), "PYTHONDEVMODE": ""}
    found = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    assert found.returncode in {0, 1}, found.stdout + found.stderr
    errors = [line.strip() for line in found.stdout.splitlines() if "error:" in line or " - error" in line]
    assert bool(errors) == bool(found.returncode), found.stdout + found.stderr
    return errors


@pytest.mark.parametrize("checker", CHECKERS)
def test_type_checkers_accept_the_public_api_and_refuse_its_misuse(checker: str) -> None:
    assert check(checker, API) == []


@pytest.mark.parametrize("checker", CHECKERS)
def test_every_python_block_of_the_documents_type_checks(checker: str, blocks: list[Path]) -> None:
    assert len(blocks) >= sum("```python" in document.read_text() for document in DOCUMENTS) > 5
    assert check(checker, *blocks) == []


@pytest.mark.parametrize("checker", CHECKERS)
def test_a_line_that_ought_to_fail_and_does_not_is_reported(checker: str, tmp_path: Path) -> None:
    module, misspelt = tmp_path / "accepted.py", API.read_text()
    module.write_text(misspelt.replace("snyc=", "sync="))
    errors = check(checker, module)
    unneeded = [error for error in errors if "ignore" in error]
    assert len(unneeded) == misspelt.count("snyc=") > 2
