"""The frame of `remove` and `resume`: a folder, a client, a crew at work, a report, an exit code."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing

import click

from .. import Client, JobHandle, Limits, Provider
from .crew import Crew, Item
from .outputs import Outputs
from .progress import Board
from .report import Errand, summary, teller
from .running import DONE, SOME_FAILED

_DRAIN = 20.0
"""Seconds for which Ctrl-C waits for the answers to what was sent: each of them may have been paid."""

Begin = Callable[[Client, Item], Awaitable[JobHandle]]


async def run_errand(
    errand: Errand,
    provider: Provider,
    begin: Begin,
    items: AsyncIterator[Item],
    stop: asyncio.Event,
    *,
    total: int | None,
    jobs: int,
    deadline: float,
) -> int:
    """Do the items and say what became of them; raises InvalidInput where nothing can start."""
    outputs = Outputs(errand.folder)
    await asyncio.to_thread(outputs.prepare)
    client = Client(provider, limits=Limits(submissions=min(jobs, 16), in_flight=jobs), deadline=deadline, drain=_DRAIN)
    board = Board(sys.stderr if errand.as_json else sys.stdout, total)
    crew = Crew(lambda item: begin(client, item), provider.title, outputs, board, teller(errand), stop)
    try:
        with board:
            async with aclosing(items) as source, client:  # type: ignore[type-var]
                await crew.work(source, jobs if total is None else min(jobs, total))
                if stop.is_set():
                    board.close()
                    _hint()
            await crew.rest()
    except BaseException:
        crew.abandon()
        raise
    finally:
        summary(errand, crew, total)
    return SOME_FAILED if stop.is_set() or crew.unhappy else DONE


def _hint() -> None:
    click.echo(
        "Stopping: nothing more is sent; waiting for answers to what was. Ctrl-C again leaves at once.", err=True
    )
