"""A mask that can work for no file is refused once, before anything is sent, and nothing could be started."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from aiowatermark.emulator import Emulator
from tests.support.cli import Cli
from tests.support.images import make_image, make_jpeg, make_mask

KAZE = ("--provider", "kaze", "--mask", "mask.png")


@pytest.mark.parametrize("dry", [(), ("--dry-run",), ("--no-store",)], ids=["run", "dry run", "no store"])
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (lambda: b"a text", "the mask mask.png is not an image in a known format"),
        (lambda: b"", "mask.png is an empty file"),
        (lambda: make_mask()[:60], "the mask is not a readable image"),
        (lambda: make_image(32, 24, shade=0), "the mask is black everywhere"),
        (lambda: make_mask(320, 240), "the mask mask.png has 320x240 pixels, but none of the images: they have 32x24"),
    ],
    ids=["text", "empty", "cut", "black", "size"],
)
async def test_it_is_refused_once(  # noqa: PLR0917 - fixtures
    cli: Cli,
    to_emulator: list[str],
    photos: list[str],
    emulator: Emulator,
    tmp_path: Path,
    content: Callable[[], bytes],
    reason: str,
    dry: tuple[str, ...],
) -> None:
    (tmp_path / "mask.png").write_bytes(content())
    finished = await cli("remove", *photos, *to_emulator, *KAZE, *dry)
    assert finished.code == 2, finished.text
    assert finished.err.count(reason) == 1, finished.text
    assert not emulator.tasks
    assert "done" not in finished.out


async def test_one_that_fits_some_files_is_refused_for_the_others(
    cli: Cli, to_emulator: list[str], photos: list[str], tmp_path: Path
) -> None:
    (tmp_path / "large.jpg").write_bytes(make_jpeg(320, 240))
    (tmp_path / "mask.png").write_bytes(make_mask())
    finished = await cli("remove", photos[0], "large.jpg", *to_emulator, *KAZE, "--dry-run")
    assert finished.code == 1
    assert "Dry run: 1 new, 1 refused" in finished.out
    assert "large.jpg: the mask has 32x24 pixels, but" in finished.out


async def test_files_that_cannot_be_read_do_not_blame_the_mask(
    cli: Cli, to_emulator: list[str], tmp_path: Path
) -> None:
    (tmp_path / "mask.png").write_bytes(make_mask())
    finished = await cli("remove", "none.jpg", *to_emulator, *KAZE)
    assert finished.code == 1
    assert "none.jpg: cannot be read" in finished.out


@pytest.mark.parametrize("dry", [(), ("--dry-run",), ("--no-store",)], ids=["run", "dry run", "no store"])
async def test_one_that_the_provider_requires_and_that_is_missing_is_said_once(
    cli: Cli, to_emulator: list[str], emulator: Emulator, dry: tuple[str, ...]
) -> None:
    links = [emulator.host(make_jpeg(padding=number), f"{number}.jpg") for number in range(3)]
    finished = await cli("remove", *links, *to_emulator, "--provider", "photoeraser", *dry)
    assert finished.code == 2, finished.text
    assert finished.err.count("requires a mask: white where the watermark is, black elsewhere") == 1
    assert finished.out == ""


async def test_one_that_the_provider_does_not_take_is_said_once(
    cli: Cli, to_emulator: list[str], photos: list[str], tmp_path: Path
) -> None:
    (tmp_path / "mask.png").write_bytes(make_mask())
    pro = ("--provider", "dewatermark", "--option", "pro=true", "--mask", "mask.png")
    finished = await cli("remove", *photos, *to_emulator, *pro)
    assert finished.code == 2, finished.text
    assert finished.err.count("Dewatermark takes no mask with --option pro=true") == 1
    assert finished.out == ""
