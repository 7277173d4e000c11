"""A video with a mark is uploaded, restored frame by frame by the emulator, and saved without the mark."""

from __future__ import annotations

from pathlib import Path

import pytest

import aiowatermark as aw
from aiowatermark.emulator import Emulator
from aiowatermark.emulator.pictures import sample_mark, stamp
from aiowatermark.emulator.restoration.pixels import encode_as
from aiowatermark.emulator.restoration.video.restore import sample_video
from tests.support.restored_media import read_frames, video_psnr

MARK = sample_mark(width=160)


@pytest.mark.parametrize("by_mask", [False, True])
async def test_the_saved_video_is_restored(tmp_path: Path, *, by_mask: bool) -> None:
    plain = sample_video(tmp_path / "plain.mp4", seconds=1, seed=3)
    marked = sample_video(tmp_path / "marked.mp4", seconds=1, seed=3, mark=MARK)
    mask = stamp(encode_as(next(read_frames(plain)), "png"), MARK)[1]
    async with Emulator(mark=MARK, processing=0) as emulator, aw.Client(emulator.provider("dewatermark")) as client:
        handle = await client.submit(marked, mask=mask if by_mask else None)
        snapshots = [snapshot async for snapshot in handle.updates()]
        result = await handle
        clean = await result.save(tmp_path / "clean.mp4")
        assert emulator.leaks == 0
        assert emulator.charged["dewatermark"] == 1
    assert result.snapshot.details["has_watermark"] is True
    assert result.snapshot.details["duration"] == pytest.approx(1.0, abs=0.1)
    assert result.snapshot.details["cost"] == pytest.approx(0.2, abs=0.02)
    assert video_psnr(mask, plain, clean) > video_psnr(mask, plain, marked) + (3 if by_mask else 8)
    assert snapshots[-1].status is aw.Status.SUCCEEDED
