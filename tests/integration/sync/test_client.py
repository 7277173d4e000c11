"""The synchronous client over real sockets: its verbs, handles, results and streams, in one thread and in many."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from functools import cache
from itertools import repeat
from pathlib import Path
from typing import Any

import pytest

import aiowatermark as aw
from aiowatermark import sync
from aiowatermark.emulator import Emulator, Fault, pictures
from aiowatermark.sync.wrapping import unwrap, wrap

PHOTO = pictures.sample_photo()


@cache
def photos(count: int) -> list[bytes]:
    return [pictures.sample_photo(seed=number) for number in range(count)]


def test_a_result_is_saved_and_read(client: sync.Client, tmp_path: Path) -> None:
    result = client.remove(PHOTO)
    assert result.save(tmp_path / "clean.jpg").read_bytes() == result.read()
    assert isinstance(result, sync.Result)
    assert result.outputs[0].info is not None
    assert result.acknowledge() is None  # type: ignore[func-returns-value]


def test_a_handle_gives_its_result_any_number_of_times(client: sync.Client) -> None:
    handle = client.submit(PHOTO, key="order-1")
    snapshots = list(handle.updates())
    assert snapshots[-1].status is aw.Status.SUCCEEDED
    assert handle.result().key == handle.result(timeout=10).key == "order-1"
    assert handle.done()
    assert client.resume(handle.token).result().key == "order-1"


def test_the_other_verbs_take_and_return_synchronous_objects(client: sync.Client) -> None:
    stamped, brush = pictures.stamp(PHOTO, pictures.sample_mark())
    better = client.refine(client.remove(stamped), brush=brush)
    assert isinstance(better, sync.Result)
    assert client.credits().available == 998
    assert client.forget("unknown") is False
    assert isinstance(client.recover(), sync.Recovery)
    with pytest.raises(aw.InvalidInput, match="not in doubt"):
        client.settle(better.key, paid=True)
    assert client.ready
    assert client.drain(10)
    assert not client.ready


def test_what_a_crash_left_is_recovered(threaded_emulator: Emulator, tmp_path: Path) -> None:
    provider, path = threaded_emulator.provider("gptge"), tmp_path / "jobs.db"
    with sync.Client(provider, store=aw.SQLiteStore(path), acknowledge="manual") as client:
        client.submit(PHOTO, key="order-1").result()
    with sync.Client(provider, store=aw.SQLiteStore(path)) as client:
        (result,) = client.recover().finished
        assert isinstance(result, sync.Result)
        assert result.read() == PHOTO


def test_a_timeout_leaves_the_job(tmp_path: Path) -> None:
    with (
        sync.open_in_thread(Emulator(restore=False, processing=0.3)) as emulator,
        sync.Client(emulator.provider("kaze")) as client,
    ):
        handle = client.submit(PHOTO)
        with pytest.raises(TimeoutError):
            handle.result(timeout=0.01)
        assert handle.result().read() == PHOTO


def test_a_function_that_is_called_at_the_end_may_wait_for_the_result(client: sync.Client) -> None:
    read: list[bytes] = []
    called = threading.Event()

    def read_result(outcome: sync.Result | BaseException) -> None:
        assert isinstance(outcome, sync.Result)
        read.append(outcome.read())
        called.set()

    client.submit(PHOTO).when_done(read_result)
    assert called.wait(20)
    assert read == [PHOTO]


def test_errors_are_those_of_the_asynchronous_client(client: sync.Client, threaded_emulator: Emulator) -> None:
    threaded_emulator.inject(Fault.dropped_after(), provider="dewatermark", step="submit")
    with pytest.raises(aw.SubmissionInDoubt) as caught:
        client.remove(PHOTO)
    assert caught.value.token
    with pytest.raises(aw.InvalidInput):
        client.remove(b"")


# threads and event loops


def test_many_threads_share_one_client(client: sync.Client, threaded_emulator: Emulator) -> None:
    def remove(number: int) -> bytes:
        return client.remove(PHOTO, key=f"order-{number % 4}").read()

    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(remove, range(32))) == {PHOTO}
    assert threaded_emulator.charged["dewatermark"] == 4


async def test_it_works_where_an_event_loop_is_running(client: sync.Client) -> None:
    """As in a cell of Jupyter."""
    assert client.remove(PHOTO).read() == PHOTO
    with sync.Client(client.provider) as another:
        assert another.remove(PHOTO).read() == PHOTO


@pytest.mark.parametrize("name", ["credits", "close"])
def test_a_call_in_a_progress_callback_is_refused_instead_of_waiting_for_ever(client: sync.Client, name: str) -> None:
    errors: list[BaseException] = []

    def on_progress(*_: object) -> None:
        try:
            getattr(client, name)()
        except aw.InvalidInput as error:
            errors.append(error)

    client.remove(PHOTO, progress=on_progress)
    assert errors
    assert "in its own thread" in str(errors[0])


def test_closing_ends_the_waits_of_other_threads() -> None:
    with sync.open_in_thread(Emulator(restore=False, processing=60.0)) as emulator:
        client = sync.Client(emulator.provider("kaze")).open()
        handle = client.submit(PHOTO)
        with ThreadPoolExecutor(3) as pool:
            waits: list[Future[Any]] = [
                pool.submit(handle.result),
                pool.submit(list, handle.updates()),
                pool.submit(client.drain),
            ]
            client.close()
            outcomes = [wait.exception(20) or wait.result() for wait in waits]
        assert all(isinstance(outcome, aw.WatermarkError | bool) for outcome in outcomes), outcomes
        client.close()  # a second time does nothing


def test_a_client_that_is_not_open_says_so_and_can_be_opened_again(client: sync.Client) -> None:
    closed = sync.Client(client.provider)
    for call in (closed.credits, lambda: closed.remove(PHOTO), lambda: closed.resume("token"), closed.recover):
        with pytest.raises(aw.InvalidInput, match="the client is not open: use it inside its `with` block"):
            call()
    with pytest.raises(aw.InvalidInput, match="the client is not open"):
        closed.stream([PHOTO])
    with closed, pytest.raises(aw.InvalidInput, match="already open"):
        closed.open()
    with closed:
        assert closed.credits().available == 1000


def test_an_asynchronous_client_that_a_client_gives_works_on_its_loop_and_does_not_end_it(client: sync.Client) -> None:
    wrapper: Any = client
    given = wrap(unwrap(client), wrapper._thread)
    assert isinstance(given, sync.Client)
    assert given.credits().available == 1000
    given.close()
    assert client.ready


def test_the_key_of_an_open_client_can_be_rotated(client: sync.Client, threaded_emulator: Emulator) -> None:
    client.provider = rotated = threaded_emulator.provider("dewatermark")
    assert client.provider.base_url == rotated.base_url
    assert client.remove(PHOTO).read() == PHOTO
    with pytest.raises(aw.InvalidInput):
        client.provider = threaded_emulator.provider("kaze")


def test_a_store_that_cannot_be_opened_leaves_no_thread(threaded_emulator: Emulator, tmp_path: Path) -> None:
    with pytest.raises(aw.StoreError):
        sync.Client(threaded_emulator.provider("kaze"), store=aw.SQLiteStore(tmp_path)).open()
    assert not [each for each in threading.enumerate() if each.name == "the client, loop"]


# streams


def test_a_stream_pulls_items_and_calls_functions_of_them_in_the_callers_thread(client: sync.Client) -> None:
    threads = set()

    def rows() -> Iterator[bytes]:
        for photo in photos(8):
            threads.add(threading.get_ident())
            yield photo

    def key(photo: bytes) -> str:
        threads.add(threading.get_ident())
        return f"order-{photos(8).index(photo)}"

    outcomes = list(client.stream(rows(), key=key))
    assert all(isinstance(outcome, sync.Done) for outcome in outcomes)
    assert {outcome.result.key for outcome in outcomes if isinstance(outcome, sync.Done)} == {
        f"order-{n}" for n in range(8)
    }
    assert threads == {threading.get_ident()}


def test_a_stream_of_rows_calls_all_its_functions_in_the_callers_thread(client: sync.Client) -> None:
    threads = set()

    def media(number: int) -> bytes:
        threads.add(threading.get_ident())
        return photos(8)[number]

    def mask(number: int) -> bytes | None:
        threads.add(threading.get_ident())
        return pictures.sample_mask(640, 480) if number % 2 else None

    outcomes = client.stream(range(4), media=media, mask=mask, key=lambda number: f"order-{number}")
    assert sorted(outcome.item for outcome in outcomes if isinstance(outcome, sync.Done)) == [0, 1, 2, 3]
    assert threads == {threading.get_ident()}


def test_outcomes_are_matched_and_their_results_are_synchronous(client: sync.Client) -> None:
    saved, failed = [], []
    for outcome in client.stream([PHOTO, b"not an image"]):
        match outcome:
            case sync.Done(media, result):
                saved.append((media, result.read()))
            case sync.Failed(media, error):
                failed.append((media, error.message))
    assert saved == [(PHOTO, PHOTO)]
    assert [media for media, _ in failed] == [b"not an image"]


def test_an_error_of_a_key_function_is_the_outcome_of_its_item(client: sync.Client) -> None:
    def key(photo: object) -> str:
        if photo is PHOTO:
            raise LookupError("no such row")
        return "order-2"

    outcomes = list(client.stream([PHOTO, pictures.sample_photo(seed=2)], key=key))
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Done", "Failed"]


def test_no_more_items_are_pulled_than_there_is_capacity_for(threaded_emulator: Emulator) -> None:
    pulled = []

    def rows() -> Iterator[bytes]:
        for number, photo in enumerate(repeat(PHOTO, 12)):
            pulled.append(number)
            yield photo

    limits = aw.Limits(in_flight=3)
    with sync.Client(threaded_emulator.provider("kaze"), limits=limits) as client:
        for count, _ in enumerate(client.stream(rows()), start=1):
            assert len(pulled) <= count + 3
    assert len(pulled) == 12


def test_what_was_pulled_before_the_items_failed_is_yielded(client: sync.Client) -> None:
    def rows() -> Iterator[bytes]:
        yield from photos(3)
        raise OSError("the cursor was closed")

    outcomes: list[sync.Outcome[bytes]] = []
    with pytest.raises(OSError, match="the cursor was closed"):
        outcomes.extend(client.stream(rows()))
    stream = client.stream(rows())
    assert [isinstance(next(stream), sync.Done) for _ in range(3)] == [True] * 3
    with pytest.raises(OSError, match="the cursor was closed"):
        next(stream)


@pytest.mark.parametrize("leave", ["close", "break"])
def test_leaving_a_stream_stops_it(threaded_emulator: Emulator, leave: str) -> None:
    pulled = []

    def rows() -> Iterator[bytes]:
        for number, photo in enumerate(repeat(PHOTO, 100)):
            pulled.append(number)
            yield photo

    with sync.Client(threaded_emulator.provider("kaze"), limits=aw.Limits(in_flight=2)) as client:
        if leave == "close":
            with closing(client.stream(rows())) as outcomes:
                next(outcomes)
        else:
            for _ in client.stream(rows()):
                break
        count = len(pulled)
        client.credits()
        assert client.drain(20)
        assert len(pulled) == count < 10
        assert threaded_emulator.charged["kaze"] <= count


def test_an_error_in_the_pulling_thread_that_is_no_exception_leaves_the_stream(client: sync.Client) -> None:
    def rows() -> Iterator[bytes]:
        yield PHOTO
        raise KeyboardInterrupt  # a signal that arrives while an item is pulled

    with pytest.raises(KeyboardInterrupt):
        list(client.stream(rows()))
    assert client.remove(PHOTO).read() == PHOTO


def test_one_medium_is_refused_as_items_before_the_first_outcome(client: sync.Client) -> None:
    with pytest.raises(aw.InvalidInput, match="many items"):
        client.stream(PHOTO)  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]
