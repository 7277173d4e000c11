"""A result that cannot be written: said in words, with the command that saves it, and listed until it is saved."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from aiowatermark.emulator import Emulator
from tests.support.cli import Cli, without_root_permissions
from tests.support.files import list_names
from tests.support.images import make_jpeg

PICWISH = ("--provider", "picwish", "--option", "sync=true")
FAILING = """
import errno, os
from aiowatermark.cli import main
from aiowatermark.cli.batch import output_folder

def fail(*_, **__):
    raise OSError(errno.{0}, os.strerror(errno.{0}), "clean")

{1} = fail
main()
"""
"""The command line, in which a call of the system fails: the code of the error, and what raises it."""
MOVE = "output_folder.OutputFolder._move_into_place"
WRITE = "import aiowatermark.transport.atomic_file as module; module.write_batch"
DOWNLOAD = "import aiowatermark.transport.targets as module; module._create_part"


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """An image in a subfolder of `photos`."""
    path = tmp_path / "photos/sub/a.jpg"
    path.parent.mkdir(parents=True)
    path.write_bytes(make_jpeg())
    return path


def put_file(folder: Path) -> Callable[[], None]:
    folder.write_text("a file in place of a folder")
    return folder.unlink


def protect(folder: Path) -> Callable[[], None]:
    folder.mkdir()
    folder.chmod(0o555)
    return lambda: folder.chmod(0o755)


@pytest.mark.parametrize(
    ("prevent", "reason"),
    [
        (put_file, "clean/sub is a file, where a folder is needed"),
        pytest.param(protect, "this user has no permission there", marks=without_root_permissions),
    ],
)
async def test_it_is_listed_and_the_same_command_saves_it(  # noqa: PLR0917 - fixtures
    cli: Cli,
    to_emulator: list[str],
    photo: Path,
    emulator: Emulator,
    tmp_path: Path,
    prevent: Callable[[Path], Callable[[], None]],
    reason: str,
) -> None:
    cli.drop_root_permissions = True
    (tmp_path / "clean").mkdir()
    repair = prevent(tmp_path / "clean/sub")
    command = ("remove", "-r", "photos", *to_emulator, *PICWISH)
    finished = await cli(*command)
    assert finished.code == 1
    assert f"photos/sub/a.jpg: its result could not be written in clean/sub: {reason}\n" in finished.out
    assert "1 paid and not saved (photos/sub/a.jpg): PicWish keeps the result for now\n" in finished.out
    assert "the same command saves it, at no further cost:\n  aiowatermark remove -r photos" in finished.out
    assert "Errno" not in finished.text
    (listed,) = (await cli("jobs", "-o", "clean", "--json")).lines
    assert listed["state"] == "finished"

    repair()
    assert (await cli(*command)).code == 0
    assert emulator.charged["picwish"] == 1
    assert list_names(tmp_path / "clean/sub") == ["a-clean.jpg"]
    assert not (await cli("jobs", "-o", "clean", "--json")).lines


@pytest.mark.parametrize(
    ("error", "reason", "call"),
    [
        ("ENOSPC", "the disk is full", MOVE),
        ("ENOSPC", "the disk is full", WRITE),
        ("ENOSPC", "the disk is full", DOWNLOAD),
        ("EACCES", "this user has no permission there", MOVE),
        ("EROFS", "the disk can only be read", WRITE),
        ("EDQUOT", "the space that this user may take on the disk is used up", DOWNLOAD),
        ("EIO", "Input/output error", WRITE),
    ],
)
async def test_an_error_of_the_disk_is_said_in_words_wherever_it_happens(  # noqa: PLR0917 - fixtures
    cli: Cli, to_emulator: list[str], photo: Path, emulator: Emulator, error: str, reason: str, call: str
) -> None:
    command = ("remove", str(photo), *to_emulator, *PICWISH)
    finished = await cli(*command, code=FAILING.format(error, call))
    assert finished.code == 1, finished.text
    assert f"its result could not be written in clean: {reason}\n" in finished.out, finished.text
    assert "Errno" not in finished.text
    assert "fetching" not in finished.text, "the name of the temporary file"
    assert (await cli(*command)).code == 0
    assert emulator.charged["picwish"] == 1


@pytest.mark.slow
async def test_a_download_that_fails_is_no_problem_of_the_folder(
    cli: Cli, to_emulator: list[str], photo: Path, emulator: Emulator
) -> None:
    emulator.picwish.fail_download(times=None)
    finished = await cli("remove", str(photo), *to_emulator, *PICWISH)
    assert "could not be written" not in finished.out


async def test_without_a_store_its_token_is_said(cli: Cli, to_emulator: list[str], photo: Path, tmp_path: Path) -> None:
    (tmp_path / "clean").mkdir()
    repair = put_file(tmp_path / "clean/sub")
    finished = await cli("remove", "-r", "photos", *to_emulator, *PICWISH, "--no-store")
    assert "PicWish keeps the result for now" in finished.out
    command = finished.out.splitlines()[-1].split()
    assert command[:2] == ["aiowatermark", "resume"]
    repair()
    assert (await cli(*command[1:])).code == 0


async def test_a_result_that_came_as_bytes_is_kept_by_the_store_or_else_called_lost(
    cli: Cli, to_emulator: list[str], photo: Path, tmp_path: Path
) -> None:
    (tmp_path / "clean").mkdir()
    repair = put_file(tmp_path / "clean/sub")
    command = ("remove", "-r", "photos", *to_emulator, "--provider", "dewatermark")
    assert "the result is lost" in (await cli(*command, "--no-store")).out
    assert "the store of jobs keeps the result" in (await cli(*command)).out
    repair()
    assert (await cli(*command)).code == 0
