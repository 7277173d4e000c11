"""Opening and closing are atomic: a clean start or one clear error, and nothing is left."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import aiowatermark as aw
from aiowatermark.callbacks.registry import registry_of
from aiowatermark.emulator import Emulator, pictures
from tests.support.processes import run_python
from tests.support.records import make_record
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until

Create = Callable[[], Any]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "jobs.db"


@pytest.fixture(params=["client", "client with a file", "callback server", "emulator"])
def create(request: pytest.FixtureRequest, path: Path) -> Create:
    """Creates an object that is opened by one user."""
    receiver = aw.CallbackReceiver("https://hooks.example")
    creators: dict[str, Create] = {
        "client": lambda: aw.Client(aw.Kaze("canary-1"), callbacks=receiver),
        "client with a file": lambda: aw.Client(aw.Kaze("canary-1"), store=aw.SQLiteStore(path), callbacks=receiver),
        "callback server": lambda: aw.CallbackServer(receiver, port=0),
        "emulator": lambda: Emulator(restore=False),
    }
    return creators[request.param]


@pytest.fixture(params=["file", "redis"])
def create_store(request: pytest.FixtureRequest, path: Path) -> Create:
    """Creates a store, which several users open together."""
    if request.param == "file":
        return lambda: aw.SQLiteStore(path)
    server: RedisServer = request.getfixturevalue("lifetime_server")
    return lambda: aw.RedisStore(server.url, lease=1.0)


@pytest.fixture(scope="module")
def lifetime_server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


def store_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("aiowatermark store")]


@pytest.fixture(autouse=True)
async def no_leftover_threads() -> AsyncIterator[None]:
    """Fail a test that leaves a thread of a store running."""
    yield
    await wait_until(lambda: not store_threads(), 3.0)


def run_in_a_thread(function: Callable[[], Awaitable[Any]]) -> Any:
    """Run on an event loop of its own, as `asyncio.run` does, and return the result."""

    async def run() -> Any:
        return await function()

    return asyncio.to_thread(asyncio.run, run())


async def close(thing: Any) -> None:
    await thing.__aexit__(None, None, None)


async def test_of_two_tasks_that_open_one_object_one_is_refused(create: Create) -> None:
    thing = create()
    opened = await asyncio.gather(*(thing.__aenter__() for _ in range(3)), return_exceptions=True)
    assert sorted(type(each).__name__ for each in opened) == sorted([type(thing).__name__, *["InvalidInput"] * 2])
    await close(thing)
    async with thing:
        pass


async def test_an_object_that_closes_is_not_opened_and_then_is(create: Create) -> None:
    thing = create()
    await thing.__aenter__()
    closing = asyncio.create_task(close(thing))
    await asyncio.sleep(0)
    with pytest.raises(aw.InvalidInput, match="closing"):
        await thing.__aenter__()
    again = asyncio.create_task(close(thing))
    await asyncio.gather(closing, again)
    async with thing:
        pass


async def test_a_cancelled_opening_leaves_an_object_that_can_be_opened(create: Create) -> None:
    thing = create()
    for steps in range(8):
        opening = asyncio.create_task(thing.__aenter__())
        for _ in range(steps):
            await asyncio.sleep(0)
        while not opening.done():
            opening.cancel()
            await asyncio.sleep(0)
        if not opening.cancelled():
            await close(thing)
    async with thing:
        pass


async def test_an_object_is_opened_and_closed_on_one_event_loop(create: Create) -> None:
    thing = create()
    async with thing:
        with pytest.raises(aw.InvalidInput, match="another event loop"):
            await run_in_a_thread(thing.__aenter__)
        with pytest.raises(aw.InvalidInput, match="another event loop"):
            await run_in_a_thread(lambda: close(thing))


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
async def test_an_object_that_its_event_loop_left_open_starts_afresh(create: Create) -> None:
    thing = create()
    await run_in_a_thread(thing.__aenter__)
    await run_in_a_thread(thing.__aenter__)
    async with thing:
        pass
    await asyncio.sleep(0)
    gc.collect()


async def test_outside_asyncio_an_error_says_what_is_needed(create: Create) -> None:
    opening = create().__aenter__()
    problem: list[BaseException] = []

    def drive() -> None:  # as trio would: without an event loop of asyncio
        try:
            opening.send(None)
        except BaseException as error:  # noqa: BLE001
            problem.append(error)

    await asyncio.to_thread(drive)
    assert isinstance(problem[0], aw.InvalidInput)
    assert "asyncio" in str(problem[0])


# stores


async def test_a_store_is_opened_by_several_tasks_and_closed_by_the_last(create_store: Create) -> None:
    store = create_store()
    await asyncio.gather(*(store.__aenter__() for _ in range(3)))
    await close(store)
    await close(store)
    assert await store.get("unknown") is None
    await close(store)
    await close(store)  # once too often
    async with store:
        assert await store.get("unknown") is None


async def test_a_store_that_is_closed_and_opened_at_once_is_open(create_store: Create) -> None:
    store = create_store()
    await store.__aenter__()
    for _ in range(3):
        await asyncio.gather(close(store), store.__aenter__())
        assert await store.get("unknown") is None
    await close(store)


async def test_a_store_closes_although_its_user_is_cancelled_again_and_again(create_store: Create) -> None:
    store = create_store()
    await store.__aenter__()
    closing = asyncio.create_task(close(store))
    await asyncio.sleep(0)
    while not closing.done():
        closing.cancel()
        await asyncio.sleep(0)
    assert closing.cancelled()
    await wait_until(lambda: not store_threads())  # a thread ends a moment after its file is closed
    async with store:
        assert await store.get("unknown") is None


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
async def test_a_store_that_its_event_loop_left_open_starts_afresh(create_store: Create) -> None:
    store = create_store()
    await run_in_a_thread(store.__aenter__)
    await run_in_a_thread(store.__aenter__)
    async with store:
        await store.forget(make_record())
        await store.open(make_record())
        assert await store.get("job-1") is not None
    gc.collect()


async def test_a_store_is_used_on_one_event_loop(create_store: Create) -> None:
    store = create_store()
    async with store:
        with pytest.raises(aw.InvalidInput, match="another event loop"):
            await run_in_a_thread(store.__aenter__)
    if isinstance(store, aw.SQLiteStore):
        async with store:
            with pytest.raises(aw.InvalidInput, match="another event loop"):
                await run_in_a_thread(lambda: store.get("unknown"))


# what a client leaves


async def test_a_client_is_used_on_one_event_loop(emulator: Emulator) -> None:
    async with aw.Client(emulator.provider("kaze")) as client:
        result = await client.remove(pictures.sample_photo())
        for use in (client.credits, lambda: client.remove("a.jpg"), result.read):
            with pytest.raises(aw.InvalidInput, match="another event loop"):
                await run_in_a_thread(use)


# the sockets of a loop that was left open are collected at any later time, with a warning: hence a process of its own
LEAVE_OPEN = """
import asyncio, pathlib, sys
from aiowatermark.emulator import Emulator
from tests.integration.lifetimes.test_opening import leave_open_and_recover
async def main():
    async with Emulator(restore=False) as emulator:
        emulator.processing = 60.0
        await leave_open_and_recover(emulator, pathlib.Path(sys.argv[1]))
