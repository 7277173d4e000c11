"""Every example runs as it stands, without a warning."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
SAID = {
    "one_picture": "clean: clean.jpg",
    "many_pictures": "failed many/photo-7.jpg",
    "refinement": "credits left: 998",
    "aiohttp_service": "came back for: 200",
    "webhooks_aiohttp": "queries a job: 1.0",
    "webhooks_fastapi": "after 1 query",
}


@pytest.mark.parametrize("name", sorted(SAID))
async def test_an_example_runs_as_it_stands(name: str, tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-W",
        "error",
        str(EXAMPLES / f"{name}.py"),
        cwd=tmp_path,
        env={"PYTHONPATH": str(EXAMPLES.parent), "PATH": ""},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(90):
        said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()
    assert SAID[name] in said.decode()
