"""Every example in examples/ runs unchanged, without arguments or an account; for the services see test_services.py."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.support.examples import EXAMPLES
from tests.support.processes import run_python

EXPECTED_OUTPUT = {
    "aiohttp_service": "fetched: 200 image/jpeg",
    "batch_from_database": "charged: 5",
    "fastapi_service": "200 image/jpeg after 1 query",
    "flask_service": "200 image/jpeg",
    "graceful_shutdown": "drained: all jobs ended",
    "many_images": "failed many/photo-7.jpg",
    "one_image": "clean: clean.jpg",
    "queue_worker": "charged: 3 for 6 tasks",
    "refinement": "credits left: 998",
    "starlette_service": "400 text/plain",
    "stream_through_service": "'duration': 2.0",
    "webhooks_aiohttp": "queries per job: 1.0",
}
TESTED_ELSEWHERE = {"video_with_progress"}  # tests/integration/video
MAX_LINES = 80
PRIVATE = re.compile(r"\b(?!self\b)\w+\._(?!_)\w+|\.__\w+__\(")


@pytest.mark.parametrize("name", sorted(EXPECTED_OUTPUT))
async def test_an_example_runs_unchanged_and_without_warnings(name: str, tmp_path: Path) -> None:
    finished = await run_python(EXAMPLES / f"{name}.py", folder=tmp_path)
    assert finished.code == 0, finished.text
    assert EXPECTED_OUTPUT[name] in finished.text


def test_every_example_is_tested() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == EXPECTED_OUTPUT.keys() | TESTED_ELSEWHERE


@pytest.mark.parametrize("name", sorted(EXPECTED_OUTPUT.keys() | TESTED_ELSEWHERE))
def test_an_example_is_short_and_uses_public_names_only(name: str) -> None:
    text = (EXAMPLES / f"{name}.py").read_text()
    assert len(text.splitlines()) <= MAX_LINES
    assert not PRIVATE.findall(text)
    modules = [node.module or "" for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ImportFrom)]
    own = {module for module in modules if module.startswith("aiowatermark")}
    assert own <= {"aiowatermark", "aiowatermark.emulator", "aiowatermark.emulator.clips"}
