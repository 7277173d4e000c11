"""Upload progress is reported, and a progress function that raises does not end the job."""

from __future__ import annotations

import pytest

import aiowatermark as aw
from aiowatermark.emulator import Emulator
from tests.support.images import make_jpeg
from tests.support.videos import make_mp4


async def test_a_progress_function_that_raises_is_not_called_again_and_the_job_goes_on(
    emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[int] = []

    def broken(sent: int, _: int | None) -> None:
        calls.append(sent)
        raise RuntimeError("the terminal is closed")

    async with aw.Client(emulator.provider("picwish")) as client:
        result = await client.remove(make_jpeg(padding=2_000_000), progress=broken)
    assert result.url
    assert len(calls) == 1
    assert "not called again" in caplog.text


async def test_the_handle_of_a_video_shows_upload_progress(emulator: Emulator) -> None:
    video = make_mp4(3_000_000)
    async with aw.Client(emulator.provider("dewatermark")) as client:
        handle = await client.submit(video)
        assert handle.task_id is not None
        seen = [(snapshot.status, snapshot.progress) async for snapshot in handle.updates()]
        await handle
    uploads = [progress for status, progress in seen if status is aw.Status.UPLOADING and progress]
    assert uploads == sorted(uploads)
    assert uploads
    assert seen[-1][0] is aw.Status.SUCCEEDED
    assert emulator.charged["dewatermark"] == 1
