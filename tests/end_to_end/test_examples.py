"""Every example in examples/ that needs no arguments runs unchanged; those for videos: tests/integration/video."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.processes import REPOSITORY, run_python

EXAMPLES = REPOSITORY / "examples"
EXPECTED_OUTPUT = {
    "one_image": "clean: clean.jpg",
    "many_images": "failed many/photo-7.jpg",
    "refinement": "credits left: 998",
    "aiohttp_service": "fetched: 200",
    "graceful_shutdown": "drained: all jobs ended",
    "webhooks_aiohttp": "queries per job: 1.0",
    "webhooks_fastapi": "after 1 query",
}
TESTED_ELSEWHERE = {"stream_through_service", "upload_with_progress"}


@pytest.mark.parametrize("name", sorted(EXPECTED_OUTPUT))
async def test_an_example_runs_unchanged_and_without_warnings(name: str, tmp_path: Path) -> None:
    finished = await run_python(EXAMPLES / f"{name}.py", folder=tmp_path)
    assert finished.code == 0, finished.text
    assert EXPECTED_OUTPUT[name] in finished.text


def test_every_example_is_tested() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == EXPECTED_OUTPUT.keys() | TESTED_ELSEWHERE
