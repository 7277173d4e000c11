"""Which inputs the arguments of `remove` stand for, and the names that their results get."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import pytest

from aiowatermark.cli.batch.manifest import _APPLICATION_ID, FileState
from aiowatermark.cli.batch.output_folder import OutputFolder
from aiowatermark.cli.batch.output_names import target_of
from aiowatermark.cli.batch.planning.inputs import Input, InputReader, identity_of


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the images a.jpg, b.png, photos/c.jpg, photos/deep/c.jpg and other files."""
    monkeypatch.chdir(tmp_path)
    names = ["a.jpg", "b.png", "photos/c.jpg", "photos/deep/c.jpg", "photos/deep/clip.MP4"]
    for name in [*names, "notes.txt", "photos/readme.md", "photos/.hidden.jpg", "photos/.cache/x.jpg"]:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path


async def read(
    *arguments: str, recursive: bool = False, output: str = "out", uses_manifest: bool = True
) -> list[Input]:
    return [found async for found in InputReader(Path(output), recursive, uses_manifest).read(arguments)]


def sources(inputs: Iterable[Input]) -> list[str]:
    return [each.source for each in inputs]


def results(inputs: Iterable[Input]) -> list[str]:
    return [each.target.name(each.target.suffix, each.target.number) for each in inputs]


async def test_paths_and_links_are_taken_as_they_are(folder: Path) -> None:
    given = ["a.jpg", "missing.jpg", "https://example.com/x.jpg?signature=1", "notes.txt"]
    assert sources(await read(*given)) == given


async def test_a_pattern_that_the_shell_left_is_expanded_sorted(folder: Path) -> None:
    assert sources(await read("*.[jp]*g")) == ["a.jpg", "b.png"]
    assert sources(await read("photos/**/*.jpg")) == ["photos/c.jpg", "photos/deep/c.jpg"]


async def test_a_file_whose_name_looks_like_a_pattern_is_that_file(folder: Path) -> None:
    (folder / "a[1].jpg").touch()
    assert sources(await read("a[1].jpg")) == ["a[1].jpg"]


@pytest.mark.parametrize(("argument", "problem"), [("*.gif", "no file has a name like this"), ("photos", "add -r")])
async def test_what_gives_no_input_is_an_error_of_its_own(folder: Path, argument: str, problem: str) -> None:
    (found,) = await read(argument)
    assert problem in found.problem


async def test_a_folder_gives_its_images_and_videos_and_results_keep_the_path_below_it(folder: Path) -> None:
    reader = InputReader(Path("out"), recursive=True)
    inputs = [found async for found in reader.read(["photos"])]
    assert sources(inputs) == ["photos/c.jpg", "photos/deep/c.jpg", "photos/deep/clip.MP4"]
    assert results(inputs) == ["c-clean.jpg", "deep/c-clean.jpg", "deep/clip-clean.MP4"]
    assert reader.describe_skipped() == "Left out: 1 file without the suffix of an image or a video (photos/readme.md)"


async def test_same_names_get_numbers_in_the_order_of_the_arguments(folder: Path) -> None:
    arguments = ["photos/c.jpg", "photos/deep/c.jpg"]
    assert results(await read(*arguments)) == ["c-clean.jpg", "c-clean-2.jpg"]
    assert results(await read(*arguments)) == ["c-clean.jpg", "c-clean-2.jpg"]
    assert results(await read(*arguments[::-1])) == ["c-clean.jpg", "c-clean-2.jpg"]


async def test_an_input_that_was_given_twice_is_one_input(folder: Path) -> None:
    again = ["a.jpg", "./a.jpg", str(folder / "a.jpg"), "*.jpg", "."]
    assert sources(await read(*again, recursive=True)).count("a.jpg") == 1
    assert len(await read(*again[:4])) == 1


async def test_a_link_that_was_signed_anew_is_the_same_input(folder: Path) -> None:
    names = ("Algorithm", "Credential", "Date", "Expires", "SignedHeaders", "Signature")
    queries = ["&".join(f"X-Amz-{name}={each}" for name in names) for each in "ab"]
    links = [f"https://bucket.s3.amazonaws.com/x.jpg?{query}" for query in queries]
    assert identity_of(links[0], Path("out")) == identity_of(links[1], Path("out"))
    assert "X-Amz" not in identity_of(links[0], Path("out"))


async def test_a_url_that_is_not_valid_is_an_error_of_its_own(folder: Path) -> None:
    (found,) = await read("https://")
    assert "not a valid URL" in found.problem


