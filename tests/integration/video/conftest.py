"""Fixtures for tests of videos: a media host whose every answer the test sets, and a video to upload."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.media_host import MediaHost
from tests.support.videos import make_mp4


@pytest.fixture(autouse=True)
def retry_without_delays(no_retry_delays: None) -> None:
    """Let every test of videos retry without delays."""


@pytest.fixture
async def host() -> AsyncIterator[MediaHost]:
    """Dewatermark's video API and storage on one port."""
    async with MediaHost().serve() as serving:
        yield serving


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """A video file of three megabytes."""
    path = tmp_path / "clip.mp4"
    path.write_bytes(make_mp4(3_000_001))
    return path


@pytest.fixture
def long_clip(tmp_path: Path) -> Path:
    """A video file of 24 megabytes: more than the socket buffers hold."""
    path = tmp_path / "long.mp4"
    path.write_bytes(make_mp4(24_000_000))
    return path
