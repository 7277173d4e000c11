"""Every path of every provider, through a client and the emulator: polled where the job was made, also after a restart.

The emulator answers 404 to a query below another path than that of the task's submission.
"""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen
from PIL import Image, ImageChops, ImageStat

import aiowatermark as aw
from aiowatermark.emulator import Emulator, Fault
from tests.support.callback_server import serve_callbacks
from tests.support.images import make_image, make_mask
from tests.support.log_search import KEYS
from tests.support.manual_clock import ManualClock

BOXES = aw.Boxes([(5, 6, 40, 30), (100, 200, 1, 1)])
IMAGE, MASK = make_image(300, 300, "jpeg"), make_mask(300, 300)


@frozen
class Case:
    """A job that takes one path of a provider: its options, and what the emulator charges for it, in credits."""

    provider: str
    path: str
    options: dict[str, Any]
    price: float = 1


PATHS = [
    Case("picwish", "/api/tasks/visual/external/watermark-remove", {}),
    Case("picwish", "/api/tasks/visual/advanced/watermark-remove", {"tier": "advanced"}, 2),
    Case("picwish", "/api/tasks/visual/inpaint", {"mask": MASK}),
    Case("picwish", "/api/tasks/visual/inpaint", {"mask": BOXES}),
    Case("gptge", "/task/pic/watermark_auto", {}),
    Case("gptge", "/task/pic/watermark", {"mask": MASK}),
    Case("gptge", "/task/pic/watermark", {"mask": BOXES}),
    Case("kaze", "", {"mask": BOXES}),
    Case("photoeraser", "", {"mask": BOXES}),
    Case("photoeraser", "", {"mask": MASK}),
]
each_path = pytest.mark.parametrize(
    "case", PATHS, ids=[f"{case.provider} {case.path} {type(case.options.get('mask')).__name__}" for case in PATHS]
)


@pytest.fixture
def clock() -> ManualClock:
    """The emulator's clock, which only the test moves."""
    return ManualClock()


@pytest.fixture
async def slow_emulator(clock: ManualClock) -> AsyncIterator[Emulator]:
    """An emulator whose jobs take until the test moves its clock."""
    async with Emulator(restore=False, processing=100.0, clock=clock, keys=KEYS) as running:
        yield running


def media(emulator: Emulator, case: Case) -> Any:
    return emulator.host(IMAGE, "a.jpg") if case.provider == "photoeraser" else IMAGE


@each_path
async def test_a_job_ends_on_its_path_and_costs_what_the_provider_charged(emulator: Emulator, case: Case) -> None:
    async with aw.Client(emulator.provider(case.provider)) as client:
        result = await client.remove(media(emulator, case), **case.options)
        assert await result.read() == IMAGE
    (task,) = emulator.tasks
    assert (task.path, task.charges, task.price) == (case.path, 1, case.price)
    # only PicWish says what a task cost
    assert result.charged == (aw.Charge(case.price, "answer") if case.provider == "picwish" else None)


@each_path
async def test_after_a_restart_a_job_is_polled_where_it_was_made(
    slow_emulator: Emulator, clock: ManualClock, tmp_path: Path, case: Case
) -> None:
    provider = slow_emulator.provider(case.provider)
    async with aw.Client(provider, store=aw.SQLiteStore(tmp_path / "jobs.db"), drain=0) as client:
        handle = await client.submit(media(slow_emulator, case), key="order-1", **case.options)
        token = handle.token
    clock.now += 100
    async with aw.Client(provider, store=aw.SQLiteStore(tmp_path / "jobs.db")) as client:
        (resumed,) = (await client.recover()).resumed
        recovered = await resumed
    async with aw.Client(provider) as client:
        by_token = await client.resume(token)
    assert url_of(recovered)
    assert url_of(by_token)
    assert recovered.charged == by_token.charged
    assert slow_emulator.charged[case.provider] == 1


def url_of(result: aw.Result) -> str:
    assert result.url is not None
    return result.url