def save_result(output: Path, name: str) -> Path:
    """Save a result as a run does."""
    outputs = OutputFolder(output, uses_manifest=True)
    outputs.prepare()
    assert outputs.manifest is not None
    download = output / "download"
    download.write_text(f"result of {name}")
    target = target_of(name)
    path = outputs.manifest.reserve("key", name, target, target.suffix, FileState.of(download))
    outputs.close()
    return download.replace(path)


@pytest.mark.parametrize("output", [".", "photos", "photos/clean"])
async def test_results_of_earlier_runs_are_no_inputs_of_a_folder(folder: Path, output: str) -> None:
    before = sources(await read(".", recursive=True, output=output))
    saved = save_result(folder / output, "a.jpg")
    for current in (output, "elsewhere"):
        reader = InputReader(Path(current), recursive=True)
        assert sources([found async for found in reader.read(["."])]) == before
        assert "1 result of earlier runs" in reader.describe_skipped()
    saved.write_text("retouched by hand, so it is a file of its own")
    assert len(await read(".", recursive=True, output=output)) == len(before) + 1


async def test_the_manifest_of_a_folder_that_is_searched_is_not_changed(folder: Path) -> None:
    save_result(folder / "photos", "a.jpg")
    path = folder / "photos/.aiowatermark/manifest.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute("DROP TABLE works")  # as in an earlier version
        database.commit()
    before = path.read_bytes()
    assert "photos/a-clean.jpg" not in sources(await read("photos", recursive=True))
    assert path.read_bytes() == before


async def test_results_that_no_manifest_knows_are_no_inputs_of_a_folder(folder: Path) -> None:
    before = sources(await read(".", recursive=True, output="."))
    for name in ("a-clean.jpg", "a-clean-2.jpg", "photos/clean/c-clean.jpg"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    (folder / "squeaky-clean.jpg").touch()
    inside = await read("photos", recursive=True, output="photos/clean", uses_manifest=False)
    assert sources(inside) == ["photos/c.jpg", "photos/deep/c.jpg", "photos/deep/clip.MP4"]
    (folder / "photos/clean/c-clean.jpg").unlink()
    same = await read(".", recursive=True, output=".", uses_manifest=False)
    assert sources(same) == sorted([*before, "./squeaky-clean.jpg"], key=_by_folder)


def _by_folder(source: str) -> tuple[bool, str]:
    return "photos" in source, source


async def test_results_are_no_inputs_of_a_pattern_that_the_shell_expanded_in_the_output_folder(folder: Path) -> None:
    save_result(folder, "a.jpg")
    assert sources(await read("a.jpg", "a-clean.jpg", output=".")) == ["a.jpg"]
    assert sources(await read("a*.jpg", output="elsewhere")) == ["a.jpg"]
    assert sources(await read("a-clean.jpg", output="elsewhere")) == ["a-clean.jpg"], (
        "given by name, for another folder"
    )


async def test_an_input_is_known_by_its_path_relative_to_the_output_folder(folder: Path) -> None:
    before = identity_of("photos/c.jpg", Path("photos/out"))
    (folder / "photos").rename(folder / "moved")
    assert identity_of("moved/c.jpg", Path("moved/out")) == before


async def test_a_name_that_is_not_utf_8_is_known_by_printable_text(folder: Path) -> None:
    name = os.fsdecode(b"caf\xe9.jpg")
    identity_of(name, Path("out")).encode()


@pytest.mark.parametrize("damage", ["not a database", "another version", "of another program"])
async def test_what_is_named_like_a_result_is_not_paid_where_the_manifest_cannot_be_read(
    folder: Path, damage: str
) -> None:
    state = folder / "photos/.aiowatermark"
    state.mkdir()
    with closing(sqlite3.connect(state / "manifest.db")) as database:
        if damage == "another version":
            database.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        database.execute("CREATE TABLE other (id)")
        database.commit()
    if damage == "not a database":
        (state / "manifest.db").write_bytes(b"x" * 4096)
    for name in ("photos/c-clean.jpg", "photos/deep/c-clean-2.jpg"):
        (folder / name).write_text("result")
    for inputs in (await read("photos", recursive=True), await read("photos/**/*.*")):
        refused = sources(each for each in inputs if each.problem)
        assert refused == ["photos/c-clean.jpg", "photos/deep/c-clean-2.jpg"]
        assert all("may be the result of an earlier run" in each.problem for each in inputs if each.problem)
        assert {"photos/c.jpg", "photos/deep/c.jpg"} <= set(sources(inputs))
