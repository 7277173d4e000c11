"""`jobs` only reads: a store that cannot be written to, and one in a folder that cannot be, is listed as any other."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest

from aiowatermark import SQLiteStore, StoreError
from aiowatermark.emulator import Emulator, Fault
from tests.support.cli import Cli, without_root_permissions
from tests.support.files import list_names
from tests.support.records import make_record

READS = [("jobs",), ("jobs", "--json"), ("jobs", "--stats"), ("jobs", "show", "job-1")]


@pytest.fixture
async def store(tmp_path: Path) -> Path:
    """The path of a store with one job, in a folder of its own."""
    (tmp_path / "disk").mkdir()
    path = tmp_path / "disk/jobs.db"
    async with SQLiteStore(path) as opened:
        await opened.open(make_record("job-1"))
    return path


def protect(path: Path, folder_mode: int) -> None:
    """Take away the permission to write to a store, its companions and, by its mode, its folder."""
    for each in path.parent.iterdir():
        each.chmod(0o555 if each.is_dir() else 0o444)
    path.parent.chmod(folder_mode)


@without_root_permissions
@pytest.mark.parametrize("arguments", READS, ids=" ".join)
@pytest.mark.parametrize("folder_mode", [0o555, 0o755], ids=["folder", "file"])
async def test_a_store_that_cannot_be_written_to_is_read(
    cli: Cli, store: Path, arguments: tuple[str, ...], folder_mode: int
) -> None:
    command, *rest = arguments
    expected = await cli(command, *rest[:1], "--store", str(store), *rest[1:])
    protect(store, folder_mode)
    cli.drop_root_permissions = True
    finished = await cli(command, *rest[:1], "--store", str(store), *rest[1:])
    assert finished.code == 0, finished.text
    assert len(finished.out.splitlines()) == len(expected.out.splitlines())
    assert "readonly" not in finished.text


@without_root_permissions
async def test_an_output_folder_on_a_disk_that_cannot_be_written_to_is_listed_with_its_names(
    cli: Cli, to_emulator: list[str], photos: list[str], emulator: Emulator, tmp_path: Path
) -> None:
    emulator.inject(Fault.dropped_after(), "gptge", "submit")
    await cli("remove", photos[0], *to_emulator, "--provider", "gptge")
    protect(tmp_path / "clean/.aiowatermark/jobs.db", 0o555)
    (tmp_path / "clean").chmod(0o555)
    cli.drop_root_permissions = True
    finished = await cli("jobs", "-o", "clean")
    assert finished.code == 0, finished.text
    assert "one.jpg " in finished.out
    assert "1 in doubt: " in finished.out


@without_root_permissions
async def test_the_log_of_a_store_that_was_copied_while_it_was_open_is_read(
    cli: Cli, store: Path, tmp_path: Path
) -> None:
    copied = tmp_path / "copy/jobs.db"
    copied.parent.mkdir()
    async with SQLiteStore(store) as opened:
        await opened.open(make_record("job-2"))
        for name in ("jobs.db", "jobs.db-wal"):
            shutil.copyfile(store.with_name(name), copied.with_name(name))
    protect(copied, 0o555)
    cli.drop_root_permissions = True
    finished = await cli("jobs", "--store", str(copied), "--json")
    assert [line["key"] for line in finished.lines] == ["job-1", "job-2"]


async def test_reading_changes_no_record_and_no_format(store: Path) -> None:
    before = store.read_bytes()
    async with SQLiteStore(store, read_only=True) as opened:
        assert [record.key async for record in opened.unfinished()] == ["job-1"]
        with pytest.raises(StoreError):
            await opened.open(make_record("job-2"))
    assert store.read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"not a database"])
async def test_what_is_no_store_stays_as_it_is(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "jobs.db"
    path.write_bytes(content)
    if content:
        with pytest.raises(StoreError, match="not an aiowatermark store"):
            await SQLiteStore(path, read_only=True).__aenter__()
    else:
        async with SQLiteStore(path, read_only=True) as opened:
            assert [record async for record in opened.unfinished()] == []
    assert path.read_bytes() == content


async def test_a_store_of_an_earlier_format_is_read_and_not_converted(store: Path, tmp_path: Path) -> None:
    earlier = tmp_path / "earlier.db"
    _make_earlier(store, earlier)
    before = earlier.read_bytes()
    async with SQLiteStore(earlier, read_only=True) as opened:
        assert [record.key async for record in opened.unfinished()] == ["job-1"]
    assert earlier.read_bytes() == before


async def test_a_path_without_a_store_creates_nothing(tmp_path: Path) -> None:
    with pytest.raises(StoreError):
        await SQLiteStore(tmp_path / "none.db", read_only=True).__aenter__()
    assert list_names(tmp_path) == []


def _make_earlier(store: Path, path: Path) -> None:
    """Write the records of a store to a file of format 1."""
    columns = "id, key, callback, version, ended, parts, data"
    source, target = sqlite3.connect(store), sqlite3.connect(path)
    try:
        rows = source.execute(f"SELECT {columns} FROM records").fetchall()  # noqa: S608 - a constant
        target.execute(
            "CREATE TABLE records (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, callback TEXT, version INTEGER "
            "NOT NULL, ended REAL, parts TEXT NOT NULL, data TEXT NOT NULL)"
        )
        target.execute("PRAGMA application_id = 0x61776D31")
        target.execute("PRAGMA user_version = 1")
        target.executemany(f"INSERT INTO records ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?)", rows)  # noqa: S608
        target.commit()
    finally:
        source.close()
        target.close()
