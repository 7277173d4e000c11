"""How a command runs: its coroutine, the first and the second Ctrl-C, and what the process exits with."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NoReturn

import click

from ... import WatermarkError
from .extras import install_hint

DONE, SOME_FAILED, NOTHING_STARTED = 0, 1, 2
_SIGNALS = (signal.SIGINT, signal.SIGTERM)

Work = Callable[[asyncio.Event], Awaitable[int]]
"""Does the command's work and gives its exit code; the event is set at the first Ctrl-C."""


def run(work: Work) -> NoReturn:
    """Run it and exit: an error of ours, raised whole, means that nothing could start."""
    try:
        code = asyncio.run(_with_signals(work))
    except KeyboardInterrupt:
        code = SOME_FAILED
    except WatermarkError as error:
        print_error(error_text(error))
        code = NOTHING_STARTED
    except ModuleNotFoundError as error:
        print_error(install_hint(error))
        code = NOTHING_STARTED
    sys.exit(code)


async def _with_signals(work: Work) -> int:
    """The first signal asks the work to stop; the second is the usual, rougher one."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in _SIGNALS}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def asked(*_: object) -> None:
        restore()
        loop.call_soon_threadsafe(stop.set)

    for number in _SIGNALS:
        signal.signal(number, asked)
    try:
        return await work(stop)
    finally:
        restore()


async def wait_for_all(tasks: Sequence[asyncio.Task[Any]], stop: asyncio.Event) -> bool:
    """Wait for all tasks, but no longer than until `stop`; raises what the first of them raised, if one did."""
    stopped = asyncio.create_task(stop.wait())
    together = asyncio.create_task(asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION))
    waiting: list[asyncio.Task[Any]] = [stopped, together]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopped.cancel()
        together.cancel()
    for task in tasks:
        if task.done():
            task.result()
    return all(task.done() for task in tasks)


def print_error(text: str) -> None:
    """One sentence on stderr."""
    click.echo(f"{click.style('Error:', fg='red')} {printable(text)}", err=True)


def error_text(error: BaseException) -> str:
    """An error as a person reads it: what happened and what the provider answered."""
    if isinstance(error, WatermarkError):
        return f"{error.message} (answer: {error.answer})" if error.answer else error.message
    return str(error) or type(error).__name__


def printable(text: str) -> str:
    """A text that cannot steer a terminal, whatever a file was named."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)
