"""The page of --report in Chromium: sliders, filter and search, hostile texts, small and large windows."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from aiowatermark.cli.report.page import ReportText, write_report
from aiowatermark.cli.report.rows import ReportRow, ReportRows
from tests.support.chromium import Page, open_page
from tests.support.images import make_image

pytestmark = pytest.mark.slow

HOSTILE = "</script><script>document.title='run'</script><img src=x onerror=alert(1)>\"'&{{script}}\x1b[31m\u202e.jpg"
CARDS = "[...document.querySelectorAll('.card')]"
VISIBLE = f"{CARDS}.filter((card) => !card.hidden).map((card) => card.querySelector('h2').textContent)"
IS_DRAWN = "(card) => card.querySelector('h2').checkVisibility({contentVisibilityAuto: true})"
DRAWN = f"{CARDS}.filter({IS_DRAWN}).length"
NEXT_FRAMES = "new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve))).then(() => true)"
RIGHTMOST = "Math.max(...[...document.querySelectorAll('body *')].map((each) => each.getBoundingClientRect().right))"
SLIDER = "document.querySelector('.compare input')"
AT = "getComputedStyle(document.querySelector('.compare')).getPropertyValue('--at')"


def make_rows(folder: Path, count: int = 3) -> list[ReportRow]:
    """Return rows that are done, of a dark image before and a light one after, and two that failed."""
    (folder / "before.jpg").write_bytes(make_image(800, 600, "jpeg", shade=20))
    (folder / "after.png").write_bytes(make_image(800, 600, "png", shade=235))
    pair = folder / "before.jpg", folder / "after.png"
    done = [ReportRow(f"photo {number}.jpg", *pair, "done", "Kaze", 1.25, 1) for number in range(1, count + 1)]
    failed = [
        ReportRow("broken.jpg", folder / "none.jpg", None, "failed", "PicWish", 0.5, None, "no credits left"),
        ReportRow(HOSTILE, None, None, "failed", "PicWish", None, None, HOSTILE, HOSTILE),
    ]
    return [*done, *failed]


@pytest.fixture
async def page(tmp_path: Path) -> AsyncIterator[Page]:
    """A page of Chromium; a test fails if a page logged something, or asked for anything but itself."""
    async with open_page(tmp_path) as opened:
        yield opened
        assert opened.messages == []
        assert {url.partition("#")[0] for url in opened.requests} <= {(tmp_path / "out/index.html").as_uri()}


async def show(page: Page, folder: Path, rows: list[ReportRow], width: int = 1000, **options: bool) -> Path:
    """Write a report and open it."""
    path = folder / "out/index.html"
    path.parent.mkdir(exist_ok=True)
    write_report(path, ReportRows.of(rows), ReportText("aiowatermark remove", 12.5))
    await page.resize(width, 900, **options)
    await page.open(path)
    return path


async def box_of(page: Page, selector: str) -> dict[str, float]:
    """Return left, top, width and height of an element."""
    text = await page.evaluate(f"JSON.stringify(document.querySelector({selector!r}).getBoundingClientRect())")
    box: dict[str, float] = json.loads(text)
    return box


async def colour_at(page: Page, x: float, y: float) -> Any:
    """Return the brightness of a pixel on the screen."""
    return Image.open(BytesIO(await page.screenshot())).convert("L").getpixel((round(x), round(y)))


async def test_the_arrow_keys_move_the_slider_and_its_focus_is_visible(page: Page, tmp_path: Path) -> None:
    await show(page, tmp_path, make_rows(tmp_path))
    await page.evaluate("document.querySelector('select').focus()")
    await page.press("Tab")
    assert await page.evaluate(f"document.activeElement === {SLIDER}")
    assert await page.evaluate("getComputedStyle(document.querySelector('.compare')).outlineStyle") == "solid"
    await page.press("ArrowRight")
    assert await page.evaluate(AT) == "55%"
    await page.press("ArrowLeft")
    await page.press("ArrowLeft")
    assert await page.evaluate(AT) == "45%"
    await page.press("End")
    assert await page.evaluate(AT) == "100%"


async def test_dragging_shows_more_of_the_image_before(page: Page, tmp_path: Path) -> None:
    await show(page, tmp_path, make_rows(tmp_path))
    box = await box_of(page, ".compare")
    y = box["y"] + box["height"] / 4
    left, right = box["x"] + box["width"] * 0.2, box["x"] + box["width"] * 0.8
    await page.evaluate("Promise.all([...document.images].slice(0, 2).map((image) => image.decode())).then(() => true)")
    assert await colour_at(page, left, y) < 60
    assert await colour_at(page, right, y) > 200
    await page.drag((box["x"] + box["width"] / 2, y), (box["x"] + box["width"] * 0.9, y))
    assert float((await page.evaluate(AT)).rstrip("%")) == pytest.approx(90, abs=0.5)
    assert await colour_at(page, right, y) < 60
    await page.drag((right, y), (box["x"] + box["width"] * 2, y))
    assert await page.evaluate(AT) == "100%"


async def test_a_finger_moves_the_slider(page: Page, tmp_path: Path) -> None:
    await show(page, tmp_path, make_rows(tmp_path), width=400, touch=True)
    box = await box_of(page, ".compare")
    y = box["y"] + box["height"] / 2
    await page.swipe((box["x"] + box["width"] / 2, y), (box["x"] + box["width"] * 0.25, y))
    assert float((await page.evaluate(AT)).rstrip("%")) == pytest.approx(25, abs=1)


async def test_search_status_and_provider_filter_the_jobs(page: Page, tmp_path: Path) -> None:
    await show(page, tmp_path, make_rows(tmp_path))
    assert len(await page.evaluate(VISIBLE)) == 5
    await page.evaluate("document.querySelector('[type=search]').focus()")
    await page.type("PHOTO 2")
    assert await page.evaluate(VISIBLE) == ["photo 2.jpg"]
    assert await page.evaluate("document.querySelector('.count').value") == "1 of 5 shown"
    await page.type(" nothing like it")
    assert await page.evaluate(VISIBLE) == []
    assert await page.evaluate("document.querySelector('.nothing').checkVisibility()")
    await page.evaluate("document.querySelector('form').reset()")
    await page.evaluate("document.querySelector('[name=status][value=failed]').click()")
    assert (await page.evaluate(VISIBLE))[0] == "broken.jpg"
    assert len(await page.evaluate(VISIBLE)) == 2
    await page.evaluate("document.querySelector('[type=search]').focus()")
    await page.type("no credits")
    assert await page.evaluate(VISIBLE) == ["broken.jpg"]
    choose = "(select) => { select.value = 'Kaze'; select.dispatchEvent(new Event('input', {bubbles: true})); }"
    await page.evaluate(f"({choose})(document.querySelector('select'))")
    assert await page.evaluate(VISIBLE) == []


async def test_errors_are_shown_and_hostile_texts_are_only_texts(page: Page, tmp_path: Path) -> None:
    rows = make_rows(tmp_path)
    await show(page, tmp_path, rows)
    errors = await page.evaluate("[...document.querySelectorAll('.error')].map((error) => error.textContent)")
    assert errors == ["no credits left", rows[-1].error]
    await page.evaluate("document.querySelector('.error').scrollIntoView()")
    await page.evaluate(NEXT_FRAMES)
    assert await page.evaluate("document.querySelector('.error').checkVisibility({contentVisibilityAuto: true})")
    assert await page.evaluate("document.title") == "3 of 5 done – aiowatermark remove"
    assert await page.evaluate("document.scripts.length") == 1
    assert await page.evaluate("document.images.length") == 6


@pytest.mark.parametrize("width", [400, 1600])
async def test_a_job_without_pictures_is_a_low_row_with_the_reason(page: Page, tmp_path: Path, width: int) -> None:
    (tmp_path / "text.jpg").write_text("text")
    rows = make_rows(tmp_path, count=1)
    rows[1:1] = [ReportRow("text.jpg", tmp_path / "text.jpg", None, "refused", "Kaze", None, None, "is not an image")]
    rows = [*rows[:3], rows[0]]
    await show(page, tmp_path, rows, width)
    await page.evaluate(NEXT_FRAMES)
    boxes = json.loads(await page.evaluate(f"JSON.stringify({CARDS}.map((card) => card.getBoundingClientRect()))"))
    pictured, text, missing, last = boxes
    assert max(text["height"], missing["height"]) < 190 < pictured["height"]
    assert last["height"] == pictured["height"]
    assert text["width"] > pictured["width"] * (3 if width == 1600 else 0.99), "it takes no place among the pictures"
    reasons = json.loads(
        await page.evaluate("JSON.stringify([...document.querySelectorAll('.none')].map((each) => each.innerText))")
    )
    assert reasons == ["before: this file cannot be shown as a picture", "before: there is no such file"]


async def test_the_links_open_the_files(page: Page, tmp_path: Path) -> None:
    report = await show(page, tmp_path, make_rows(tmp_path, 1))
    links = await page.evaluate("[...document.querySelectorAll('.links a')].map((link) => link.getAttribute('href'))")
    assert [(report.parent / link).resolve() for link in links[:2]] == [
        (tmp_path / "before.jpg").resolve(),
        (tmp_path / "after.png").resolve(),
    ]


@pytest.mark.parametrize("width", [320, 400, 1600])
@pytest.mark.parametrize("dark", [False, True])
async def test_nothing_is_wider_than_the_window(page: Page, tmp_path: Path, width: int, dark: bool) -> None:
    rows = [*make_rows(tmp_path), ReportRow("long" * 200, None, None, "failed", "Kaze", 1, 1, "long" * 500)]
    await show(page, tmp_path, rows, width=width, dark=dark)
    assert await page.evaluate("document.documentElement.scrollWidth") == width
    assert await page.evaluate(RIGHTMOST) <= width
    assert (await colour_at(page, 2, 2) < 60) is dark


async def test_two_hundred_images_are_in_the_page_and_drawn_only_when_they_are_scrolled_to(
    page: Page, tmp_path: Path
) -> None:
    await show(page, tmp_path, make_rows(tmp_path, 200))
    assert await page.evaluate("document.images.length") == 400
    assert await page.evaluate("[...document.images].every((image) => image.loading === 'lazy')")
    await page.evaluate(NEXT_FRAMES)
    assert 0 < await page.evaluate(DRAWN) < 50
    await page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
    await page.evaluate("[...document.images].at(-1).decode()")
    await page.evaluate(NEXT_FRAMES)
    assert 0 < await page.evaluate(DRAWN) < 50
