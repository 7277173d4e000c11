"""What a result can be saved to: files, links, folders, devices and FIFOs; anything else is refused at once."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

import aiowatermark as aw
from aiowatermark.transport.atomic_file import atomic_file, write_blocks
from aiowatermark.transport.http import HttpTransport
from tests.support.files import list_names
from tests.support.http_server import serve_handler
from tests.support.images import make_noise

pytestmark = pytest.mark.usefixtures("no_retry_delays")

IMAGE = make_noise()
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - the folder is temporary
SAVE = aw.Kaze("canary-key", base_url="http://127.0.0.1:9")


@pytest.fixture
async def requests() -> list[str]:
    """The paths that were requested."""
    return []


@pytest.fixture
async def url(requests: list[str]) -> AsyncIterator[str]:
    """Where the image is served, under any name."""

    async def serve(request: web.Request) -> web.StreamResponse:
        requests.append(request.path)
        return web.Response(body=IMAGE)

    async with serve_handler(serve) as origin:
        yield f"{origin}/results/clean.jpg?sig=1"


async def save(url: str, target: Path) -> Path:
    async with HttpTransport(SAVE) as transport:
        return await transport.download(url, target, None)


@pytest.fixture
def umask() -> Iterator[None]:
    before = os.umask(0o027)
    yield
    os.umask(before)


@pytest.mark.usefixtures("umask")
async def test_a_new_file_has_the_mode_that_the_system_gives(url: str, tmp_path: Path) -> None:
    path = await save(url, tmp_path / "clean.jpg")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o666, 0o400])
async def test_a_file_that_is_replaced_keeps_its_mode(url: str, tmp_path: Path, mode: int) -> None:
    path = tmp_path / "clean.jpg"
    path.write_bytes(b"before")
    path.chmod(mode)
    await save(url, path)
    assert path.read_bytes() == IMAGE
    assert stat.S_IMODE(path.stat().st_mode) == mode


async def test_the_part_of_a_private_file_is_private_while_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "clean.jpg"
    path.touch(0o600)
    async with atomic_file(path) as part:
        assert part.path is not None
        assert stat.S_IMODE(part.path.stat().st_mode) == 0o600


@pytest.mark.parametrize("exists", [True, False])
async def test_a_symbolic_link_stays_and_what_it_leads_to_is_replaced(
    url: str, tmp_path: Path, *, exists: bool
) -> None:
    folder = tmp_path / "real"
    folder.mkdir()
    if exists:
        (folder / "clean.jpg").write_bytes(b"before")
    (tmp_path / "second.jpg").symlink_to("real/clean.jpg")
    (tmp_path / "first.jpg").symlink_to(tmp_path / "second.jpg")
    await save(url, tmp_path / "first.jpg")
    assert (tmp_path / "first.jpg").is_symlink()
    assert (tmp_path / "second.jpg").is_symlink()
    assert (folder / "clean.jpg").read_bytes() == IMAGE
    assert list_names(folder) == ["clean.jpg"]


@pytest.mark.parametrize("name", ["a" * 251 + ".jpg", "图" * 83 + ".jpg", "😀" * 62 + ".jpg", "é" * 127])
async def test_a_name_may_have_as_many_bytes_as_the_file_system_allows(url: str, tmp_path: Path, name: str) -> None:
    assert len(name.encode()) <= 255
    assert (await save(url, tmp_path / name)).read_bytes() == IMAGE
    assert list_names(tmp_path) == [name]


def make_folder_without_entry(folder: Path) -> Path:
    return folder / "missing" / "clean.jpg"


def make_file_as_folder(folder: Path) -> Path:
    (folder / "file").write_bytes(b"")
    return folder / "file" / "clean.jpg"


def make_loop_of_links(folder: Path) -> Path:
    (folder / "loop").symlink_to(folder / "loop")
    return folder / "loop"


def make_socket(folder: Path) -> Path:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "s"))
    return folder / "s"


IMPOSSIBLE: list[Callable[[Path], Path]] = [
    make_folder_without_entry,
    make_file_as_folder,
    make_loop_of_links,
    make_socket,
    lambda folder: folder / ("a" * 252 + ".jpg"),
    lambda folder: folder / ("图" * 85 + "."),
    lambda folder: folder / "nul\0.jpg",
    lambda folder: folder / "\ud800.jpg",
    lambda folder: folder / ("d/" * 3000) / "clean.jpg",
    lambda _: Path("/proc/self/clean.jpg"),
]


@pytest.mark.parametrize("make_target", IMPOSSIBLE)
async def test_an_impossible_target_is_refused_before_anything_is_fetched(
    url: str, requests: list[str], tmp_path: Path, make_target: Callable[[Path], Path]
) -> None:
    target = make_target(tmp_path)
    before = list_names(tmp_path)
    with pytest.raises(aw.InvalidInput):
        await save(url, target)
    assert requests == []
    assert list_names(tmp_path) == before


@pytest.mark.parametrize("path", [None, 7, b"bytes", object()])
async def test_a_path_of_another_type_is_refused(path: Any) -> None:
    record = aw.Record(
        "order-1",
        "kaze",
        aw.Snapshot("t", aw.Status.SUCCEEDED, outputs=(aw.Output(aw.as_media("https://x.example/a")),)),
    )
    fetcher: Any = None
    with pytest.raises(aw.InvalidInput, match="path to save to"):
        await aw.Result(record, fetcher).save(path)


# folders


async def test_a_folder_gets_a_free_name_with_the_suffix_of_the_format(url: str, tmp_path: Path) -> None:
    names = [(await save(url, tmp_path)).name for _ in range(3)]
    assert names == ["clean.jpg", "clean-2.jpg", "clean-3.jpg"]
    assert list_names(tmp_path) == sorted(names)


async def test_a_name_in_a_folder_has_the_suffix_of_what_came(tmp_path: Path) -> None:
    async with aw.Client(aw.Kaze("canary-key", base_url="http://127.0.0.1:9")) as client:
        for kind, suffix in (("png", ".png"), ("jpeg", ".jpg"), ("webp", ".webp")):
            media = aw.as_media(make_noise(kind=kind), name="photo.bin")
            record = aw.Record("order-1", "kaze", aw.Snapshot("t", aw.Status.SUCCEEDED, outputs=(aw.Output(media),)))
            result = aw.Result(record, client._open_engine.watcher.fetcher)
            assert (await result.save(tmp_path)).name == f"photo{suffix}"


async def test_a_folder_never_loses_a_file_to_another_save(url: str, tmp_path: Path) -> None:
    saved = await asyncio.gather(*(save(url, tmp_path) for _ in range(12)))
    assert len(set(saved)) == 12
    assert list_names(tmp_path) == sorted(path.name for path in saved)


async def test_a_file_system_without_hard_links_gets_a_free_name_too(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "link", refuse)
    assert [(await save(url, tmp_path)).name for _ in range(2)] == ["clean.jpg", "clean-2.jpg"]


# devices and FIFOs


async def test_a_fifo_is_written_into_at_the_speed_of_its_reader(url: str, tmp_path: Path) -> None:
    fifo, data = tmp_path / "pipe", bytearray()
    os.mkfifo(fifo)
    large = os.urandom(1_000_000)

    async def blocks() -> AsyncIterator[bytes]:
        yield large

    def read() -> None:
        with fifo.open("rb") as file:
            while block := file.read(10_000):
                data.extend(block)

    reading = asyncio.create_task(asyncio.to_thread(read))
    async with atomic_file(fifo) as part:
        await write_blocks(part.file, blocks())
    await reading
    assert data == large
    assert stat.S_ISFIFO(fifo.stat().st_mode)
    assert list_names(tmp_path) == ["pipe"]


async def test_a_fifo_gets_nothing_of_a_result_that_does_not_come(tmp_path: Path) -> None:
    fifo = tmp_path / "pipe"
    os.mkfifo(fifo)
    descriptor = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
    try:
        with pytest.raises(aw.TransferFailed):
            await save("https://127.0.0.1:9/not-public\x00", fifo)
        with pytest.raises(BlockingIOError):
            os.read(descriptor, 1)
    finally:
        os.close(descriptor)


async def test_a_fifo_that_nobody_reads_is_refused(
    url: str, requests: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aiowatermark.transport.targets._READER_SECONDS", 0.0)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(aw.InvalidInput):
        await save(url, tmp_path / "pipe")
    assert requests == []


async def test_a_reader_that_goes_away_is_a_failed_transfer(tmp_path: Path) -> None:
    fifo = tmp_path / "pipe"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)

    async def blocks() -> AsyncIterator[bytes]:
        yield bytes(1_000_000)
        os.close(reader)

    with pytest.raises(aw.TransferFailed, match="Broken pipe"):
        async with atomic_file(fifo) as part:
            await write_blocks(part.file, blocks())


async def test_a_device_is_written_into(url: str, requests: list[str]) -> None:
    assert await save(url, Path("/dev/null")) == Path("/dev/null")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)
    assert len(requests) == 1


async def test_a_descriptor_of_this_process_is_written_into(url: str, tmp_path: Path) -> None:
    with (tmp_path / "out").open("w+b") as file:
        await save(url, Path(f"/dev/fd/{file.fileno()}"))
        assert (tmp_path / "out").read_bytes() == IMAGE
        assert os.fstat(file.fileno()).st_ino == (tmp_path / "out").stat().st_ino


@pytest.mark.skipif(not SHARED_MEMORY.is_dir(), reason="needs a file system in memory")
async def test_a_file_in_memory_is_replaced_like_any_other(url: str) -> None:
    with tempfile.TemporaryDirectory(dir=SHARED_MEMORY) as folder:
        path = Path(folder, "clean.jpg")
        path.write_bytes(IMAGE + b"the rest of a longer file")
        before = path.stat().st_ino
        await save(url, path)
        assert path.read_bytes() == IMAGE
        assert path.stat().st_ino != before
        assert list_names(path.parent) == ["clean.jpg"]
