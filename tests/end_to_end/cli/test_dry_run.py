"""The option --dry-run: what would be done, refused and paid. Nothing is sent, and nothing is written."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from aiowatermark.emulator import Emulator, Fault
from tests.support.cli import Cli, without_root_permissions
from tests.support.files import list_names
from tests.support.http_server import free_port
from tests.support.images import make_jpeg, make_mask

NO_SERVER = "http://127.0.0.1:{}"


@pytest.fixture
def photos(tmp_path: Path) -> list[str]:
    names = ["one.jpg", "two.jpg", "copy.jpg"]
    for name, padding in zip(names, (1, 2, 1), strict=True):
        (tmp_path / name).write_bytes(make_jpeg(padding=padding))
    (tmp_path / "text.jpg").write_text("not an image")
    return names


async def test_it_counts_jobs_refusals_and_cost_without_a_server_and_writes_nothing(
    cli: Cli, photos: list[str], tmp_path: Path, emulator: Emulator
) -> None:
    cli.use_keys_of(emulator)
    nobody = ("--base-url", NO_SERVER.format(free_port()), "-o", "clean", "--dry-run")
    before = list_names(tmp_path)
    finished = await cli("remove", *photos, "text.jpg", "none.jpg", "--provider", "dewatermark", *nobody)
    assert finished.code == 1
    first, refused, text, missing, *rest = finished.out.splitlines()
    assert (first, refused) == ("Dry run: 3 new, 2 refused", "Would be refused:")
    assert "text.jpg: is not an image in a known format" in text
    assert "none.jpg: cannot be read" in missing
    assert rest == [
        "To be paid: 2 jobs (1 input has the same content as another), 2 credits (1 for an image)",
        "Nothing was sent.",
    ]
    assert list_names(tmp_path) == before


@pytest.mark.slow
async def test_what_was_done_before_is_not_counted_and_the_next_run_does_what_was_said(
    cli: Cli, to_emulator: list[str], photos: list[str], tmp_path: Path, emulator: Emulator
) -> None:
    command = ("remove", *photos, *to_emulator, "--provider", "picwish", "--option", "sync=true")
    assert (await cli(*command[:2], *command[4:])).code == 0
    before = (tmp_path / "clean/.aiowatermark/manifest.db").read_bytes()
    dry = await cli(*command, "--dry-run")
    assert dry.code == 0, dry.text
    assert dry.out.splitlines() == [
        "Dry run: 1 done before, 1 to be saved, 1 new",
        "PicWish: 2 requests per second",
        "To be paid: 1 job, about 1 credit (earlier images cost 1 each on average)",
        "Nothing was sent.",
    ]
    again = await cli(*command, "--dry-run", "--again")
    assert "To be paid: 2 jobs" in again.out
    assert emulator.charged["picwish"] == 1
    assert (tmp_path / "clean/.aiowatermark/manifest.db").read_bytes() == before
    assert (await cli(*command)).code == 0
    assert emulator.charged["picwish"] == 2


async def test_a_refusal_of_the_provider_s_capabilities_is_known_beforehand(
    cli: Cli, to_emulator: list[str], photos: list[str], emulator: Emulator, tmp_path: Path
) -> None:
    (tmp_path / "mask.png").write_bytes(make_mask())
    finished = await cli(
        "remove", "one.jpg", *to_emulator, "--provider", "photoeraser", "--dry-run", "--mask", "mask.png"
    )
    assert finished.code == 1
    assert "accepts URLs only" in finished.out
    assert not emulator.tasks


async def test_json_prints_one_object_per_input(
    cli: Cli, to_emulator: list[str], photos: list[str], emulator: Emulator
) -> None:
    emulator.inject(Fault.failed(), "gptge")
    sync = ("--provider", "gptge", "--option", "sync=true", "--json")
    assert (await cli("remove", "two.jpg", *to_emulator, *sync)).code == 1
    finished = await cli("remove", "one.jpg", "two.jpg", "text.jpg", *to_emulator, *sync, "--dry-run")
    assert [set(line) for line in finished.lines] == [{"v", "media", "output", "plan", "error", "key"}] * 3
    assert [(line["media"], line["plan"]) for line in finished.lines] == [
        ("one.jpg", "new"),
        ("two.jpg", "failed_before"),
        ("text.jpg", "refused"),
    ]
    assert finished.lines[2]["error"]
    assert "Nothing was sent." in finished.err


async def test_what_the_run_would_not_do_is_listed_with_what_to_do_and_ends_with_1(
    cli: Cli, to_emulator: list[str], photos: list[str], emulator: Emulator
) -> None:
    sync = ("--provider", "gptge", "--option", "sync=true")
    emulator.inject(Fault.dropped_after(), "gptge", "submit")
    assert (await cli("remove", "one.jpg", *to_emulator, *sync)).code == 1
    emulator.inject(Fault.failed(), "gptge")
    assert (await cli("remove", "two.jpg", *to_emulator, *sync)).code == 1
    finished = await cli("remove", "one.jpg", "two.jpg", *to_emulator, *sync, "--dry-run")
    assert finished.code == 1
    first, *rest = finished.out.splitlines()
    assert first == "Dry run: 1 failed before, 1 in doubt"
    assert rest[0].startswith("1 in doubt: sent, but no usable answer was received")
    assert rest[1].startswith("  one.jpg  key content-")
    assert sum("aiowatermark jobs settle -o clean content-" in line for line in rest) == 3
    assert "1 failed at gpt.ge and not submitted again: two.jpg" in rest
    assert rest[-1] == "Nothing was sent."
    anew = await cli("remove", "one.jpg", "two.jpg", *to_emulator, *sync, "--dry-run", "--again")
    assert anew.code == 0, "that run would be complete"


@pytest.mark.parametrize(
    ("folder", "file"),
    [
        ("one.jpg", "one.jpg"),
        ("one.jpg/clean", "one.jpg"),
        ("one.jpg/a/b", "one.jpg"),
        ("linked", ""),
        ("/proc/x", ""),
        (f"new/{'x' * 300}", ""),
    ],
)
async def test_an_output_folder_that_cannot_be_used_is_refused_as_in_a_run(  # noqa: PLR0917
    cli: Cli, to_emulator: list[str], photos: list[str], tmp_path: Path, folder: str, file: str
) -> None:
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked/.aiowatermark").symlink_to(tmp_path)
    command = ("remove", *photos, *to_emulator[:2], "-o", folder, "--provider", "kaze")
    before = list_names(tmp_path)
    dry = await cli(*command, "--dry-run")
    assert list_names(tmp_path) == before
    run = await cli(*command)
    assert (dry.code, run.code) == (2, 2)
    assert dry.err == run.err
    assert f"cannot write to the folder {folder}: {file and f'{file} is a file, where a folder is needed'}" in dry.err
    assert "Errno" not in dry.text + run.text


@without_root_permissions
@pytest.mark.parametrize("folder", ["shut", "shut/clean"])
async def test_a_folder_without_permission_is_refused_as_in_a_run(
    cli: Cli, to_emulator: list[str], photos: list[str], tmp_path: Path, folder: str
) -> None:
    (tmp_path / "shut").mkdir(0o555)
    cli.drop_root_permissions = True
    command = ("remove", *photos, *to_emulator[:2], "-o", folder, "--provider", "kaze")
    for finished in (await cli(*command, "--dry-run"), await cli(*command)):
        assert finished.code == 2
        assert f"cannot write to the folder {folder}: this user has no permission there" in finished.err


@pytest.mark.parametrize("folder", ["clean", "other"])
async def test_a_store_of_an_earlier_version_is_read_and_not_converted(
    cli: Cli, to_emulator: list[str], photos: list[str], emulator: Emulator, folder: str
) -> None:
    emulator.inject(Fault.dropped_after(), "gptge", "submit")
    store = cli.folder / "clean/.aiowatermark/jobs.db"
    command = ("remove", photos[0], *to_emulator, "--provider", "gptge")
    await cli(*command)
    with closing(sqlite3.connect(store)) as database:
        for statement in _TO_FORMAT_1:
            database.execute(statement)
        database.commit()
    shutil.rmtree(f"{store}-owners", ignore_errors=True)
    before = {path: path.read_bytes() for path in (cli.folder / "clean").rglob("*") if path.is_file()}
    dry = await cli(*command, "--dry-run", "--store", str(store), "-o", folder)
    assert dry.out.startswith("Dry run: 1 in doubt"), dry.text
    assert {path: path.read_bytes() for path in (cli.folder / "clean").rglob("*") if path.is_file()} == before
    assert not (cli.folder / "other").exists()


_TO_FORMAT_1 = (
    "DROP INDEX by_task",
    "DROP INDEX not_taken",
    "DROP TABLE clock",
    "DROP TABLE secret",
    "ALTER TABLE records DROP COLUMN task",
    "ALTER TABLE records DROP COLUMN epoch",
    "ALTER TABLE records DROP COLUMN taken",
    "PRAGMA user_version = 1",
)


async def test_expired_jobs_and_files_of_runs_that_were_killed_stay(
    cli: Cli, to_emulator: list[str], photos: list[str], tmp_path: Path
) -> None:
    command = ("remove", photos[0], *to_emulator, "--provider", "picwish", "--option", "sync=true")
    assert (await cli(*command)).code == 0
    store = tmp_path / "clean/.aiowatermark/jobs.db"
    with closing(sqlite3.connect(store)) as database:
        database.execute("UPDATE records SET ended = ended - 1e9")
        database.commit()
    owners = Path(f"{store}-owners")
    owners.mkdir(exist_ok=True)
    (owners / ("0" * 32)).touch()
    before = {path: path.read_bytes() for path in (tmp_path / "clean").rglob("*") if path.is_file()}
    dry = await cli(*command, "--dry-run")
    assert dry.out.startswith("Dry run: 1 done before"), dry.text
    assert {path: path.read_bytes() for path in (tmp_path / "clean").rglob("*") if path.is_file()} == before
