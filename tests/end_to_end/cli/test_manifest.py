"""The manifest of an output folder, and the folder in which it lies, when others can write to it."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Barrier

import pytest

from aiowatermark import InvalidInput, StoreError
from aiowatermark.cli.batch import manifest as manifest_module
from aiowatermark.cli.batch.manifest import FileState, Manifest
from aiowatermark.cli.batch.output_folder import OutputFolder
from aiowatermark.cli.batch.output_names import Target
from aiowatermark.cli.batch.state_folder import NAME, StateFolder
from tests.support.files import list_names
from tests.support.processes import run_python

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


def make_older(manifest: Manifest) -> list[str]:
    """A manifest of an earlier version, which has fewer tables."""
    assert manifest._connection is not None
    for table in ("works", "rounds", "charges"):
        manifest._connection.execute(f"DROP TABLE {table}")
    return ["a-clean.png"]


def make_empty(manifest: Manifest) -> list[str]:
    """A manifest whose process was killed while it created it."""
    manifest.close()
    StateFolder(manifest.folder).manifest.write_bytes(b"")
    return []


def make_interrupted(manifest: Manifest) -> list[str]:
    """A manifest whose process was killed while it wrote: the change must be rolled back."""
    path = StateFolder(manifest.folder).manifest
    manifest.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        for statement in ("PRAGMA cache_size = 1", "BEGIN", "DELETE FROM outputs"):
            database.execute(statement).fetchall()
        database.execute("CREATE TABLE large AS SELECT randomblob(100000)")
        kept = path.read_bytes(), Path(f"{path}-journal").read_bytes()
        database.execute("ROLLBACK")
    path.write_bytes(kept[0])
    Path(f"{path}-journal").write_bytes(kept[1])
    return ["a-clean.png"]


@pytest.mark.parametrize("make", [make_older, make_empty, make_interrupted, lambda _: ["a-clean.png"]])
def test_a_manifest_that_is_only_read_stays_as_it_is_and_lacks_nothing(
    manifest: Manifest, make: Callable[[Manifest], list[str]]
) -> None:
    save(manifest, "key", "in.png", b"abc")
    saved = make(manifest)
    state = StateFolder(manifest.folder).path
    before = {path.name: path.read_bytes() for path in state.iterdir()}
    outputs = OutputFolder(manifest.folder, uses_manifest=True)
    outputs.open_existing()
    again = outputs.manifest
    assert again is not None
    assert again.files() == set(saved)
    assert (again.works("content"), again.round_of("base"), again.average_charge("kaze")) == ([], (0, False), None)
    with pytest.raises(StoreError, match="readonly"):
        again.register("key", "in.png", TARGET)
    outputs.close()
    assert {path.name: path.read_bytes() for path in state.iterdir()} == before


def test_a_folder_that_is_only_read_may_be_in_use(manifest: Manifest) -> None:
    outputs = OutputFolder(manifest.folder, uses_manifest=True)
    outputs.open_existing()
    save(manifest, "key", "in.png", b"abc")
    assert outputs.manifest is not None
    assert outputs.manifest.files() == {"a-clean.png"}
    outputs.close()


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


KILLED = """
import os, sys
from pathlib import Path
from aiowatermark.cli.batch import manifest as module
from aiowatermark.cli.batch.output_names import Target

create = module.create_empty

def create_and_end(path, folder):
    if sys.argv[2] == "before":
        os._exit(9)
    create(path, folder)
    if sys.argv[2] == "after":
        os._exit(9)
    return True

module.create_empty = create_and_end
manifest = module.Manifest(Path(sys.argv[1]))
manifest.open()
manifest.reserve("key", "a.png", Target("a", ".png"), ".png", module.FileState(1, 1, "digest"))
os._exit(9)
"""


@pytest.mark.parametrize("moment", ["before", "after", "later"])
async def test_a_run_that_is_killed_while_it_saves_leaves_its_name_to_the_next(
    tmp_path: Path, manifest: Manifest, moment: str
) -> None:
    killed = await run_python("-c", KILLED, tmp_path, moment)
    assert killed.code == 9, killed.text
    assert list_names(tmp_path, hidden=False) == ([] if moment == "before" else ["a-clean.png"])
    assert save(manifest, "key", "a.png", b"result").name == "a-clean.png"
    assert list_names(tmp_path, hidden=False) == ["a-clean.png"]
    assert manifest.saved("key", "a.png") == tmp_path / "a-clean.png"


async def test_the_name_of_a_killed_run_is_not_given_to_another_job(tmp_path: Path, manifest: Manifest) -> None:
    await run_python("-c", KILLED, tmp_path, "before")
    assert save(manifest, "key-1", "a.png", b"paid anew").name == "a-clean-2.png"
    assert save(manifest, "key", "a.png", b"result").name == "a-clean.png"


def test_a_name_that_another_program_takes_at_the_same_moment_is_left_to_it(
    tmp_path: Path, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = manifest_module.create_empty

    def create_too_late(path: Path, folder: Path) -> bool:
        if path.name == "a-clean.png":
            path.touch()
        return create(path, folder)

    monkeypatch.setattr(manifest_module, "create_empty", create_too_late)
    assert save(manifest, "key", "a.png", b"result").name == "a-clean-2.png"
    assert (tmp_path / "a-clean.png").read_bytes() == b""
    assert manifest.saved("key", "a.png") == tmp_path / "a-clean-2.png"
