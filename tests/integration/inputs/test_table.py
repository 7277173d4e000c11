"""Every kind of input at every provider: sent as it is, or refused before anything is paid; never another error."""

from __future__ import annotations

import io
import logging
import os
import random
from base64 import b64encode
from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import av
import pytest
from PIL import Image
from starlette.datastructures import UploadFile

import aiowatermark as aw
from aiowatermark.emulator import Emulator
from tests.support.callback_server import serve_callbacks
from tests.support.images import make_jpeg, make_mask
from tests.support.media_sources import Pipe, stream_in_blocks
from tests.support.videos import make_mp4

FRAME = Image.effect_noise((300, 280), 90).convert("RGB")
IMAGE_PROVIDERS = ("gptge", "picwish", "kaze", "dewatermark")


def encoded(kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    FRAME.save(out, kind, **options)
    return out.getvalue()


def animated(kind: str) -> bytes:
    return encoded(kind, save_all=True, append_images=[FRAME.rotate(90)])


def container(*brands: bytes) -> bytes:
    content = brands[0] + bytes(4) + b"".join(brands[1:])
    return (8 + len(content)).to_bytes(4, "big") + b"ftyp" + content + bytes(200)


def exif(orientation: int) -> bytes:
    data = Image.Exif()
    data[0x0112] = orientation
    return data.tobytes()


def video(container: str, codec: str, **options: str) -> bytes:
    """A video of half a second that a real encoder made."""
    with TemporaryDirectory() as folder:  # `faststart` reads the file again
        path = Path(folder) / "video"
        with av.open(str(path), "w", format=container, options=options) as file:
            stream: Any = file.add_stream(codec, rate=24)
            stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
            for _ in range(12):
                picture = av.VideoFrame.from_image(FRAME.resize((320, 240)))  # type: ignore[no-untyped-call]
                file.mux(stream.encode(picture))
            file.mux(stream.encode(None))
        return path.read_bytes()


def sound(container: str, codec: str) -> bytes:
    """A tenth of a second of silence."""
    out = io.BytesIO()
    with av.open(out, "w", format=container) as file:
        stream: Any = file.add_stream(codec, rate=48_000)
        frame = av.AudioFrame(format=stream.format.name, layout="stereo", samples=1024)
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        frame.rate = 48_000
        file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return out.getvalue()


# what each input is, and the providers that it is sent to; all others refuse it, and nothing is paid
INPUTS: dict[str, tuple[bytes, str]] = {
    "JPEG": (encoded("JPEG"), "gptge picwish kaze dewatermark"),
    "JPEG, turned by EXIF": (encoded("JPEG", exif=exif(6)), "gptge picwish kaze dewatermark"),
    "JPEG, grey": (make_jpeg(300, 300), "gptge picwish kaze dewatermark"),
    "PNG": (encoded("PNG"), "gptge picwish kaze"),
    "PNG, animated": (animated("PNG"), "gptge picwish kaze"),
    "BMP": (encoded("BMP"), "gptge picwish kaze"),
    "WebP": (encoded("WEBP"), "gptge kaze"),
    "WebP, animated": (animated("WEBP"), "gptge kaze"),
    "HEIC, animated, at those that document formats": (container(b"msf1", b"hevc", b"iso8"), ""),
    "camera raw": (container(b"crx ", b"isom"), ""),
    "sound": (container(b"M4A ", b"mp42", b"isom"), ""),
    "text": (b"This is a text about a picture.", ""),
    "a page": (b"<!doctype html><title>404</title>", ""),
    "PDF": (b"%PDF-1.7", ""),
    "ZIP": (b"PK\x03\x04" + bytes(100), ""),
    "video": (make_mp4(100_000), "dewatermark"),
    "MP4 of an encoder": (video("mp4", "mpeg4"), "dewatermark"),
    "MP4, the index first": (video("mp4", "mpeg4", movflags="faststart"), "dewatermark"),
    "MP4 in fragments": (video("mp4", "mpeg4", movflags="frag_keyframe+empty_moov"), "dewatermark"),
    "MOV of an encoder": (video("mov", "mpeg4"), "dewatermark"),
    "Matroska": (video("matroska", "mpeg4"), "dewatermark"),
    "AVI": (video("avi", "mpeg4"), "dewatermark"),
    "sound of an encoder": (sound("ipod", "aac"), ""),
    "sound in Matroska": (sound("matroska", "aac"), ""),
    "MOV without ftyp": (b"\0\0\0\x08wide" + b"\0\x01\0\0mdat" + bytes(70_000), "dewatermark"),
    "nothing": (b"", ""),
}
UNDOCUMENTED = {"HEIC, animated, at those that document formats": {"gptge", "kaze"}}


@pytest.mark.parametrize("provider", IMAGE_PROVIDERS)
@pytest.mark.parametrize("kind", INPUTS)
async def test_an_input_is_sent_as_it_is_or_refused_before_payment(
    emulator: Emulator, provider: str, kind: str
) -> None:
    data, accepted = INPUTS[kind]
    if provider in UNDOCUMENTED.get(kind, ()):
        pytest.skip("the provider does not document its formats, so it decides")
    async with aw.Client(emulator.provider(provider), polling=aw.Polling(0.01, 1.0, 0.01)) as client:
        if provider in accepted.split():
            assert await (await client.remove(data)).read() == data
            assert emulator.charged[provider] == 1
        else:
            with pytest.raises((aw.InvalidInput, aw.Unsupported)):
                await client.remove(data)
            assert len(emulator.tasks) == emulator.charged[provider] == 0


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
async def test_an_animated_image_is_warned_about(
    emulator: Emulator, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with aw.Client(emulator.provider("kaze")) as client:
        await client.submit(animated(kind))
        await client.submit(encoded(kind))
    texts = [record.message for record in caplog.records if record.levelno >= logging.WARNING]
    assert [text for text in texts if "not finished" not in text] == [
        f"picture.{kind.lower()} is animated: one frame comes back"
    ]


# masks


def turned(size: tuple[int, int], orientation: int) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, (90, 120, 60)).save(out, "JPEG", exif=exif(orientation))
    return out.getvalue()


@pytest.mark.parametrize("provider", ["kaze", "dewatermark"])
@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (make_mask(300, 299), "the mask has 300x299 pixels, but picture.jpg has 300x200: both must"),
        (make_mask(200, 300), "but picture.jpg has 300x200, it is rotated: both must"),
        (encoded("JPEG"), "the mask has 300x280 pixels"),
        (Image.new("L", (300, 200)), "black everywhere"),
        (Image.new("L", (300, 200), 255), "white everywhere"),
        (FRAME.resize((300, 200)), r"\d\d % of this mask is neither black nor white"),
        (b"not an image", "is not an image in a known format"),
    ],
)
async def test_a_mask_that_can_do_nothing_is_not_paid_for(
    emulator: Emulator, provider: str, mask: Any, message: str
) -> None:
    if isinstance(mask, Image.Image):
        out = io.BytesIO()
        mask.save(out, "PNG")
        mask = out.getvalue()
    async with aw.Client(emulator.provider(provider)) as client:
        with pytest.raises(aw.InvalidInput, match=message):
            await client.remove(turned((300, 200), 1), mask=mask)
    assert emulator.charged[provider] == 0


