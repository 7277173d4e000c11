"""The folder of results: whatever a token, a key or a store says, files are written inside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from aiowatermark.cli.batch.output_folder import OutputFolder
from aiowatermark.cli.batch.output_names import TargetNumbers, safe_target, target_of


@pytest.mark.parametrize(
    ("stem", "name"),
    [
        ("photo", "photo-clean.png"),
        ("a.b", "a.b-clean.png"),
        ("../../escaped", "escaped-clean.png"),
        ("/etc/absolute", "absolute-clean.png"),
        ("a\\..\\b", "b-clean.png"),
        ("..", "media-clean.png"),
        ("../", "media-clean.png"),
        ("", "media-clean.png"),
        ("a\x1b[2Jb\n", "a_[2Jb_-clean.png"),
        ("a\u202egpj", "a_gpj-clean.png"),
        ("x" * 1_000_000, f"{'x' * 180}-clean.png"),
        ("照" * 1000, f"{'照' * 60}-clean.png"),
    ],
)
def test_a_result_is_written_inside_the_folder(tmp_path: Path, stem: str, name: str) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    downloaded = folder / "fetched"
    downloaded.write_bytes(b"\x89PNG\r\n\x1a\n")
    target = OutputFolder(folder)._move_into_place(downloaded, "key", "source", safe_target(stem, ".png"))
    assert target == folder / name
    assert list(tmp_path.rglob("*.png")) == [target]


@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        ("a/b", "a/b"),
        ("../../a", "a"),
        ("/etc", "etc"),
        (".aiowatermark", ""),
        ("a\x1b/..\x07", "a_/.._"),
        (f"{'d' * 1_000_000}/x", f"{'d' * 180}/x"),
    ],
)
def test_the_folder_of_a_result_is_below_the_output_folder(folder: str, expected: str) -> None:
    assert safe_target("x", ".png", folder).folder == expected


@pytest.mark.parametrize("suffix", [f".{'x' * 1_000_000}", ".j\x1bpg", "./../x", ".j\udce9"])
def test_a_suffix_that_no_file_should_have_is_left_out(suffix: str) -> None:
    assert safe_target("x", suffix).suffix == ""


def test_a_url_gives_the_name_of_its_last_part_without_its_query() -> None:
    target = target_of("https://example.com/a/b%20c.jpg?signature=../../x")
    assert (target.stem, target.suffix, target.folder) == ("b c", ".jpg", "")


def test_inputs_of_one_name_are_numbered_in_their_order() -> None:
    numbers = TargetNumbers()
    targets = [numbers.number(target_of(source)) for source in ("a/x.jpg", "b/x.jpg", "b/x.png", "c/x.jpg")]
    assert [target.name(target.suffix, target.number) for target in targets] == [
        "x-clean.jpg",
        "x-clean-2.jpg",
        "x-clean.png",
        "x-clean-3.jpg",
    ]
