"""Signals: what ends a command at once, and what is an error of the program."""

from __future__ import annotations

import pytest

from tests.support.cli import Cli

PROGRAM = """
import asyncio, os, signal
from aiowatermark.cli.console.runner import run

async def work(stop):
    async def background():
        try:
            await asyncio.Event().wait()
        finally:
            print("closed")
    task = asyncio.create_task(background())
    await asyncio.sleep(0)
    os.kill(os.getpid(), signal.{first})
    await stop.wait()
    {then}
    await asyncio.Event().wait()

run(work)
"""
INTERRUPT = "os.kill(os.getpid(), signal.SIGINT)"
pytestmark = pytest.mark.skipif("os.name != 'posix'", reason="a process cannot send itself these signals")


@pytest.mark.parametrize("first", ["SIGINT", "SIGTERM"])
async def test_an_interrupt_after_the_first_signal_ends_at_once(cli: Cli, first: str) -> None:
    finished = await cli(code=PROGRAM.format(first=first, then=INTERRUPT))
    assert (finished.code, finished.text) == (1, "")


async def test_a_cancellation_of_another_cause_is_not_taken_for_an_interrupt(cli: Cli) -> None:
    finished = await cli(code=PROGRAM.format(first="SIGINT", then="raise asyncio.CancelledError"))
    assert finished.out == "closed\n"
    assert "CancelledError" in finished.err
