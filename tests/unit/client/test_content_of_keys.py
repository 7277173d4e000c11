"""A key stands for one content: other bytes under it are an error; CONTENT_KEY is made from the bytes themselves."""

from __future__ import annotations

import io
import os
import tempfile
from base64 import b64encode
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from PIL import Image

import aiowatermark as aw
from aiowatermark.media.digests import FILE_DIGESTS
from aiowatermark.testing import ScriptedTransport, json_response
from aiowatermark.wire import Multipart, Request, Response
from tests.support.images import make_image, make_jpeg
from tests.support.media_sources import Pipe, stream_of
from tests.support.picwish import ACCEPTED, FINISHED, LINK, scripted_client

VIRTUAL_CLOCK = True
ONE, OTHER = make_jpeg(300, 300, padding=70_000), make_jpeg(300, 301, padding=70_000)
SIGNED = f"{LINK}?id=1&X-Amz-Algorithm=A&X-Amz-Credential=C&X-Amz-Date=D&X-Amz-Signature="


class Reading(ScriptedTransport):
    """Reads the media of a request, as an upload does."""

    def __init__(self) -> None:
        super().__init__([ACCEPTED], [FINISHED])

    async def perform(self, request: Request, **settings: Any) -> Response:
        if isinstance(request.body, Multipart):
            for value in request.body.fields.values():
                if isinstance(value, aw.Media):
                    async for _ in value.blocks():
                        pass
        return await super().perform(request, **settings)


@pytest.fixture
def transport() -> Reading:
    return Reading()


def client_of(transport: ScriptedTransport, **settings: Any) -> aw.Client:
    # files are read in threads, and the virtual clock jumps meanwhile: the deadline must be far
    return scripted_client(transport, deadline=1e6, **settings)


async def assert_one_charge(transport: ScriptedTransport, *sources: Any, key: Any = "order-1", **settings: Any) -> None:
    async with client_of(transport, **settings) as client:
        results = [await client.remove(source, key=key) for source in sources]
    assert len({result.key for result in results}) == 1
    assert transport.submitted == 1


async def assert_other_job(transport: ScriptedTransport, first: Any, second: Any) -> None:
    async with client_of(transport) as client:
        await client.remove(first, key="order-1")
        with pytest.raises(aw.InvalidInput, match="belongs to another job"):
            await client.remove(second, key="order-1")
    assert transport.submitted == 1


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, data in enumerate((ONE, OTHER)):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "photo.jpg").write_bytes(data)
    return tmp_path


async def test_another_file_of_the_same_name_and_size_is_another_job(transport: Reading, folder: Path) -> None:
    assert len(ONE) == len(OTHER)
    await assert_other_job(transport, folder / "0" / "photo.jpg", folder / "1" / "photo.jpg")


async def test_a_file_that_was_written_anew_is_another_job_though_its_date_is_the_same(
    transport: Reading, folder: Path
) -> None:
    path = folder / "0" / "photo.jpg"
    async with client_of(transport) as client:
        await client.remove(path, key="order-1")
        before = path.stat()
        path.write_bytes(OTHER)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        with pytest.raises(aw.InvalidInput, match="belongs to another job"):
            await client.remove(path, key="order-1")


@pytest.mark.parametrize("kind", ["bytes", "file", "memory file", "data URL"])
async def test_other_bytes_under_a_used_key_are_another_job(transport: Reading, folder: Path, kind: str) -> None:
    first, second = (as_kind(kind, number, folder) for number in (0, 1))
    await assert_other_job(transport, first, second)


def as_kind(kind: str, number: int, folder: Path) -> Any:
    path = folder / str(number) / "photo.jpg"
    data = path.read_bytes()
    if kind == "data URL":
        return f"data:image/jpeg;base64,{b64encode(data).decode()}"
    return {"bytes": data, "file": path, "memory file": io.BytesIO(data)}[kind]


async def test_the_same_bytes_are_the_same_job_whatever_they_come_from(transport: Reading, folder: Path) -> None:
    await assert_one_charge(transport, *(as_kind(kind, 0, folder) for kind in ("bytes", "file", "memory file")))


async def test_a_link_with_another_query_is_another_job_and_one_signed_again_is_the_same(transport: Reading) -> None:
    await assert_other_job(transport, f"{LINK}?id=1", f"{LINK}?id=2")
    await assert_other_job(Reading(), f"{LINK}?token=1", f"{LINK}?token=2")
    await assert_one_charge(Reading(), SIGNED + "old", SIGNED + "new")


async def test_another_mask_under_a_used_key_is_another_job() -> None:
    transport = ScriptedTransport([json_response(code=0, data={"task_id": "t-1"})], [json_response(code=1000)])
    masks = [masked_half(top) for top in (True, False)]
    async with client_of(transport, provider=aw.Kaze("canary-1")) as client:
        await client.submit(ONE, mask=masks[0], key="order-1")
        await client.submit(ONE, mask=masks[0], key="order-1")
        with pytest.raises(aw.InvalidInput, match="belongs to another job"):
            await client.submit(ONE, mask=masks[1], key="order-1")


