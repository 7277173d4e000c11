"""What a test says and asks about one emulated provider, and an emulator in a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

import aiowatermark as aw
from aiowatermark.emulator import CallbackScript, EmulatedProvider, Emulator, Fault
from aiowatermark.emulator.apis import APIS
from aiowatermark.emulator.controls import CALLBACKS, ProviderControls
from aiowatermark.emulator.pictures import sample_mask
from tests.support.callback_server import serve_callbacks
from tests.support.images import make_image, make_jpeg
from tests.support.videos import make_mp4

PHOTO = make_jpeg()
POLLED = ["gptge", "picwish", "kaze"]


async def remove(emulator: Emulator, name: str, *, deadline: float = 30) -> aw.Result:
    """Remove a watermark with any provider."""
    async with aw.Client(emulator.provider(name), deadline=deadline) as client:
        if name == "photoeraser":
            photo = emulator.host(make_image(kind="jpeg"), "photo.jpg")
            return await client.remove(photo, mask=sample_mask(300, 300))
        result = await client.remove(PHOTO)
        await result.read()
        return result


@pytest.fixture
def controlled(emulator: Emulator, request: pytest.FixtureRequest) -> EmulatedProvider:
    provider: EmulatedProvider = getattr(emulator, request.param)
    return provider


every_provider = pytest.mark.parametrize("controlled", APIS, indirect=True)
polled_provider = pytest.mark.parametrize("controlled", POLLED, indirect=True)


@every_provider
async def test_without_credits_a_submission_is_refused_until_there_are_some(
    emulator: Emulator, controlled: EmulatedProvider
) -> None:
    controlled.credits = 0
    with pytest.raises(aw.InsufficientCredits):
        await remove(emulator, controlled.name)
    assert controlled.charged == 0
    controlled.credits = 2
    await remove(emulator, controlled.name)
    assert (controlled.charged, controlled.credits) == (1, 1)


@every_provider
async def test_the_charges_tasks_and_credits_are_those_of_this_provider(
    emulator: Emulator, controlled: EmulatedProvider
) -> None:
    other = emulator.kaze if controlled.name != "kaze" else emulator.picwish
    await remove(emulator, controlled.name)
    assert (controlled.charged, controlled.credits, len(controlled.tasks)) == (1, 999, 1)
    assert (other.charged, other.credits, len(other.tasks)) == (0, 1000, 0)


@polled_provider
@pytest.mark.parametrize("polls", [1, 3])
async def test_a_job_is_done_at_the_chosen_poll(emulator: Emulator, controlled: EmulatedProvider, polls: int) -> None:
    controlled.processing = 1000
    controlled.polls_until_done = polls
    await remove(emulator, controlled.name)
    assert [task.queries for task in controlled.tasks] == [polls]


async def test_a_video_is_done_at_the_chosen_poll(emulator: Emulator) -> None:
    emulator.dewatermark.polls_until_done = 4
    async with aw.Client(emulator.provider("dewatermark")) as client:
        await client.remove(make_mp4(1000))
        await client.remove(PHOTO)
    assert [task.queries for task in emulator.dewatermark.tasks] == [4, 0]


async def test_the_processing_time_of_one_provider_is_not_that_of_the_others(
    emulator: Emulator, no_waiting: None
) -> None:
    emulator.kaze.processing = 100
    for name in ("kaze", "picwish"):
        await remove(emulator, name, deadline=200)
    (kaze,), (picwish,) = emulator.kaze.tasks, emulator.picwish.tasks
    assert kaze.completed_at - kaze.created_at == pytest.approx(100)
    assert picwish.completed_at == picwish.created_at


@pytest.mark.parametrize(
    ("callback", "deliveries"),
    [("usual", 1), ("early", 1), ("late", 1), ("repeated", 3), ("lost", 0), (CallbackScript(copies=2), 2)],
)
async def test_callbacks_come_as_chosen(
    emulator: Emulator, no_waiting: None, callback: str | CallbackScript, deliveries: int
) -> None:
    emulator.gptge.callback = callback
    emulator.gptge.processing = 10
    receiver = aw.CallbackReceiver("http://127.0.0.1")
    async with serve_callbacks(receiver), aw.Client(emulator.provider("gptge"), callbacks=receiver) as client:
        await client.remove(PHOTO)
        queries = [task.queries for task in emulator.gptge.tasks]
    assert queries == [1]
    # one that is late, or a copy, may come when its client has ended
    assert len(emulator.gptge.deliveries) in ({deliveries} if callback in {"usual", "early", "lost"} else range(4))
    assert emulator.gptge.charged == 1


def test_every_name_of_a_callback_is_what_it_says(emulator: Emulator) -> None:
    for name, script in CALLBACKS.items():
        emulator.picwish.callback = name
        assert emulator.picwish.callback == script
    emulator.picwish.callback = None
    assert emulator.picwish.callback is None


EVENTS: list[tuple[Callable[[EmulatedProvider], None], type[aw.WatermarkError] | None, int]] = [
    (lambda provider: provider.reject(400), aw.Rejected, 0),
    (lambda provider: provider.reject(401), aw.AuthenticationError, 0),
    (lambda provider: provider.limit_rate(0.25), None, 1),
    (lambda provider: provider.drop_request(), aw.SubmissionInDoubt, 0),
    (lambda provider: provider.drop_answer(), aw.SubmissionInDoubt, 1),
    (lambda provider: provider.stall_answer(), aw.SubmissionInDoubt, 1),
    (lambda provider: provider.stall_answer(10), None, 1),
    (lambda provider: provider.fail_upload(at_byte=10), aw.SubmissionInDoubt, 0),
    (lambda provider: provider.fail_job(), aw.JobFailed, 1),
    (lambda provider: provider.fail_job(refund=True), aw.JobFailed, 0),
    (lambda provider: provider.fail_query(times=2), None, 1),
    (lambda provider: provider.forget_task(), None, 1),
    (lambda provider: provider.forget_task(times=None), aw.WatermarkError, 1),
    (lambda provider: provider.fail_download(at_byte=5), None, 1),
    (lambda provider: provider.expire_result(), None, 1),
]


@polled_provider
@pytest.mark.parametrize(("event", "error", "charged"), EVENTS)
@pytest.mark.usefixtures("no_waiting")
async def test_an_event_happens_once_and_is_charged_as_it_says(
    emulator: Emulator,
    controlled: EmulatedProvider,
    event: Callable[[EmulatedProvider], None],
    error: type[aw.WatermarkError] | None,
    charged: int,
) -> None:
    event(controlled)
    if error is None:
        await remove(emulator, controlled.name)
    else:
        with pytest.raises(error):
            await remove(emulator, controlled.name)
    assert controlled.charged == charged


async def test_a_videos_upload_that_fails_is_repeated(emulator: Emulator, no_waiting: None) -> None:
    emulator.dewatermark.fail_upload(at_byte=100, times=2)
    async with aw.Client(emulator.provider("dewatermark")) as client:
        await client.remove(make_mp4(1000))
    assert emulator.dewatermark.charged == 1


async def test_an_event_of_one_provider_is_not_met_by_another(emulator: Emulator) -> None:
    emulator.kaze.reject(times=None)
    await remove(emulator, "picwish")
    with pytest.raises(aw.Rejected):
        await remove(emulator, "kaze")


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda emulator: emulator.pixwish, "No such provider or attribute: pixwish; did you mean picwish?"),
        (lambda emulator: emulator.chargd, "did you mean charged?"),
        (lambda emulator: emulator.picwish.charges, "attribute of emulator.picwish: charges; did you mean charged?"),
        (
            lambda emulator: setattr(emulator.kaze, "credit", 0),
            "attribute of emulator.kaze: credit; did you mean credits?",
        ),
        (lambda emulator: emulator.provider("kase"), "No such provider: kase; did you mean kaze?"),
        (lambda emulator: emulator.inject(Fault.expired(), step="reslt"), "did you mean result?"),
        (lambda emulator: setattr(emulator.gptge, "callback", "erly"), "No such callback: erly; did you mean early?"),
        (lambda emulator: setattr(emulator.gptge, "callback", "xx"), "valid names are early, late, lost"),
        (lambda emulator: setattr(emulator.kaze, "callback", "early"), "kaze sends no callbacks"),
        (lambda emulator: setattr(emulator.kaze, "polls_until_done", 0), "polls_until_done must be at least 1"),
        (lambda emulator: emulator.kaze.drop_answer(times=0), "times must be at least 1"),
    ],
)
def test_a_wrong_name_or_value_is_one_error_that_says_what_is_right(
    emulator: Emulator, use: Callable[[Emulator], object], message: str
) -> None:
    with pytest.raises((AttributeError, ValueError)) as raised:
        use(emulator)
    assert message in str(raised.value)


def test_the_typed_attributes_are_all_providers() -> None:
    assert {name for name in vars(ProviderControls) if not name.startswith("_")} == APIS.keys()


def test_a_provider_of_ones_own_is_found_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(APIS, "mine", APIS["kaze"])
    emulator: object = Emulator(restore=False)
    assert getattr(emulator, "mine").name == "mine"  # noqa: B009 - no attribute that a type checker knows


# in a thread


def test_an_emulator_in_a_thread_leaves_none() -> None:
    before = set(threading.enumerate())
    with Emulator(restore=False) as emulator:
        assert requests.get(emulator.host(PHOTO), timeout=10).content == PHOTO
        assert set(threading.enumerate()) != before
    assert set(threading.enumerate()) == before
    assert emulator.charged == dict.fromkeys(APIS, 0)


def test_an_emulator_that_cannot_open_raises_why_in_the_calling_thread() -> None:
    with Emulator(restore=False) as emulator:
        port = int(emulator.base_url.rpartition(":")[2])
        with pytest.raises(OSError, match="address already in use"), Emulator(restore=False, port=port):
            pass
        with pytest.raises(aw.InvalidInput, match="another event loop"), emulator:
            pass
        assert requests.get(emulator.host(PHOTO), timeout=10).content == PHOTO
    with emulator:
        assert emulator.base_url


def test_an_emulator_is_controlled_from_any_thread() -> None:
    with Emulator(restore=False, processing=0.0) as emulator, ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: emulator.kaze.reject(), range(500)))
        assert len(list(pool.map(lambda _: len(emulator.host(PHOTO)), range(100)))) == 100
        # each rejection is used once
        url = f"{emulator.base_url}/api/ext/v1/submit_watermark_removal"
        statuses = list(pool.map(lambda _: requests.post(url, json={}, timeout=10).status_code, range(501)))
    assert statuses.count(400) == 500
