"""Upload progress is told, and a progress callback that raises costs no job."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import aiowatermark as aw
from aiowatermark.emulator import Emulator


async def test_a_callback_that_raises_is_called_once_and_the_job_goes_on(
    emulator: Emulator, picture: Callable[..., bytes], caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[int] = []

    def broken(sent: int, _: int | None) -> None:
        calls.append(sent)
        raise RuntimeError("the terminal is gone")

    async with aw.Client(emulator.provider("picwish")) as client:
        result = await client.remove(picture(padding=2_000_000), progress=broken)
    assert result.url
    assert len(calls) == 1
    assert "told no more" in caplog.text


async def test_a_videos_handle_shows_the_upload_moving(emulator: Emulator) -> None:
    video = b"\0\0\0\x18ftypmp42" + bytes(3_000_000)
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
