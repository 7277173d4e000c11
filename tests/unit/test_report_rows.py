"""The rows, thumbnails and texts of the HTML report, without a browser."""

from __future__ import annotations

import os
import re
from base64 import b64decode
from io import BytesIO
from pathlib import Path
from threading import Event
from urllib.parse import unquote_to_bytes

import pytest
from PIL import Image

import aiowatermark as aw
from aiowatermark.cli.report.page import ReportText, check_target, write_report
from aiowatermark.cli.report.rows import MAX_PICTURES, MAX_ROWS, ReportRow, ReportRows
from aiowatermark.cli.report.thumbnails import MAX_BYTES, SIDE, make_thumbnail
from tests.support.images import make_image, make_noise

FAILED = ReportRow("broken.jpg", None, None, "failed", "Kaze", 1.0, None, "no credits")


def done(number: int, charge: float | None = None) -> ReportRow:
    after = Path(f"clean/{number}.jpg")
    return ReportRow(f"photo {number}.jpg", None, after, "done", "Kaze", 1.0, charge, cost_unknown=charge is None)


def page_of(folder: Path, rows: list[ReportRow]) -> str:
    path = folder / "index.html"
    write_report(path, ReportRows.of(rows), ReportText("aiowatermark remove", 3.0))
    assert [each.name for each in folder.iterdir() if each.suffix == ".part"] == []
    return path.read_text(encoding="utf-8")


def shown_side(uri: str) -> Image.Image:
    kind, _, data = uri.partition(",")
    assert kind == "data:image/jpeg;base64"
    return Image.open(BytesIO(b64decode(data)))


def test_of_a_large_batch_all_rows_are_counted_and_as_many_as_fit_are_kept() -> None:
    rows = ReportRows.of(done(number, charge=0.5) for number in range(10_000))
    rows.add(FAILED)
    assert (rows.total, rows.done, rows.charges, rows.with_charge) == (10_001, 10_000, 5000.0, 10_000)
    assert len(rows.kept) == MAX_ROWS + 1
    assert rows.kept[-1] is FAILED


def test_the_page_says_what_it_leaves_out(tmp_path: Path) -> None:
    text = page_of(tmp_path, [done(number) for number in range(MAX_ROWS + 500)] + [FAILED])
    assert "This page shows the first 1,001 of 1,501 jobs; left out: 500 that are done." in text
    assert f"Pictures are shown of the first {MAX_PICTURES} jobs only" in text
    assert text.count('<article class="card"') == MAX_ROWS + 1
    assert "<h1>1500 of 1501 done</h1>" in text


def test_a_page_of_few_jobs_leaves_nothing_out(tmp_path: Path) -> None:
    text = page_of(tmp_path, [done(1), FAILED])
    assert "left out" not in text
    assert "Pictures are shown of" not in text


@pytest.mark.parametrize(
    ("charges", "words"),
    [
        ((None, None), None),
        ((1.0, None), "1 credit charged (known for 1 of 2)"),
        ((1.5, 1.0), "2.5 credits charged"),
        ((0.0, 0.0), "0 credits charged"),
    ],
)
def test_the_charge_is_told_as_far_as_it_is_known(
    tmp_path: Path, charges: tuple[float | None, ...], words: str | None
) -> None:
    text = page_of(tmp_path, [done(number, charge) for number, charge in enumerate(charges)])
    assert (words in text) if words else ("charged" not in text)


def test_long_and_hostile_texts_are_cut_and_escaped(tmp_path: Path) -> None:
    hostile = "<b>&\"'\x1b[31m\u202e\udc80{{cards}}"
    row = ReportRow(
        hostile + "n" * 1_000_000, None, None, "failed", "Kaze", 1, None, hostile + "e" * 1_000_000, hostile
    )
    text = page_of(tmp_path, [row])
    assert len(text) < 40_000
    assert "<b>" not in text
    assert text.count("&lt;b&gt;&amp;&quot;&#x27;") == text.count("{{cards}}") == 4
    assert not {"\x1b", "\u202e"} & set(text)


def test_the_page_permits_its_own_style_and_script_only(tmp_path: Path) -> None:
    text = page_of(tmp_path, [done(1)])
    policy = re.search(r'Content-Security-Policy" content="(.*?)"', text)
    assert policy is not None
    assert re.fullmatch(
        r"default-src 'none'; img-src data:; style-src 'sha256-\S{44}'; script-src 'sha256-\S{44}'; "
        "base-uri 'none'; form-action 'none'",
        policy[1],
    )
    assert "{{" not in text
    assert not re.search(r"https?://", text)


