"""What becomes of a job, and of the process, on Ctrl-C, at an exit without close, and in a child of a fork."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import aiowatermark as aw
from aiowatermark.emulator import Emulator, pictures
from tests.support.processes import Running, start_python
from tests.support.waiting import wait_until

SCRIPT = Path(__file__).with_name("calling_process.py")
pytestmark = pytest.mark.slow


@pytest.fixture
async def busy_emulator() -> AsyncIterator[Emulator]:
    """An emulator whose jobs take longer than a test, unless the test ends them."""
    async with Emulator(restore=False, processing=1.0) as emulator:
        yield emulator


async def start(way: str, emulator: Emulator, store: Path, *options: str) -> Running:
    return await start_python(*options, SCRIPT, way, emulator.base_url, str(emulator.keys["kaze"]), store)


async def recover(emulator: Emulator, store: Path) -> bytes:
    """Continue the job that the process left, and return the bytes of its result."""
    async with aw.Client(emulator.provider("kaze"), store=aw.SQLiteStore(store)) as client:
        recovery = await client.recover()
        assert not recovery.in_doubt
        assert not recovery.held
        (handle,) = recovery.resumed
        assert handle.key == "order-1"
        return await (await handle).read()


@pytest.mark.parametrize("way", ["wait_for_result", "read_stream"])
async def test_ctrl_c_ends_the_call_and_leaves_a_job_that_can_be_recovered(
    busy_emulator: Emulator, tmp_path: Path, way: str
) -> None:
    store = tmp_path / "jobs.db"
    running = await start(way, busy_emulator, store)
    await wait_until(lambda: busy_emulator.charged["kaze"])
    running.process.send_signal(signal.SIGINT)
    finished = await running.finish()
    assert "KeyboardInterrupt" in finished.err
    assert "interrupted; threads: ['MainThread']" in finished.out
    assert finished.code == 0
    assert await recover(busy_emulator, store) == pictures.sample_photo()
    assert busy_emulator.charged["kaze"] == 1


@pytest.mark.parametrize(("way", "code"), [("exit_without_close", 0), ("exit_by_an_error", 3)])
async def test_an_exit_without_close_does_not_hang_and_loses_no_job(
    busy_emulator: Emulator, tmp_path: Path, way: str, code: int
) -> None:
    store = tmp_path / "jobs.db"
    finished = await (await start(way, busy_emulator, store)).finish()
    assert (finished.code, finished.text) == (code, "")
    assert await recover(busy_emulator, store) == pictures.sample_photo()
    assert busy_emulator.charged["kaze"] == 1


async def test_a_child_of_a_fork_gets_one_clear_error_and_does_no_harm(busy_emulator: Emulator, tmp_path: Path) -> None:
    # Python 3.12 and later warn about forks of processes that have threads
    running = await start("fork", busy_emulator, tmp_path / "jobs.db", "-W", "ignore::DeprecationWarning")
    finished = await running.finish()
    assert "child: the client was opened in another process, and a fork does not copy its thread" in finished.out
    assert "exit code of the child: 7" in finished.out
    assert "parent: 1000" in finished.out
    assert (finished.code, finished.err) == (0, "")