asyncio.run(main())
"""


async def test_jobs_of_an_event_loop_that_left_a_client_open_are_recovered_by_the_same_client(path: Path) -> None:
    ignored = ("-W", "ignore::ResourceWarning")
    finished = await run_python(*ignored, "-c", LEAVE_OPEN, str(path), folder=Path(__file__).parents[3])
    assert finished.code == 0, finished.text


async def leave_open_and_recover(emulator: Emulator, path: Path) -> None:
    receiver = aw.CallbackReceiver("https://hooks.example")
    client = aw.Client(emulator.provider("gptge"), store=aw.SQLiteStore(path), callbacks=receiver)

    async def submit() -> None:
        await client.__aenter__()
        await client.submit(pictures.sample_photo(), key="order-1")

    await run_in_a_thread(submit)
    async with client:
        recovery = await client.recover()
        assert [handle.key for handle in recovery.resumed] == ["order-1"]
        assert not recovery.held
    assert not registry_of(receiver)._expected
    assert not registry_of(receiver)._attached


async def test_a_client_that_failed_to_open_leaves_nothing(path: Path) -> None:
    path.write_bytes(b"not a database at all, but long enough to be read as one" * 100)
    receiver = aw.CallbackReceiver("https://hooks.example")
    client = aw.Client(aw.Kaze("canary-1"), store=aw.SQLiteStore(path), callbacks=receiver)
    for _ in range(2):
        with pytest.raises(aw.StoreError):
            await client.__aenter__()
    assert not registry_of(receiver)._attached
    path.unlink()
    async with client:
        pass
