"""Videos on the command line: Ctrl-C during and after the upload, and the progress of transfers."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

from aiowatermark.cli.console.progress import ProgressRow
from aiowatermark.cli.console.rate import RateMeter, format_bytes, format_seconds
from aiowatermark.emulator import EmulatedTask, Emulator, Fault
from tests.support.cli import Cli
from tests.support.manual_clock import ManualClock
from tests.support.videos import make_mp4
from tests.support.waiting import wait_until

TO_CLEAN = ("--provider", "dewatermark", "-o", "clean")


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Eight megabytes that begin like a video: more than the socket buffers hold, so that an upload can stall."""
    path = tmp_path / "clip.mp4"
    path.write_bytes(make_mp4(8 << 20))
    return path


async def wait_for_stall(emulator: Emulator) -> None:
    """Wait until the upload has reached the fault that was injected for it."""
    await wait_until(lambda: not emulator._faults, seconds=20)


@pytest.mark.slow
async def test_ctrl_c_before_the_upload_is_complete_reports_that_nothing_was_paid(
    cli: Cli, clip: Path, emulator: Emulator
) -> None:
    cli.use_keys_of(emulator)
    emulator.inject(Fault.stalled(), "dewatermark", "upload")
    command = ("remove", "clip.mp4", *TO_CLEAN, "--base-url", emulator.base_url, "--store", "jobs.db")
    running = await cli.start(*command)
    await wait_for_stall(emulator)
    running.process.send_signal(signal.SIGINT)
    finished = await running.finish()
    assert finished.code == 1
    assert "Stopped: 0 done, 0 open, 1 unsent; the same command continues" in finished.out
    assert "resume" not in finished.out
    assert emulator.charged["dewatermark"] == 0
    again = await cli(*command)
    assert again.code == 0, again.text
    assert emulator.charged["dewatermark"] == 1


async def test_a_video_whose_upload_is_incomplete_is_not_resumed(cli: Cli, clip: Path, emulator: Emulator) -> None:
    cli.use_keys_of(emulator)
    emulator.inject(Fault.stalled(), "dewatermark", "upload")
    command = ("--base-url", emulator.base_url, "--store", "jobs.db")
    running = await cli.start("remove", "clip.mp4", *TO_CLEAN, *command)
    await wait_for_stall(emulator)
    running.process.kill()
    await running.process.wait()
    listed = await cli("jobs", "--store", "jobs.db")
    assert "1 unsent: the submission was not complete, nothing was paid" in listed.out
    resumed = await cli("resume", "--all", *TO_CLEAN, *command)
    assert resumed.code == 1
    assert "the submission was not complete, so nothing was paid" in resumed.out
    assert emulator.charged["dewatermark"] == 0


@pytest.mark.slow
async def test_ctrl_c_after_the_upload_leaves_a_job_that_resume_finishes(cli: Cli, clip: Path, tmp_path: Path) -> None:
    started = asyncio.Event()

    def processing(_: EmulatedTask) -> float:
        started.set()
        return 1.0

    async with Emulator(restore=False, processing=processing) as emulator:
        cli.use_keys_of(emulator)
        running = await cli.start("remove", "clip.mp4", *TO_CLEAN, "--base-url", emulator.base_url, "--no-store")
        async with asyncio.timeout(20):
            await started.wait()
        running.process.send_signal(signal.SIGINT)
        finished = await running.finish()
        assert "Stopped: 0 done, 1 open, 0 unsent" in finished.out
        (command,) = [line for line in finished.out.splitlines() if "aiowatermark resume" in line]
        resumed = await cli(*command.split()[1:])
        assert resumed.code == 0, resumed.text
        assert emulator.charged["dewatermark"] == 1
    assert (tmp_path / "clean").exists()


def test_a_meter_shows_amount_rate_and_remaining_time() -> None:
    clock = ManualClock()
    meter = RateMeter(clock=clock)
    meter.update(1_000_000, 40_000_000)
    assert meter.text == "1.0 MB of 40.0 MB"
    clock.now += 2
    meter.update(10_000_000, 40_000_000)
    assert meter.text == "10.0 MB of 40.0 MB  5.0 MB/s  0:06 left"
    for _ in range(10):
        clock.now += 1
        meter.update(meter.done + 1_000_000, 40_000_000)
    assert meter.text == "20.0 MB of 40.0 MB  1.0 MB/s  0:20 left"
    clock.now += 10
    rate = meter.rate
    assert rate
    assert rate < 400_000, "the rate of a stalled transfer falls"


def test_a_meter_starts_again_when_an_upload_is_restarted() -> None:
    clock = ManualClock()
    meter = RateMeter(clock=clock)
    clock.now += 2
    meter.update(30_000_000, 40_000_000)
    meter.update(100_000, 40_000_000)
    assert meter.text == "100 kB of 40.0 MB"
    assert meter.rate is None


def test_sizes_and_times_are_short() -> None:
    assert [format_bytes(count) for count in (0, 999, 1500, 123_456, 9_999_999, 5.4e9)] == [
        "0 B",
        "999 B",
        "1.5 kB",
        "123 kB",
        "10.0 MB",
        "5.40 GB",
    ]
    assert [format_seconds(seconds) for seconds in (0.4, 61, 3661, 1e9)] == ["0:00", "1:01", "1:01:01", "99:59:59"]


def test_a_row_has_a_meter_only_while_its_stage_reports_progress() -> None:
    row = ProgressRow("clip.mp4", "Dewatermark")
    row.on_upload(5, 10)
    assert (row.stage, row.meter is not None) == ("uploading", True)
    row.on_upload(10, 10)
    assert (row.stage, row.meter) == ("sent", None)
    row.show("running", 0.25)
    assert row.meter
    assert row.meter.text == "25%"
    row.show("running")
    assert row.meter.text == "25%"
    row.on_download(5000, None)
    assert (row.stage, row.meter.text) == ("saving", "5.0 kB")
    row.show("done")
    assert row.meter is None
