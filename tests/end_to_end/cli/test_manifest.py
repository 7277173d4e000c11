"""The manifest of an output folder, and the folder in which it lies, when others can write to it."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from aiowatermark import InvalidInput, StoreError
from aiowatermark.cli.batch.manifest import FileState, Manifest
from aiowatermark.cli.batch.output_folder import OutputFolder
from aiowatermark.cli.batch.output_names import Target
from aiowatermark.cli.batch.state_folder import NAME, StateFolder

TARGET = Target("a", ".png")


@pytest.fixture
def manifest(tmp_path: Path) -> Iterator[Manifest]:
    with_manifest = OutputFolder(tmp_path, uses_manifest=True)
    with_manifest.prepare()
    assert with_manifest.manifest is not None
    yield with_manifest.manifest
    with_manifest.close()


def save(manifest: Manifest, key: str, source: str, content: bytes, target: Target = TARGET) -> Path:
    """Save a result as the output folder does."""
    downloaded = manifest.folder / f"download-of-{source}"
    downloaded.write_bytes(content)
    return downloaded.replace(manifest.reserve(key, source, target, target.suffix, FileState.of(downloaded)))


def link_to_another_file(path: Path) -> None:
    path.symlink_to(path.parent.parent.parent / "victim")


@pytest.mark.parametrize("name", ["manifest.db", "manifest.db-journal", "jobs.db", "jobs.db-wal"])
@pytest.mark.parametrize("make", [link_to_another_file, os.mkfifo])
def test_state_that_is_no_regular_file_is_refused_and_nothing_is_written(
    tmp_path: Path, make: Callable[[Path], None], name: str
) -> None:
    victim, folder = tmp_path / "victim", tmp_path / "out"
    victim.write_text("alias ll=ls\n")
    (folder / NAME).mkdir(parents=True)
    make(folder / NAME / name)
    with pytest.raises(InvalidInput, match="is not a regular file"):
        OutputFolder(folder, uses_manifest=True).prepare()
    assert victim.read_text() == "alias ll=ls\n"


def test_a_state_folder_that_is_a_link_is_refused(tmp_path: Path) -> None:
    elsewhere, folder = tmp_path / "elsewhere", tmp_path / "out"
    elsewhere.mkdir()
    folder.mkdir()
    (folder / NAME).symlink_to(elsewhere)
    with pytest.raises(InvalidInput, match="is not a folder"):
        OutputFolder(folder, uses_manifest=True).prepare()
    assert not list(elsewhere.iterdir())


def test_the_state_folder_is_readable_by_its_owner_only(manifest: Manifest) -> None:
    assert StateFolder(manifest.folder).path.stat().st_mode & 0o077 == 0


def test_the_database_of_another_program_is_refused_and_left_unchanged(tmp_path: Path) -> None:
    StateFolder(tmp_path).prepare()
    with sqlite3.connect(StateFolder(tmp_path).manifest) as other:
        other.execute("CREATE TABLE mine (x)")
    other.close()
    before = StateFolder(tmp_path).manifest.read_bytes()
    with pytest.raises(StoreError, match="another program"):
        Manifest(tmp_path).open()
    assert StateFolder(tmp_path).manifest.read_bytes() == before


def test_a_saved_result_is_found_by_another_run_until_it_is_changed(manifest: Manifest) -> None:
    path = save(manifest, "key", "in.png", b"abc")
    again = Manifest(manifest.folder)
    again.open()
    assert again.saved("key", "in.png") == path
    assert again.saved("key", "other.png") is None
    os.utime(path, ns=(1, 1))
    assert again.saved("key", "in.png") == path, "a copy of the folder has other times"
    path.write_bytes(b"abd")
    assert again.saved("key", "in.png") is None
    assert save(again, "key", "in.png", b"abc").name == "a-clean-2.png"
    assert path.read_bytes() == b"abd"
    again.close()


@pytest.mark.parametrize("left", ["missing", "empty"])
def test_a_name_that_a_killed_run_had_reserved_is_used_again(manifest: Manifest, left: str) -> None:
    path = save(manifest, "key", "in.png", b"abc")
    path.unlink()
    if left == "empty":
        path.touch()
    assert save(manifest, "key", "in.png", b"abc") == path


def test_two_inputs_of_one_name_get_two_files_also_before_either_exists(manifest: Manifest) -> None:
    first = manifest.reserve("one", "a/x.png", TARGET, ".png", FileState(1, 1, "d"))
    first.unlink()  # as if its process had not created it yet
    assert manifest.reserve("two", "b/x.png", TARGET, ".png", FileState(1, 1, "e")) != first


def test_two_processes_that_save_one_result_use_one_name(manifest: Manifest) -> None:
    other = Manifest(manifest.folder)
    other.open()
    path = save(manifest, "key", "in.png", b"abc")
    assert save(other, "key", "in.png", b"abc") == path
    assert [each.name for each in manifest.folder.glob("a-clean*")] == ["a-clean.png"]
    other.close()


def test_a_result_is_not_saved_through_a_subfolder_that_leads_elsewhere(manifest: Manifest) -> None:
    elsewhere = manifest.folder.parent / "elsewhere-of-test"
    elsewhere.mkdir(exist_ok=True)
    (manifest.folder / "sub").symlink_to(elsewhere)
    with pytest.raises(OSError, match="leads out of the output folder"):
        save(manifest, "key", "in.png", b"abc", Target("a", ".png", "sub"))
    assert not list(elsewhere.iterdir())


@pytest.mark.parametrize("name", ["../outside.png", "/etc/passwd", "a/../../b", f"{NAME}/jobs.db"])
def test_a_name_in_the_manifest_that_leads_elsewhere_is_ignored(manifest: Manifest, name: str) -> None:
    save(manifest, "key", "in.png", b"abc")
    assert manifest._connection is not None
    manifest._connection.execute("UPDATE outputs SET file = ?, size = 0", (name,))
    assert manifest.saved("key", "in.png") is None
    assert manifest.files() == set()
    assert save(manifest, "key", "in.png", b"abc").parent == manifest.folder


def test_a_round_that_is_open_is_continued_and_another_one_begins_after_its_end(manifest: Manifest) -> None:
    assert manifest.round_of("base") == (0, False)
    assert manifest.begin_round("base", anew=True) == 1
    assert manifest.begin_round("base", anew=True) == 1
    assert manifest.round_of("base") == (1, True)
    manifest.end_rounds(["base"])
    assert manifest.begin_round("base", anew=True) == 2
    assert manifest.begin_round("new", anew=False) == 0
    assert manifest.round_of("new") == (0, True)


def test_charges_are_averaged_for_each_provider(manifest: Manifest) -> None:
    assert manifest.average_charge("kaze") is None
    manifest.add_charge("kaze", 1.0)
    manifest.add_charge("kaze", 2.0)
    assert manifest.average_charge("kaze") == 1.5
    assert manifest.average_charge("picwish") is None


@pytest.mark.parametrize("name", [f"key-{number}" for number in range(3)])
def test_runs_that_save_one_result_at_once_save_it_under_one_name(tmp_path: Path, name: str) -> None:
    folders = [OutputFolder(tmp_path, uses_manifest=True) for _ in range(4)]
    for folder in folders:
        folder.prepare()
    start = Barrier(len(folders))

    def reserve(folder: OutputFolder) -> set[Path]:
        manifest = folder.manifest
        assert manifest is not None
        start.wait(30)
        state = FileState(1, 1, "digest")
        return {manifest.reserve(f"{name}-{each}", "a.png", Target(f"a{each}"), ".png", state) for each in range(10)}

    with ThreadPoolExecutor(len(folders)) as threads:
        names = list(threads.map(reserve, folders))
    for folder in folders:
        folder.close()
    assert names == [{tmp_path / f"a{each}-clean.png" for each in range(10)}] * len(folders)
    assert len(list(tmp_path.glob("*.png"))) == 10