@each_path
async def test_a_doubt_that_is_settled_with_a_task_id_is_polled_where_the_job_was_made(
    emulator: Emulator, tmp_path: Path, case: Case
) -> None:
    source = media(emulator, case)
    emulator.inject(Fault.dropped_after(), provider=case.provider, step="submit")
    async with aw.Client(emulator.provider(case.provider), store=aw.SQLiteStore(tmp_path / "jobs.db")) as client:
        with pytest.raises(aw.SubmissionInDoubt):
            await client.submit(source, key="order-1", **case.options)
        await client.settle("order-1", task_id=emulator.tasks[0].task_id)
        assert url_of(await client.remove(source, key="order-1", **case.options))
    assert emulator.charged[case.provider] == 1


@each_path
async def test_an_expired_link_is_requested_again_where_the_job_was_made(emulator: Emulator, case: Case) -> None:
    async with aw.Client(emulator.provider(case.provider)) as client:
        result = await client.remove(media(emulator, case), **case.options)
        emulator.inject(Fault.expired(), step="result")
        assert await result.read() == IMAGE


@pytest.mark.parametrize("case", [case for case in PATHS if case.provider == "picwish"])
async def test_a_result_is_stored_with_what_it_cost(emulator: Emulator, tmp_path: Path, case: Case) -> None:
    provider = emulator.provider("picwish")
    for _ in range(2):
        async with aw.Client(provider, store=aw.SQLiteStore(tmp_path / "jobs.db")) as client:
            result = await client.remove(IMAGE, key="order-1", **case.options)
            assert result.charged == aw.Charge(case.price, "answer")
    assert emulator.charged["picwish"] == 1


