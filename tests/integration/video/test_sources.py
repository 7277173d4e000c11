"""Every kind of source is uploaded completely; a source that can be read only once is sent only once."""

from __future__ import annotations

import io
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import aiowatermark as aw
from tests.support.media_host import MediaHost, abort_after, close_after, refuse, serve_without_length
from tests.support.media_sources import stream_in_blocks, stream_of
from tests.support.videos import make_mp4


@pytest.mark.parametrize("kind", ["path", "text", "bytes", "open file", "memory file", "sized", "unsized"])
async def test_any_source_is_uploaded_completely(host: MediaHost, tmp_path: Path, kind: str) -> None:
    data = make_mp4(2_000_003)
    path = tmp_path / "clip.mp4"
    path.write_bytes(data)
    prefixed = tmp_path / "prefixed.mp4"
    prefixed.write_bytes(b"before" + data)
    with prefixed.open("rb") as opened:
        opened.seek(6)
        sources: dict[str, Any] = {
            "path": path,
            "text": str(path),
            "bytes": data,
            "open file": opened,
            "memory file": io.BytesIO(data),
            "sized": stream_in_blocks(data),
            "unsized": stream_in_blocks(data),
        }
        options: dict[str, Any] = {"size": len(data)} if kind == "sized" else {}
        async with host.client() as client:
            await client.remove(sources[kind], **options)
    assert host.stored == [data]
    assert host.uploads[0].length == len(data)


async def test_an_open_file_is_read_again_from_its_initial_position(host: MediaHost, clip: Path) -> None:
    host.upload_handlers = [abort_after(1_000_000)]
    with clip.open("rb") as opened:
        async with host.client() as client:
            await client.remove(opened)
        assert not opened.closed
    assert host.stored == [clip.read_bytes()]


async def test_a_url_is_streamed_through_without_a_temporary_file(
    host: MediaHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.result = make_mp4(4_000_000)

    def fail(*_: Any, **__: Any) -> Any:
        raise AssertionError("a temporary file was created")

    monkeypatch.setattr(tempfile, "NamedTemporaryFile", fail)
    async with host.client() as client:
        await client.remove(f"{host.origin}/result/video.mp4?sig=a%2Fb")
    assert host.stored == [host.result]
    assert host.downloads[0].target == "/result/video.mp4?sig=a%2Fb"
    assert "x-api-key" not in host.downloads[0].headers


async def test_a_url_is_requested_again_for_each_attempt(host: MediaHost) -> None:
    host.result = make_mp4(2_000_000)
    host.upload_handlers = [abort_after(500_000), refuse(503)]
    async with host.client() as client:
        await client.remove(f"{host.origin}/result/video.mp4")
    assert (len(host.downloads), host.stored) == (3, [host.result])


@pytest.mark.parametrize("length", [0, 1_000_000])
async def test_a_url_whose_download_is_cut_is_requested_again(host: MediaHost, length: int) -> None:
    host.result = make_mp4(2_000_000)
    host.download_handlers = [close_after(length, etag=None)] * 2
    async with host.client() as client:
        await client.remove(f"{host.origin}/result/video.mp4")
    assert (host.stored, len(host.start_requests)) == ([host.result], 1)


async def test_a_url_of_unknown_size_goes_through_a_temporary_file_that_is_deleted(
    host: MediaHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.result = make_mp4(900_000)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    host.download_handlers = [serve_without_length]
    async with host.client() as client:
        await client.remove(f"{host.origin}/result/video.mp4")
    assert host.stored == [host.result]
    assert list(tmp_path.iterdir()) == []


async def test_a_stream_whose_upload_was_cut_is_not_sent_again_and_the_error_says_so(host: MediaHost) -> None:
    data = make_mp4(3_000_000)
    host.upload_handlers = [abort_after(1_000_000)]
    async with host.client() as client:
        with pytest.raises(aw.TransferFailed, match=r"read only once and is not sent again: give a path"):
            await client.remove(stream_in_blocks(data), size=len(data))
    assert (len(host.uploads), host.start_requests) == (1, [])


@pytest.mark.parametrize("difference", [-1000, 1000])
async def test_a_stream_of_another_length_than_declared_is_one_clear_error(host: MediaHost, difference: int) -> None:
    data = make_mp4(1_000_000)
    async with host.client() as client:
        with pytest.raises(aw.TransferFailed, match="changed its size while it was sent"):
            await client.remove(stream_in_blocks(data), size=len(data) + difference)
    assert (host.stored, host.start_requests) == ([], [])


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), RuntimeError("the user's own")])
async def test_a_source_that_raises_is_one_clear_error(host: MediaHost, error: Exception) -> None:
    data = make_mp4(1_000_000)

    async def raise_halfway() -> AsyncIterator[bytes]:
        yield data[:600_000]
        raise error

    async with host.client() as client:
        with pytest.raises(aw.TransferFailed, match=r"could not be read to its end: (Input/output error|RuntimeError)"):
            await client.remove(raise_halfway(), size=len(data))
    assert (host.stored, host.start_requests) == ([], [])


@pytest.mark.parametrize("kind", ["path", "bytes", "open file", "stream"])
async def test_an_empty_source_is_refused_before_any_request(host: MediaHost, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "empty.mp4"
    path.touch()
    with path.open("rb") as opened:
        sources: dict[str, Any] = {"path": path, "bytes": b"", "open file": opened, "stream": stream_of()}
        async with host.client() as client:
            with pytest.raises(aw.InvalidInput, match="empty"):
                await client.remove(sources[kind])
    assert host.requests == []
