"""A process that dies between the end of a job and its delivery: the next one delivers the result, and nobody pays."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

import aiowatermark as aw
from aiowatermark.emulator import Emulator
from tests.support.images import make_jpeg
from tests.support.processes import run_python

pytestmark = pytest.mark.slow
DEATHS = [
    ("gptge", "before a query"),
    ("gptge", "before a handler"),
    ("gptge", "before a save"),
    ("dewatermark", "before a handler"),  # its images have no query
    ("dewatermark", "before a save"),
]


async def die(emulator: Emulator, moment: str, provider: str, store: Path) -> None:
    """Run a process that submits one job and dies at a moment."""
    key = emulator.keys[provider]
    assert isinstance(key, str)
    arguments = (moment, provider, key, emulator.base_url, str(store), "order-1")
    died = await run_python("-m", "tests.end_to_end.recovery.dying_process", *arguments, folder=Path.cwd())
    assert died.code == -signal.SIGKILL, died.text
    assert emulator.charged[provider] == 1


@pytest.mark.parametrize(("provider", "moment"), DEATHS)
async def test_the_next_process_gives_the_result_to_its_handler(tmp_path: Path, provider: str, moment: str) -> None:
    store, handled = tmp_path / "jobs.db", asyncio.Event()
    receiver = aw.CallbackReceiver("http://127.0.0.1:1/wm")

    @receiver.on_result
    async def save(result: aw.Result) -> None:
        assert result.key == "order-1"
        assert await result.read() == make_jpeg()
        handled.set()

    async with Emulator(restore=False) as emulator:
        await die(emulator, moment, provider, store)
        polling = aw.Polling(0.01, 1.2, 0.1)
        client = aw.Client(
            emulator.provider(provider), store=aw.SQLiteStore(store), callbacks=receiver, polling=polling
        )
        async with client:
            await client.recover()
            await asyncio.wait_for(handled.wait(), 30)
        async with aw.Client(emulator.provider(provider), store=aw.SQLiteStore(store)) as client:
            recovery = await client.recover()
        assert (recovery.finished, recovery.resumed, recovery.in_doubt) == ([], [], [])
        assert emulator.charged[provider] == 1


@pytest.mark.parametrize("provider", ["gptge", "dewatermark"])
async def test_the_next_process_without_handlers_lists_the_result(tmp_path: Path, provider: str) -> None:
    store = tmp_path / "jobs.db"
    async with Emulator(restore=False) as emulator:
        await die(emulator, "before a save", provider, store)
        async with aw.Client(emulator.provider(provider), store=aw.SQLiteStore(store)) as client:
            (result,) = (await client.recover()).finished
            assert await result.read() == make_jpeg()
        assert emulator.charged[provider] == 1
