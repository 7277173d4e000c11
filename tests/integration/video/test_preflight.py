"""Videos outside the documented limits: submitted all the same, after a warning."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

import aiowatermark as aw
from aiowatermark.emulator.restoration.video.restore import sample_video
from tests.support.media_host import MediaHost


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.levelno == logging.WARNING]


async def test_a_video_within_the_documented_limits_logs_no_warning(
    host: MediaHost, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = sample_video(tmp_path / "clip.mp4", seconds=0.5, fps=24)
    async with host.client() as client:
        await client.remove(path)
    assert warnings(caplog) == []


async def test_another_frame_rate_is_warned_about_and_submitted(
    host: MediaHost, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = sample_video(tmp_path / "clip.mp4", seconds=0.5, fps=30)
    async with host.client() as client:
        await client.remove(path.read_bytes())
    (warning,) = warnings(caplog)
    assert warning.endswith("has 30 frames per second, not 24: Dewatermark may refuse it")
    assert len(host.start_requests) == 1


async def test_a_video_that_is_too_long_is_warned_about(
    host: MediaHost, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = sample_video(tmp_path / "clip.mp4", seconds=0.5, fps=24)
    data = bytearray(path.read_bytes())
    at = data.index(b"mvhd") + 4 + 12
    scale = int.from_bytes(data[at : at + 4], "big")
    data[at + 4 : at + 8] = (600 * scale).to_bytes(4, "big")
    async with host.client() as client:
        await client.remove(bytes(data))
    assert warnings(caplog) == ["picture.mp4 lasts 10.0 minutes, more than 9: Dewatermark may refuse it"]


async def test_another_container_is_warned_about(host: MediaHost, caplog: pytest.LogCaptureFixture) -> None:
    async with host.client() as client:
        await client.remove(b"\x1aE\xdf\xa3" + bytes(1000))
    assert [text.partition(" ")[2] for text in warnings(caplog)] == ["is matroska, not mp4: Dewatermark may refuse it"]


async def test_unknown_properties_cause_no_warning(
    host: MediaHost, clip: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with host.client() as client:
        await client.remove(clip)
        with clip.open("rb") as opened:
            await client.remove(opened)
    assert warnings(caplog) == []
    assert aw.Dewatermark.capabilities.video_limits is not None
