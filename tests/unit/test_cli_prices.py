"""What jobs will cost: documented, the average of jobs that should cost the same, or not known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from aiowatermark import Dewatermark, PicWish, Provider
from aiowatermark.cli.batch.items import BatchItem, Plan
from aiowatermark.cli.batch.output_folder import OutputFolder
from aiowatermark.cli.batch.planning.plan_texts import describe_plans
from aiowatermark.cli.batch.planning.prices import cost_group_of, describe_cost, find_prices, format_amount

PICWISH, ADVANCED = PicWish("canary-1"), {"tier": "advanced"}


@pytest.fixture
def outputs(tmp_path: Path) -> Iterator[OutputFolder]:
    folder = OutputFolder(tmp_path, uses_manifest=True)
    folder.prepare()
    yield folder
    folder.close()


def new(*names: str) -> list[BatchItem]:
    return [BatchItem(name, key=name, plan=Plan.NEW) for name in names]


async def note(
    outputs: OutputFolder, provider: Provider, options: Mapping[str, object], *charges: tuple[str, float]
) -> None:
    for source, charge in charges:
        await outputs.add_charge(cost_group_of(provider, options, source), charge)


async def cost_of(outputs: OutputFolder, provider: Provider, options: Mapping[str, object], *names: str) -> str:
    return describe_cost(await find_prices(provider, options, outputs), new(*names))


async def test_jobs_with_other_options_say_nothing_of_the_price(outputs: OutputFolder) -> None:
    await note(outputs, PICWISH, {}, *[("a.jpg", 1.0)] * 6)
    assert (
        await cost_of(outputs, PICWISH, {}, "b.jpg") == "1 job, about 1 credit (earlier images cost 1 each on average)"
    )
    unknown = "1 job; what it costs is not known, as PicWish documents no price"
    assert await cost_of(outputs, PICWISH, ADVANCED, "b.jpg") == unknown
    await note(outputs, PICWISH, ADVANCED, ("b.jpg", 2.0))
    about = "2 jobs, about 4 credits (earlier images cost 2 each on average)"
    assert await cost_of(outputs, PICWISH, ADVANCED, "c.jpg", "d.jpg") == about


async def test_options_that_are_given_as_they_are_by_default_are_the_same_options(outputs: OutputFolder) -> None:
    await note(outputs, PICWISH, {}, ("a.jpg", 1.0))
    assert "about 1 credit" in await cost_of(outputs, PICWISH, dict(PICWISH.resolve_options({})), "b.jpg")


@pytest.mark.parametrize(
    "other", [PicWish("canary-1", base_url="http://127.0.0.1:1"), Dewatermark("canary-1")], ids=["address", "provider"]
)
async def test_jobs_of_another_provider_or_address_say_nothing_of_the_price(
    outputs: OutputFolder, other: Provider
) -> None:
    await note(outputs, other, {}, ("a.jpg", 7.0))
    assert "not known" in await cost_of(outputs, PICWISH, {}, "b.jpg")


async def test_videos_and_images_have_prices_of_their_own(outputs: OutputFolder) -> None:
    provider = Dewatermark("canary-1")
    assert await cost_of(outputs, provider, {}, "a.mp4") == "1 job; what it costs is not known beforehand"
    mixed = "3 jobs, 2 credits and the price of 1 video (1 for an image)"
    assert await cost_of(outputs, provider, {}, "a.jpg", "b.jpg", "a.mp4") == mixed
    await note(outputs, provider, {}, ("b.mp4", 10.0), ("c.mp4", 5.0))
    about = "2 jobs, about 8.5 credits (1 for an image, earlier videos cost 7.5 each on average)"
    assert await cost_of(outputs, provider, {}, "a.jpg", "a.mp4") == about


async def test_averages_are_rounded(outputs: OutputFolder) -> None:
    await note(outputs, PICWISH, {}, *[("a.jpg", 1.0)] * 5, *[("b.jpg", 2.0)] * 4)
    about = "3 jobs, about 4.33 credits (earlier images cost 1.44 each on average)"
    assert await cost_of(outputs, PICWISH, {}, "a.jpg", "b.jpg", "c.jpg") == about


@pytest.mark.parametrize(
    ("amount", "shown"), [(0, "0"), (0.001, "0.01"), (1, "1"), (2.44444, "2.44"), (10, "10"), (1234567.5, "1234567.5")]
)
def test_a_price_is_shown_with_two_decimals_at_most_and_never_as_nothing(amount: float, shown: str) -> None:
    assert format_amount(amount) == shown


async def test_a_result_that_is_only_to_be_saved_does_not_continue_at_the_provider() -> None:
    at_provider, finished = (BatchItem(name, plan=Plan.OPEN) for name in ("a.jpg", "b.jpg"))
    elsewhere, finished.ended_before = BatchItem("c.jpg", plan=Plan.OPEN, elsewhere="another address"), True
    assert describe_plans([at_provider, finished, elsewhere]) == "2 to be saved, 1 continue"


async def test_the_line_of_a_run_names_inputs_of_the_same_content_which_are_paid_once(outputs: OutputFolder) -> None:
    items = [*new("a.jpg", "b.jpg"), *new("a.jpg", "a.jpg")]
    prices = await find_prices(Dewatermark("canary-1"), {}, outputs)
    same = "(2 inputs have the same content as others)"
    assert describe_plans(items, prices) == f"4 new at Dewatermark {same}, up to 2 credits (1 for an image)"
    assert describe_cost(prices, items) == f"2 jobs {same}, 2 credits (1 for an image)"
