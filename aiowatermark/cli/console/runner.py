"""Runs a command's coroutine: signals, exit codes and error output.

A command passes `run` a coroutine function `work(stop)`. Signals reach it in two steps:

    first SIGINT or SIGTERM    sets `stop` and restores the previous handlers. Nothing is cancelled: `work` decides
                               what to finish (answers to paid requests) and what to cut short, and returns
    SIGINT after that          asyncio.run's handler: cancels the main task. `work` sees CancelledError (a batch prints
                               its report on the way out), and the process ends at once with EXIT_SOME_FAILED, as if it
                               were killed: what is still being closed is not waited for. Any other CancelledError is
                               an error of the program
    second SIGTERM             the default action: the process ends immediately

The first signal must not cancel: a cancelled submission may have been paid although its task id will never be known.

Exit codes, the same for all commands:

    EXIT_OK           0    everything was done
    EXIT_SOME_FAILED  1    something failed, or a signal stopped the command
    EXIT_NOT_STARTED  2    nothing could be started: `work` raised an SDK error or misses a package, or click refused
                           the options

Handlers are set with signal.signal and not with loop.add_signal_handler, because the previous ones (asyncio.run's for
SIGINT) must be restored for the second signal. Python runs them in the main thread between two bytecodes, also while
the loop sleeps; a wakeup file descriptor wakes the loop up.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, NoReturn

import click

from ... import WatermarkError
from .extras import install_hint
from .problems import error_text as error_text  # other modules take it from here
from .problems import problem_text
from .texts import printable as printable  # other modules take it from here
from .texts import shown_on

EXIT_OK, EXIT_SOME_FAILED, EXIT_NOT_STARTED = 0, 1, 2
_SIGNALS = (signal.SIGINT, signal.SIGTERM)

Work = Callable[[asyncio.Event], Awaitable[int]]
"""Does the command's work and returns its exit code; the event is set by the first Ctrl-C."""


def run(work: Work) -> NoReturn:
    """Run `work` and exit with its code; a WatermarkError that it raises means that nothing could be started."""
    try:
        code = asyncio.run(_run_with_signals(work))
    except KeyboardInterrupt:
        # raised by asyncio.run after the second Ctrl-C; the command has printed its report by now
        code = EXIT_SOME_FAILED
    except WatermarkError as error:
        print_error(problem_text(error))
        code = EXIT_NOT_STARTED
    except ModuleNotFoundError as error:
        print_error(install_hint(error))
        code = EXIT_NOT_STARTED
    sys.exit(code)


async def _run_with_signals(work: Work) -> int:
    """Run `work` with our handlers for the first signal, and for the SIGINT after it."""
    stop, loop, interrupted = asyncio.Event(), asyncio.get_running_loop(), False
    previous = {number: signal.getsignal(number) for number in _SIGNALS}

    def restore_handlers() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)

    def on_second_interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal interrupted
        interrupted = True
        restore_handlers()
        if callable(handler := previous[signal.SIGINT]):
            handler(number, frame)

    def on_first_signal(*_: object) -> None:
        restore_handlers()
        if callable(previous[signal.SIGINT]):  # else it is ignored, or ends the process
            signal.signal(signal.SIGINT, on_second_interrupt)
        loop.call_soon_threadsafe(stop.set)

    for number in _SIGNALS:
        signal.signal(number, on_first_signal)
    try:
        with _wake_loop_on_signals(loop):
            return await work(stop)
    except asyncio.CancelledError:
        if interrupted:
            _exit_at_once()
        raise
    finally:
        restore_handlers()


def _exit_at_once() -> NoReturn:
    """End the process: asyncio.run would wait for the tasks that are left, and these for answers of the network."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(EXIT_SOME_FAILED)


@contextmanager
def _wake_loop_on_signals(loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """Let every signal wake the event loop.

    Python runs a signal handler between two bytecodes. A signal that arrives just before the loop starts to wait for
    events would be handled only after the next event, which may be the end of a 20 s timer.
    """
    reader, writer = socket.socketpair()
    with reader, writer:
        reader.settimeout(0)
        writer.settimeout(0)
        loop.add_reader(reader, reader.recv, 4096)
        previous = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(previous)
            loop.remove_reader(reader)


async def wait_for_all(tasks: Sequence[asyncio.Task[Any]], stop: asyncio.Event) -> bool:
    """Wait until all tasks are done, one has raised, or `stop` is set; return whether all are done.

    Raises what a task raised. Cancels none of the tasks, also when it is cancelled itself.
    """
    stopped = asyncio.create_task(stop.wait())
    finished = asyncio.create_task(asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION))
    waiting: list[asyncio.Task[Any]] = [stopped, finished]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopped.cancel()
        finished.cancel()
    for task in tasks:
        if task.done():
            task.result()
    return all(task.done() for task in tasks)


def print_error(text: str) -> None:
    """Print `Error: TEXT` on stderr."""
    shown = shown_on(sys.stderr, text, len("Error: "))
    click.echo(f"{click.style('Error:', fg='red')} {shown}", err=True)