def masked_half(top: bool) -> bytes:
    mask, out = Image.new("L", (300, 300)), io.BytesIO()
    mask.paste(255, (0, 0, 300, 150) if top else (0, 150, 300, 300))
    mask.save(out, "PNG")
    return out.getvalue()


async def in_blocks(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), 1000):
        yield data[start : start + 1000]


@pytest.mark.parametrize("stream", [in_blocks, Pipe])
async def test_a_stream_is_hashed_while_it_is_sent_and_what_comes_later_is_compared(
    transport: Reading, stream: Any
) -> None:
    async with client_of(transport) as client:
        await client.remove(stream(ONE), key="order-1")
        await client.remove(ONE, key="order-1")
        await client.remove(stream(OTHER), key="order-1")  # nothing can be compared before it is sent
        with pytest.raises(aw.InvalidInput, match="belongs to another job"):
            await client.remove(OTHER, key="order-1")
    assert transport.submitted == 1


async def test_a_record_of_an_earlier_version_does_not_refuse_its_job(transport: Reading) -> None:
    store = aw.MemoryStore()
    async with client_of(transport, store=store) as client:
        await client.remove(ONE, key="order-1")
        record = await store.get("order-1")
        assert record is not None
        store._records["order-1"] = evolve(record, fingerprint="f" * 32)
        await client.remove(ONE, key="order-1")
    assert transport.submitted == 1