async def test_a_mask_drawn_on_an_image_as_it_is_shown_is_refused_by_a_sentence_that_names_the_orientation(
    emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    photo = turned((300, 200), 6)
    async with aw.Client(emulator.provider("kaze")) as client:
        with pytest.raises(aw.InvalidInput, match=r"stored as 300x200, and its EXIF orientation 6 turns it"):
            await client.remove(photo, mask=make_mask(200, 300))
        assert emulator.charged["kaze"] == 0
        await client.submit(photo, mask=make_mask(300, 200))
    assert "has the EXIF orientation 6: the mask must mark the pixels as they are stored" in caplog.text


async def test_a_size_outside_the_limits_is_named_with_the_orientation(emulator: Emulator) -> None:
    async with aw.Client(emulator.provider("picwish")) as client:
        with pytest.raises(
            aw.InvalidInput, match=r"19x300 pixels \(shown as 300x19 by its EXIF orientation 8\), fewer"
        ):
            await client.remove(turned((19, 300), 8))


@pytest.mark.parametrize("provider", ["kaze", "dewatermark"])
async def test_a_mask_of_zeros_and_ones_removes_what_a_white_one_removes(provider: str) -> None:
    photo, results = encoded("JPEG", quality=95), []
    mask = Image.open(io.BytesIO(make_mask(300, 280)))
    async with Emulator(processing=0.0) as emulator, aw.Client(emulator.provider(provider)) as client:
        for levels in (mask, mask.point([level // 255 for level in range(256)])):
            out = io.BytesIO()
            levels.save(out, "PNG")
            results.append(await (await client.remove(photo, mask=out.getvalue())).read())
    assert results[0] == results[1] != photo


async def test_a_smear_without_strokes_is_not_paid_for(emulator: Emulator) -> None:
    async with aw.Client(emulator.provider("kaze")) as client:
        with pytest.raises(aw.InvalidInput, match="the smear marks nothing"):
            await client.remove(encoded("PNG"), smear=make_mask(300, 280))
    assert emulator.charged["kaze"] == 0


# names, and objects of every type, in one batch

NAMES = [
    b"caf\xe9.jpg",
    "照片.jpg".encode(),
    b"a" * 251 + b".jpg",
    "é".encode() * 125 + b".jpg",
    b"tab\tand\nline.jpg",
    b"\x1b[31mred.jpg",
    b"q\"uote's & 100%?.jpg",
    b"-rf.jpg",
    b" .jpg",
    "\u202egpj.exe".encode(),
]


async def test_no_file_name_ends_a_batch(emulator: Emulator, tmp_path: Path) -> None:
    paths = [str(tmp_path / os.fsdecode(name)) for name in NAMES]
    missing = [str(tmp_path / "no" / os.fsdecode(name)) for name in NAMES]
    for path in paths:
        Path(path).write_bytes(encoded("JPEG"))
    async with aw.Client(emulator.provider("gptge"), polling=aw.Polling(0.01, 1.0, 0.01)) as client:
        outcomes = [outcome async for outcome in client.stream([*paths, *missing], key=aw.CONTENT_KEY)]
    assert {type(outcome) for outcome in outcomes if outcome.item in paths} == {aw.Done}
    failed = [outcome for outcome in outcomes if isinstance(outcome, aw.Failed)]
    assert {outcome.item for outcome in failed} == set(missing)
    for outcome in failed:
        assert str(outcome.error).isprintable()
        assert str(outcome.error).encode()


class Broken:
    """Has `read`, which raises what no library raises."""

    def read(self, size: int) -> bytes:
        raise AttributeError("no such thing")


async def broken_stream() -> AsyncIterator[bytes]:
    yield encoded("JPEG")[:1000]
    raise RuntimeError("of the user's own")


async def test_a_batch_of_every_kind_of_source_ends_with_an_outcome_for_each(
    emulator: Emulator, tmp_path: Path
) -> None:
    photo = encoded("JPEG")
    (tmp_path / "photo.jpg").write_bytes(photo)
    good: list[Any] = [
        photo,
        tmp_path / "photo.jpg",
        io.BytesIO(photo),
        UploadFile(io.BytesIO(photo), filename="photo.jpg"),
        stream_in_blocks(photo, 7),
        Pipe(photo),
        bytearray(photo),
    ]
    bad: list[Any] = [Broken(), broken_stream(), Image.new("RGB", (9, 9)), 7, None, "", {"a": 1}, io.StringIO("text")]
    async with aw.Client(emulator.provider("gptge"), polling=aw.Polling(0.01, 1.0, 0.01)) as client:
        outcomes = [outcome async for outcome in client.stream([*good, *bad])]
    done = [outcome.item for outcome in outcomes if isinstance(outcome, aw.Done)]
    assert {id(media) for media in done} == {id(media) for media in good}
    assert len(outcomes) == len(good) + len(bad)
    assert emulator.charged["gptge"] == len(good)


# what is lent by a link


@pytest.mark.parametrize("kind", ["path", "open file", "memory file", "bytes", "upload", "data URL"])
async def test_what_is_lent_by_a_link_works_at_that_link(emulator: Emulator, tmp_path: Path, kind: str) -> None:
    photo, path = encoded("PNG"), tmp_path / "photo"
    path.write_bytes(photo)
    with path.open("rb") as file:
        sources: dict[str, Any] = {
            "path": path,
            "open file": file,
            "memory file": io.BytesIO(photo),
            "bytes": photo,
            "upload": UploadFile(io.BytesIO(photo)),
            "data URL": encoded_as_url(photo),
        }
        async with (
            serve_callbacks() as server,
            aw.Client(emulator.provider("photoeraser"), callbacks=server.receiver) as client,
        ):
            result = await client.remove([sources[kind]], mask=make_mask(300, 280), deadline=20)
            assert await result.read() == photo


def encoded_as_url(data: bytes) -> str:

    return f"data:image/png;base64,{b64encode(data).decode()}"


# damage


def damaged_inputs(count: int, seed: int) -> list[bytes]:
    generator, heads = random.Random(seed), [data[:3000] for data, _ in INPUTS.values() if data]  # noqa: S311
    result = []
    for _ in range(count):
        data = bytearray(generator.choice(heads))
        for _ in range(generator.randrange(1, 12)):
            data[int(len(data) * generator.random() ** 2)] = generator.randrange(256)
        result.append(bytes(data[: generator.choice([len(data), 12, 40, 300])]))
    return result


@pytest.mark.parametrize("provider", IMAGE_PROVIDERS)
async def test_a_damaged_input_is_prepared_or_refused(emulator: Emulator, provider: str) -> None:
    async with aw.Client(emulator.provider(provider)) as client:
        for data in damaged_inputs(500, seed=5):
            try:
                await client._preparer.prepare(data, None, None, {})
            except (aw.InvalidInput, aw.Unsupported) as error:
                assert len(error.message) < 300


async def endless() -> AsyncIterator[bytes]:
    while True:
        yield bytes(1000)


@pytest.mark.parametrize("key", [None, aw.CONTENT_KEY])
async def test_a_stream_without_an_end_does_not_fill_the_disk_and_nothing_is_paid(
    monkeypatch: pytest.MonkeyPatch, emulator: Emulator, key: Any
) -> None:
    monkeypatch.setattr("aiowatermark.media.base.SPOOL_LIMIT", 1 << 20)
    async with aw.Client(emulator.provider("gptge")) as client:
        with pytest.raises(aw.InvalidInput, match="does not tell its size"):
            await client.remove(head_and(endless()), key=key)
    assert emulator.charged["gptge"] == 0


async def head_and(rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield encoded("JPEG")
    async for block in rest:
        yield block
