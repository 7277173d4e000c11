"""The private event loop: any thread runs coroutines on it, nobody waits for ever, and misuse is one clear error."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import ContextVar

import pytest

from aiowatermark import InvalidInput
from aiowatermark.sync.loop_thread import LoopCall, LoopThread


@pytest.fixture
def thread() -> Iterator[LoopThread]:
    """A thread whose loop runs."""
    running = LoopThread("the client")
    running.start()
    yield running
    running.stop()


async def wait_for_ever(started: threading.Event) -> None:
    started.set()
    await asyncio.Event().wait()


def test_a_value_and_an_error_reach_the_caller(thread: LoopThread) -> None:
    async def divide(a: int, b: int) -> float:
        return a / b

    assert thread.run(lambda: divide(6, 2)) == 3
    with pytest.raises(ZeroDivisionError):
        thread.run(lambda: divide(6, 0))


def test_it_can_be_used_in_many_threads_and_where_a_loop_is_running(thread: LoopThread) -> None:
    async def double(number: int) -> int:
        await asyncio.sleep(0)
        return number * 2

    async def main() -> int:
        return thread.run(lambda: double(21))

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(lambda n: thread.run(lambda: double(n)), range(500))) == [n * 2 for n in range(500)]
    assert asyncio.run(main()) == 42


def test_context_variables_are_those_of_the_caller(thread: LoopThread) -> None:
    variable: ContextVar[str] = ContextVar("variable", default="")
    variable.set("a request")

    async def read() -> str:
        return variable.get()

    assert thread.run(read) == "a request"


def test_an_interrupted_caller_cancels_its_coroutine_and_waits_for_its_end(thread: LoopThread) -> None:
    started, ended = threading.Event(), []

    async def end_slowly() -> None:
        try:
            await wait_for_ever(started)
        except asyncio.CancelledError:
            await asyncio.sleep(0.01)
            ended.append(True)
            raise

    call = LoopCall(end_slowly)
    thread.begin(call)
    assert started.wait(10)
    thread.cancel(call)
    assert ended == [True]


@pytest.fixture
def interruptions() -> Iterator[None]:
    """SIGINT raises KeyboardInterrupt; a process that a shell starts in the background ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptions")
def test_a_second_interruption_ends_the_wait_for_a_coroutine_that_does_not_end(thread: LoopThread) -> None:
    started, cancelled, interrupted = threading.Event(), threading.Event(), threading.get_ident()

    async def end_on_the_second_cancellation() -> None:
        with suppress(asyncio.CancelledError):
            await wait_for_ever(started)
        await wait_for_ever(cancelled)

    def interrupt_twice() -> None:
        for event in (started, cancelled):
            event.wait(60)
            signal.pthread_kill(interrupted, signal.SIGINT)

    interrupting = threading.Thread(target=interrupt_twice)
    interrupting.start()
    with pytest.raises(KeyboardInterrupt):
        thread.run(end_on_the_second_cancellation)
    assert cancelled.is_set()
    interrupting.join()


def test_a_coroutine_that_was_cancelled_may_return_a_value(thread: LoopThread) -> None:
    started = threading.Event()

    async def return_all_the_same() -> int:
        with suppress(asyncio.CancelledError):
            await wait_for_ever(started)
        return 7

    call = LoopCall(return_all_the_same)
    thread.begin(call)
    assert started.wait(10)
    thread.cancel(call)
    assert call.outcome.result() == 7


def test_a_call_that_is_interrupted_before_it_begins_never_begins(thread: LoopThread) -> None:
    async def begin() -> None:
        raise AssertionError

    call = LoopCall(begin)
    thread._calls.add(call)  # interrupted between this and the next step of `begin`
    thread.cancel(call)
    thread.begin(call)
    thread.run(lambda: asyncio.sleep(0))
    with pytest.raises(InvalidInput, match="interrupted"):
        call.outcome.result()


def test_a_caller_that_waits_while_the_loop_ends_gets_an_error(thread: LoopThread) -> None:
    started, errors = threading.Event(), []

    def wait() -> None:
        try:
            thread.run(lambda: wait_for_ever(started))
        except InvalidInput as error:
            errors.append(str(error))

    waiting = threading.Thread(target=wait)
    waiting.start()
    assert started.wait(10)
    thread.stop()
    waiting.join(10)
    assert len(errors) == 1
    assert "closed meanwhile" in errors[0]


def test_calls_and_stops_that_race_all_end() -> None:
    for _ in range(50):
        thread = LoopThread("the client")
        thread.start()
        with ThreadPoolExecutor(8) as pool:
            calls = [pool.submit(thread.run, lambda: asyncio.sleep(0, "slept")) for _ in range(20)]
            pool.submit(thread.stop)
        outcomes = [call.exception() or call.result() for call in calls]
        assert all(outcome == "slept" or isinstance(outcome, InvalidInput) for outcome in outcomes)


def test_a_call_before_the_start_and_after_the_end_is_refused(thread: LoopThread) -> None:
    with pytest.raises(InvalidInput, match="the client is not open: use it inside its `with` block"):
        LoopThread("the client").run(lambda: asyncio.sleep(0))
    thread.stop()
    with pytest.raises(InvalidInput, match="the client is not open"):
        thread.run(lambda: asyncio.sleep(0))


def test_a_process_is_another_one_only_for_a_thread_that_was_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that is made before a fork may be opened in the child."""
    thread = LoopThread("the client")
    monkeypatch.setattr("aiowatermark.sync.loop_thread.os.getpid", lambda: 1)
    with pytest.raises(InvalidInput, match="not open"):
        thread.run(lambda: asyncio.sleep(0))
    thread.start()
    assert thread.run(lambda: asyncio.sleep(0, "slept")) == "slept"
    thread.stop()


def test_a_stream_that_the_garbage_collector_closes_while_its_thread_posts_is_closed(thread: LoopThread) -> None:
    ended = threading.Event()

    async def end() -> None:
        ended.set()

    thread._post(lambda: None)
    with thread._lock:
        thread.finish(end)
    assert ended.wait(10)


def test_a_call_on_its_own_thread_is_refused_instead_of_waiting_for_ever(thread: LoopThread) -> None:
    async def call_again() -> None:
        thread.run(lambda: asyncio.sleep(0))

    with pytest.raises(InvalidInput, match="in its own thread"):
        thread.run(call_again)


def test_what_ends_something_is_not_awaited_on_the_loops_own_thread(thread: LoopThread) -> None:
    ended = threading.Event()

    async def end() -> None:
        ended.set()

    async def finish() -> None:
        thread.finish(end)

    thread.run(finish)
    assert ended.wait(10)


def test_it_is_a_daemon_so_that_an_interpreter_can_exit(thread: LoopThread) -> None:
    (own,) = [each for each in threading.enumerate() if each.name == "the client, loop"]
    assert own.daemon


def test_a_loop_that_is_killed_by_a_callback_leaves_no_caller_waiting() -> None:
    thread = LoopThread("the client")
    thread.start()

    async def kill() -> None:
        asyncio.get_running_loop().stop()
        await asyncio.Event().wait()

    with pytest.raises(InvalidInput, match="closed meanwhile"):
        thread.run(kill)
