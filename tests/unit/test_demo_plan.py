"""Which provider gets which photo in the demo."""

from __future__ import annotations

import pytest

from aiowatermark.cli.demo.samples import DemoPhoto, plan_demo
from aiowatermark.providers import built_in_names

SMALL, USUAL = (DemoPhoto(f"{width}.jpg", b"", "jpeg", width, width * 3 // 4) for width in (240, 400))


@pytest.mark.parametrize("jobs", [1, 4, 5, 9])
@pytest.mark.parametrize("photos", [(SMALL,), (SMALL, USUAL), (USUAL,)], ids=["small", "both", "usual"])
def test_as_many_jobs_are_done_as_were_asked_for_at_the_providers_that_accept_a_photo(
    photos: tuple[DemoPhoto, ...], jobs: int
) -> None:
    plan = plan_demo(photos, jobs)
    assert [number for number, _, _ in plan.assignments] == list(range(1, jobs + 1))
    accepting = [name for name in built_in_names() if USUAL in photos or name != "photoeraser"]
    assert {provider.name for _, provider, _ in plan.assignments} == set(accepting[:jobs])
    assert all(photo is USUAL for _, provider, photo in plan.assignments if provider.name == "photoeraser")
    refused = [note for note in plan.notes if note.startswith("Photo Eraser is not given 240.jpg: it has 240x180 pix")]
    assert len(refused) == (SMALL in photos)


def test_a_provider_without_a_job_is_named() -> None:
    assert "PicWish: no job; --jobs 4 or more gives each provider one" in plan_demo([SMALL], 3).notes