async def test_nothing_is_hashed_without_a_key(
    transport: Reading, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> Any:
        raise AssertionError("hashed")

    monkeypatch.setattr("aiowatermark.media.digests.ContentHash.update", fail)
    monkeypatch.setattr("aiowatermark.media.digests.digest_stream", fail)
    async with client_of(transport) as client:
        for source in (ONE, folder / "0" / "photo.jpg", io.BytesIO(ONE), in_blocks(ONE)):
            await client.remove(source)


async def test_a_file_is_hashed_once_until_it_changes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, hashed = folder / "0" / "photo.jpg", []

    def record(file: Any) -> str:
        hashed.append(file)
        return str(file.read().hex())

    monkeypatch.setattr("aiowatermark.media.digests.digest_stream", record)
    assert FILE_DIGESTS.digest(path) == FILE_DIGESTS.digest(path) == ONE.hex()
    path.write_bytes(OTHER)
    assert FILE_DIGESTS.digest(path) == OTHER.hex()
    assert len(hashed) == 2


# CONTENT_KEY


async def test_the_same_content_is_paid_once_with_a_content_key(transport: Reading, folder: Path) -> None:
    sources = [*(as_kind(kind, 0, folder) for kind in ("bytes", "file")), in_blocks(ONE), Pipe(ONE)]
    await assert_one_charge(transport, *sources, key=aw.CONTENT_KEY)


async def test_another_content_mask_or_option_has_another_content_key(transport: Reading) -> None:
    async with client_of(transport) as client:
        keys = {(await client.submit(source, key=aw.CONTENT_KEY)).key for source in (ONE, OTHER, f"{LINK}?1", LINK)}
        keys.add((await client.submit(ONE, key=aw.CONTENT_KEY, sync=True)).key)
    assert len(keys) == transport.submitted == 5


async def test_another_account_has_another_content_key(transport: Reading) -> None:
    store, keys = aw.MemoryStore(), set()
    for account in ("canary-1", "canary-2"):
        async with client_of(transport, provider=aw.PicWish(account, requests_per_second=None), store=store) as client:
            keys.add((await client.submit(ONE, key=aw.CONTENT_KEY)).key)
    assert len(keys) == 2


async def test_a_stream_of_jobs_pays_once_for_the_same_content(transport: Reading) -> None:
    async with client_of(transport) as client:
        items: list[aw.Source] = [ONE, in_blocks(ONE), ONE]
        outcomes = [outcome async for outcome in client.stream(items, key=aw.CONTENT_KEY)]
    assert [type(outcome) for outcome in outcomes] == [aw.Done] * 3
    assert transport.submitted == 1


async def test_a_spooled_stream_leaves_no_file_open(transport: Reading, monkeypatch: pytest.MonkeyPatch) -> None:
    files: list[Any] = []
    create = tempfile.TemporaryFile

    def record(*args: Any, **settings: Any) -> Any:
        files.append(create(*args, **settings))
        return files[-1]

    monkeypatch.setattr(tempfile, "TemporaryFile", record)
    async with client_of(transport) as client:
        await client.remove(in_blocks(ONE), key=aw.CONTENT_KEY)
    transport.requests.clear()  # the transport of tests keeps what was sent
    assert [file.closed for file in files] == [True]


async def test_a_stream_that_fails_ends_before_anything_is_submitted_and_its_key_is_free(transport: Reading) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield ONE[:2000]
        raise ConnectionResetError("the uploader went away")

    async with client_of(transport) as client:
        for key in ("order-1", aw.CONTENT_KEY):
            with pytest.raises(aw.TransferFailed, match="could not be read to its end: ConnectionResetError"):
                await client.remove(broken(), key=key)
        await client.remove(stream_of(ONE), key="order-1")
    assert transport.submitted == 1


def test_the_content_key_has_the_name_that_users_write() -> None:
    assert repr(aw.CONTENT_KEY) == "aiowatermark.CONTENT_KEY"


async def test_an_image_is_not_confused_with_its_mask() -> None:
    transport = ScriptedTransport([json_response(code=0, data={"task_id": "t-1"})], [json_response(code=1000)])
    async with client_of(transport, provider=aw.Kaze("canary-1")) as client:
        keys = {
            (await client.submit(make_image(), key=aw.CONTENT_KEY)).key,
            (await client.submit(make_image(), mask=masked_half(True), key=aw.CONTENT_KEY)).key,
            (await client.submit(masked_half(True), key=aw.CONTENT_KEY)).key,
        }
    assert len(keys) == 3


class OwnMedia(aw.Media):
    """Media of the user's own."""

    reopenable = True

    def __init__(self, data: bytes) -> None:
        self.name, self.size, self.data = "own.jpg", len(data), data

    @property
    def identity(self) -> str:
        return self.name

    async def blocks(self) -> AsyncIterator[bytes]:  # type: ignore[override]
        yield self.data


class Unhashable(OwnMedia):
    async def hash_content(self) -> None:
        pass


async def test_media_of_the_users_own_are_told_apart_or_refused(transport: Reading) -> None:
    await assert_other_job(transport, OwnMedia(ONE), OwnMedia(OTHER))
    async with client_of(transport) as client:
        keys = {(await client.submit(OwnMedia(data), key=aw.CONTENT_KEY)).key for data in (ONE, OTHER, ONE)}
        with pytest.raises(aw.InvalidInput, match="CONTENT_KEY needs media that can be read again"):
            await client.submit(Unhashable(ONE), key=aw.CONTENT_KEY)
    assert len(keys) == 2


class Changing(Reading):
    """Changes a file when its job has been prepared and before it is sent."""

    change: Any = None

    async def perform(self, request: Request, **settings: Any) -> Response:
        if self.change is not None and not request.repeatable:
            self.change()
            self.change = None
        return await super().perform(request, **settings)


def replace(path: Path) -> None:
    (path.parent / "new").write_bytes(OTHER)
    (path.parent / "new").replace(path)


@pytest.mark.parametrize("key", ["order-1", aw.CONTENT_KEY])
@pytest.mark.parametrize("change", [lambda path: path.write_bytes(OTHER), replace])
async def test_a_file_that_is_changed_while_its_job_waits_is_not_sent_under_the_key_of_its_former_content(
    folder: Path, change: Any, key: Any
) -> None:
    transport, path = Changing(), folder / "0" / "photo.jpg"
    transport.change = lambda: change(path)
    async with client_of(transport) as client:
        with pytest.raises(aw.InvalidInput, match=r"photo\.jpg was changed after its job was prepared"):
            await client.remove(path, key=key)
        assert transport.submitted == 0
        await client.remove(path, key=key)
        await client.remove(OTHER, key=key)
    assert transport.submitted == 1


async def test_an_open_object_whose_content_is_changed_while_its_job_waits_is_not_sent(folder: Path) -> None:
    transport = Changing()
    async with client_of(transport) as client:
        with (folder / "0" / "photo.jpg").open("r+b") as file:
            transport.change = lambda: (folder / "0" / "photo.jpg").write_bytes(OTHER)
            with pytest.raises(aw.InvalidInput, match=r"photo\.jpg was changed"):
                await client.remove(file, key=aw.CONTENT_KEY)
            assert transport.submitted == 0
            await client.remove(file, key=aw.CONTENT_KEY)
        await client.remove(OTHER, key=aw.CONTENT_KEY)
    assert transport.submitted == 1


async def test_a_file_that_is_written_while_it_is_read_for_a_key_is_not_sent_completely(folder: Path) -> None:
    file = aw.as_media(folder / "0" / "photo.jpg")
    await file.hash_content()
    blocks = file.blocks()
    assert await anext(blocks)
    (folder / "0" / "photo.jpg").write_bytes(OTHER + b"more")
    with pytest.raises(aw.InvalidInput, match="was changed"):
        await read_to_end(blocks)


async def read_to_end(blocks: AsyncIterator[bytes]) -> None:
    async for _ in blocks:
        pass


async def test_a_file_that_was_only_touched_is_the_same_job(folder: Path) -> None:
    transport, path = Changing(), folder / "0" / "photo.jpg"
    transport.change = path.touch
    async with client_of(transport) as client:
        await client.remove(path, key="order-1")
    assert transport.submitted == 1


async def test_a_file_object_submitted_with_a_key_can_be_submitted_without_one_when_its_file_has_changed(
    transport: Reading, folder: Path
) -> None:
    path = folder / "0" / "photo.jpg"
    with path.open("rb") as opened:
        for number, file in enumerate((aw.as_media(path), aw.as_media(opened))):
            path.write_bytes(ONE)
            async with client_of(transport) as client:
                await client.remove(file, key=f"order-{number}")
                path.write_bytes(OTHER)
                await client.remove(file)
    assert transport.submitted == 4