async def test_a_result_that_is_larger_than_its_input_is_kept_and_said(
    emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    larger = make_image(600, 600)
    caplog.set_level("INFO", "aiowatermark")
    async with aw.Client(emulator.provider("picwish")) as client:
        result = await client.remove(make_image(300, 300), tier="advanced", key="order-1")
        emulator.inject(Fault.status(200, body=larger), step="result")
        assert await result.read() == larger
    assert "job order-1: the result has 600x600 pixels, its input 300x300" in caplog.text
    assert result.outputs[0].info is not None
    assert (result.outputs[0].info.width, result.outputs[0].info.height) == (600, 600)


@pytest.mark.parametrize("options", [{"tier": "advanced"}, {"mask": MASK}], ids=["advanced", "mask"])
async def test_where_a_call_takes_no_callback_the_job_is_polled_as_usual(
    emulator: Emulator, options: dict[str, Any]
) -> None:
    async with (
        serve_callbacks() as server,
        aw.Client(emulator.provider("picwish"), callbacks=server.receiver) as client,
    ):
        result = await client.remove(IMAGE, **options)
    assert result.record.callback is None
    assert not emulator.deliveries


async def test_a_job_with_a_mask_at_gptge_is_called_back(emulator: Emulator) -> None:
    async with serve_callbacks() as server, aw.Client(emulator.provider("gptge"), callbacks=server.receiver) as client:
        await client.remove(IMAGE, mask=MASK)
        assert url_of(await client.remove(IMAGE, mask=BOXES))
    assert [delivery.status for delivery in emulator.deliveries] == [200, 200]


async def test_the_balance_of_picwish_is_what_is_left_in_its_packages(emulator: Emulator) -> None:
    async with aw.Client(emulator.provider("picwish")) as client:
        await client.remove(IMAGE, tier="advanced")
        assert await client.credits() == aw.Credits(emulator.balance["picwish"], 2.0)


@pytest.mark.parametrize(("state", "retryable"), [(-7, False), (-14, False), (-8, True), (-15, True)])
@pytest.mark.parametrize("options", [{}, {"tier": "advanced"}, {"mask": MASK}], ids=["usual", "advanced", "mask"])
async def test_a_failure_at_picwish_tells_another_picture_from_later(
    emulator: Emulator, options: dict[str, Any], state: int, retryable: bool
) -> None:
    emulator.inject(Fault.failed(state=state, refund=True), provider="picwish")
    async with aw.Client(emulator.provider("picwish")) as client:
        with pytest.raises(aw.JobFailed) as caught:
            await client.remove(IMAGE, **options)
    assert caught.value.retryable is retryable
    assert caught.value.snapshot is not None
    assert caught.value.snapshot.charged == aw.Charge(0.0, "answer")


@pytest.mark.parametrize("status", [7, 8])
async def test_a_photo_eraser_task_of_an_upper_status_has_failed_with_its_trace_id(
    emulator: Emulator, status: int
) -> None:
    emulator.inject(Fault.failed(state=status), provider="photoeraser")
    async with aw.Client(emulator.provider("photoeraser")) as client:
        with pytest.raises(aw.JobFailed) as caught:
            await client.remove(emulator.host(IMAGE, "a.jpg"), mask=MASK)
    assert caught.value.snapshot is not None
    assert len(caught.value.snapshot.details["trace_id"]) == 32


async def test_another_vendors_task_at_gptge_is_never_a_result(emulator: Emulator) -> None:
    foreign = {"id": "t-1", "status": "succeeded", "output": ["https://example.com/another.png"]}
    emulator.inject(Fault.status(200, body=foreign), provider="gptge", step="query", times=3)
    async with aw.Client(emulator.provider("gptge")) as client:
        result = await client.remove(IMAGE)
        assert await result.read() == IMAGE
    assert emulator.tasks[0].queries == 1


# Dewatermark answers at once


@pytest.mark.parametrize(("version", "options", "price"), [("v2", {}, 1), ("v3", {}, 1), ("v2", {"pro": True}, 3)])
async def test_every_image_call_of_dewatermark_can_be_refined_with_boxes_and_costs_its_price(
    emulator: Emulator, version: str, options: dict[str, Any], price: float
) -> None:
    async with aw.Client(emulator.provider("dewatermark", version=version)) as client:
        result = await client.remove(IMAGE, **options)
        assert result.charged == aw.Charge(price, "price list")
        for _ in range(2):
            result = await client.refine(result, brush=BOXES)
            assert result.charged == aw.Charge(1.0, "price list")
        assert await client.credits() == aw.Credits(1000 - price - 2)
    assert emulator.balance["dewatermark"] == 1000 - price - 2


async def test_a_json_refusal_of_dewatermark_that_speaks_of_credits_is_about_money(emulator: Emulator) -> None:
    for status, body in ((400, {"error": "not enough credits"}), (402, {"message": ""}), (403, {"error": "no"})):
        emulator.inject(Fault.status(status, body=body), provider="dewatermark")
        async with aw.Client(emulator.provider("dewatermark")) as client:
            with pytest.raises(aw.InsufficientCredits):
                await client.remove(IMAGE)


# what is removed


def pixels(data: bytes) -> Image.Image:
    with Image.open(io.BytesIO(data)) as image:
        return image.convert("RGB")


AREA = (100, 80, 160, 120)
SPOT = aw.Boxes([(100, 80, 60, 40)])


def spotted(kind: str) -> bytes:
    image = Image.linear_gradient("L").resize((300, 300)).convert("RGB")
    image.paste((255, 0, 0), AREA)
    data = io.BytesIO()
    image.save(data, kind, quality=100, subsampling=0)
    return data.getvalue()


@pytest.mark.parametrize("name", ["picwish", "gptge", "kaze", "photoeraser", "dewatermark"])
async def test_what_is_in_the_boxes_is_removed_and_nothing_else(name: str) -> None:
    kind = "JPEG" if name == "dewatermark" else "PNG"
    before = pixels(spotted(kind))
    async with Emulator(processing=0.0, keys=KEYS) as emulator:
        source: Any = emulator.host(spotted(kind), "a.png") if name == "photoeraser" else spotted(kind)
        async with aw.Client(emulator.provider(name)) as client:
            result = await client.remove(source, mask=SPOT)
            after = pixels(await result.read())
    mean = ImageStat.Stat(after.crop(AREA)).mean
    assert abs(mean[0] - mean[1]) < 20
    # inpainting grows the area by a pixel; JPEG changes others by its blocks
    changed = ImageChops.difference(before, after).convert("L").point([255 * (level > 24) for level in range(256)])
    left, top, right, bottom = changed.getbbox() or (0, 0, 0, 0)
    margin = 16 if kind == "JPEG" else 2
    assert min(left - AREA[0], top - AREA[1]) >= -margin
    assert max(right - AREA[2], bottom - AREA[3]) <= margin
    assert (right - left) * (bottom - top) >= 60 * 40 * 0.9