@pytest.mark.parametrize("name", ["a b#c?.jpg", "javascript:alert(1)", "50%.jpg", "\udcff.jpg", "<x>&.jpg"])
def test_a_link_leads_to_the_file_whatever_its_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"")
    text = page_of(tmp_path, [ReportRow(name, tmp_path / name, None, "failed", "Kaze")])
    link = re.search(r'<a href="([^"]*)"', text)
    assert link is not None
    assert not re.search(r"[:#?<>&\s]", link[1])
    assert (tmp_path / os.fsdecode(unquote_to_bytes(link[1]))).is_file()


def test_a_thumbnail_is_small_in_pixels_and_bytes(tmp_path: Path) -> None:
    path = tmp_path / "noise.jpg"
    path.write_bytes(make_noise(1000, 750, "jpeg", quality=95))
    shown = make_thumbnail(path)
    assert shown_side(shown.uri).size == (SIDE, SIDE * 3 // 4)
    assert len(shown.uri) < MAX_BYTES * 4 / 3 + 100


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16", "CMYK"])
def test_images_of_every_mode_are_shown(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("image.jpg" if mode == "CMYK" else "image.png")
    Image.new(mode, (64, 48)).save(path)
    assert shown_side(make_thumbnail(path).uri).size == (64, 48)


def test_transparent_parts_are_white_and_a_rotation_is_applied(tmp_path: Path) -> None:
    path = tmp_path / "clear.png"
    Image.new("RGBA", (64, 48), (0, 0, 0, 0)).save(path)
    assert shown_side(make_thumbnail(path).uri).convert("L").getpixel((5, 5)) == 255
    exif = Image.Exif()
    exif[274] = 6
    path = tmp_path / "rotated.jpg"
    Image.new("RGB", (64, 48)).save(path, exif=exif)
    assert shown_side(make_thumbnail(path).uri).size == (48, 64)


def test_what_cannot_be_shown_has_a_reason(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "text.jpg").write_text("text")
    (tmp_path / "cut.jpg").write_bytes(make_image(400, 400, "jpeg")[:-500])
    header = make_image(300, 300, "png")
    (tmp_path / "bomb.png").write_bytes(header[:16] + (50_000).to_bytes(4, "big") * 2 + header[24:])
    reasons = {
        name: make_thumbnail(tmp_path / name) for name in ("fifo", "none.jpg", "text.jpg", "cut.jpg", "bomb.png")
    }
    assert not any(thumbnail.uri for thumbnail in reasons.values())
    assert reasons["none.jpg"].reason == reasons["fifo"].reason == "there is no such file"
    assert reasons["text.jpg"].reason == "this file cannot be shown as a picture"
    assert reasons["bomb.png"].reason == "too large to show: 50000x50000 pixels"


def test_a_report_replaces_a_report_and_nothing_else(tmp_path: Path) -> None:
    page_of(tmp_path, [done(1)])
    check_target(tmp_path / "index.html")
    (tmp_path / "mine.html").write_text("<html>")
    with pytest.raises(aw.InvalidInput, match="exists and is not a report"):
        check_target(tmp_path / "mine.html")
    (tmp_path / "link.html").symlink_to(tmp_path / "index.html")
    with pytest.raises(aw.InvalidInput, match="exists and is not a report"):
        check_target(tmp_path / "link.html")
    with pytest.raises(aw.InvalidInput, match="is a folder"):
        check_target(tmp_path)
    with pytest.raises(aw.InvalidInput, match="cannot be written"):
        check_target(tmp_path / "mine.html" / "index.html")
    check_target(tmp_path / "new" / "folder" / "index.html")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index.html", "link.html", "mine.html", "new"]


def test_writing_can_be_ended_and_leaves_nothing_behind(tmp_path: Path) -> None:
    ended = Event()
    ended.set()
    with pytest.raises(InterruptedError):
        write_report(tmp_path / "index.html", ReportRows.of([FAILED]), ReportText("title", 1), ended=ended)
    assert list(tmp_path.iterdir()) == []


def test_a_symbolic_link_in_the_place_of_the_report_is_refused_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "target.html").write_text("kept")
    (tmp_path / "index.html").symlink_to(tmp_path / "target.html")
    with pytest.raises(aw.InvalidInput, match="not a report of this program"):
        page_of(tmp_path, [done(1)])
    assert (tmp_path / "target.html").read_text() == "kept"
