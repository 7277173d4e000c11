"""Formats: only what is certainly an image or a video is called so; sizes, orientations and frames are read right."""

from __future__ import annotations

import io
import random
from typing import Any

import pytest
from PIL import Image

from aiowatermark.errors import InvalidInput
from aiowatermark.media.base import SNIFF_BYTES
from aiowatermark.media.masks.black_and_white import convert_mask
from aiowatermark.media.memory import Bytes
from aiowatermark.media.mp4 import parse_mp4
from aiowatermark.media.sniff import IMAGE_FORMATS, VIDEO_FORMATS, MediaInfo, name_by_format, sniff
from tests.support.images import make_image

FRAME = Image.effect_noise((61, 43), 90).convert("RGB")


def encoded(kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    FRAME.save(out, kind, **options)
    return out.getvalue()


def with_frames(kind: str, count: int) -> bytes:
    return encoded(kind, save_all=True, append_images=[FRAME.rotate(90 * turn) for turn in range(1, count)])


def box(name: bytes, content: bytes = b"", size: int | None = None) -> bytes:
    return (8 + len(content) if size is None else size).to_bytes(4, "big") + name + content


def brands(major: bytes, *compatible: bytes) -> bytes:
    return box(b"ftyp", major + bytes(4) + b"".join(compatible)) + box(b"meta", bytes(20))


KINDS = ["PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "AVIF"]


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_is_recognised_with_its_size(kind: str) -> None:
    assert sniff(encoded(kind)[:SNIFF_BYTES]) == MediaInfo(kind.lower(), 61, 43)


@pytest.mark.parametrize("frames", [1, 3])
@pytest.mark.parametrize("kind", ["PNG", "GIF", "WEBP", "AVIF"])
def test_an_image_with_several_frames_is_an_animated_image_and_no_video(kind: str, frames: int) -> None:
    info = sniff(with_frames(kind, frames)[:SNIFF_BYTES])
    assert (info.format, info.video, info.animated) == (kind.lower(), False, frames > 1)


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (brands(b"avif", b"mif1", b"miaf"), "avif"),
        (brands(b"avis", b"avif", b"msf1", b"iso8", b"mif1"), "avif"),
        (brands(b"mif1", b"avif"), "avif"),
        (brands(b"mif1", b"heic"), "heic"),
        (brands(b"heic", b"mif1"), "heic"),
        (brands(b"msf1", b"hevc", b"iso8"), "heic"),
        (brands(b"hevc", b"heic", b"mp41"), "heic"),
        (brands(b"crx ", b"isom"), "cr3"),
        (brands(b"M4A ", b"mp42", b"isom"), "m4a"),
        (brands(b"M4B ", b"M4A ", b"mp42"), "m4a"),
        (brands(b"qt  "), "quicktime"),
        (brands(b"mp42", b"isom"), "mp4"),
        (brands(b"M4V ", b"M4A ", b"mp42"), "mp4"),
        (brands(b"isom", b"iso2", b"avc1", b"mp41"), "mp4"),
        (brands(b"3gp5", b"isom"), "mp4"),
        (brands(b"some", b"isom"), "mp4"),
        (box(b"free") + brands(b"isom"), "mp4"),
        (brands(b"some", b"thng"), None),
        (box(b"moov", box(b"mvhd", bytes(100))), "quicktime"),
        (box(b"wide") + box(b"mdat", size=1 << 20), "quicktime"),
        (box(b"mdat", size=1) + (1 << 33).to_bytes(8, "big"), "quicktime"),
        (box(b"mdat", size=0) + bytes(99), "quicktime"),
        (box(b"skip", bytes(16)) + box(b"moov", bytes(50)), "quicktime"),
        (b"See moov for details", None),
        (b"The free encyclopedia, in which everything is", None),
        (box(b"free", bytes(8)) + box(b"text", bytes(8)), None),
        (b"\x00\x00\x00\x0cJXL \r\n\x87\n" + brands(b"jxl "), "jxl"),
        (b"\xff\x0a\xfa\x1f", "jxl"),
        (b"\x00\x00\x00\x0cjP  \r\n\x87\n", "jp2"),
        (b"II*\x00\x10\x00\x00\x00CR\x02\x00", "cr2"),
        (b"RIFF\x00\x00\x00\x00WAVEfmt ", None),
        (b"XXXX\x00\x00\x00\x00WEBPVP8 ", None),
        (b"XXXX\x00\x00\x00\x00AVI LIST", None),
        (b"GIF8 and so on", None),
        (b"BMW makes cars, and this is a sentence about them.", None),
        (b"", None),
    ],
)
def test_a_file_is_what_its_first_bytes_certainly_say(head: bytes, name: str | None) -> None:
    info = sniff(head)
    assert info.format == name
    assert (info.video, info.image) == (name in VIDEO_FORMATS, name in IMAGE_FORMATS)


@pytest.mark.parametrize(
    ("header", "size"),
    [
        (b"\x0c\0\0\0" + b"\x2d\x01\xcb\x00" + bytes(4), (301, 203)),  # OS/2 1.x: sides of 16 bits
        (b"\x40\0\0\0" + b"\x2d\x01\0\0\xcb\x00\0\0", (301, 203)),  # OS/2 2.x
        (b"\x10\0\0\0" + b"\x2d\x01\0\0\xcb\x00\0\0", (301, 203)),  # OS/2 2.x, the short one
        (b"\x28\0\0\0" + b"\x2d\x01\0\0\x35\xff\xff\xff", (301, 203)),  # rows from the top
        (b"\x7c\0\0\0" + b"\x2d\x01\0\0\xcb\x00\0\0", (301, 203)),
    ],
)
def test_the_size_of_a_bmp_is_read_from_every_kind_of_header(header: bytes, size: tuple[int, int]) -> None:
    info = sniff(b"BM" + bytes(12) + header + bytes(60))
    assert (info.format, info.size) == ("bmp", size)


def exif(orientation: int) -> bytes:
    data = Image.Exif()
    data[0x0112] = orientation
    return data.tobytes()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_the_exif_orientation_swaps_the_sides_that_viewers_show(kind: str, orientation: int) -> None:
    info = sniff(encoded(kind, exif=exif(orientation))[:SNIFF_BYTES])
    assert (info.orientation, info.size) == (orientation, (61, 43))
    assert info.displayed == ((43, 61) if orientation >= 5 else (61, 43))
    assert (f"EXIF orientation {orientation}" in info.pixels) is (orientation >= 5)


def test_the_orientation_of_a_tiff_is_read() -> None:
    assert sniff(encoded("TIFF", tiffinfo={274: 6})).orientation == 6


@pytest.mark.parametrize("orientation", [0, 9, 65_535])
def test_an_orientation_that_does_not_exist_is_none(orientation: int) -> None:
    assert sniff(encoded("JPEG", exif=exif(orientation))).orientation == 1


@pytest.mark.parametrize(
    ("kind", "name", "sent", "content_type"),
    [
        ("PNG", "photo.jpg", "photo.png", "image/png"),
        ("PNG", "photo.PNG", "photo.PNG", "image/png"),
        ("JPEG", "photo.jpeg", "photo.jpeg", "image/jpeg"),
        ("JPEG", "photo", "photo.jpg", "image/jpeg"),
        ("WEBP", "media", "media.webp", "image/webp"),
        ("AVIF", "Dr. Watson", "Dr. Watson.avif", "image/avif"),
        ("BMP", "a.b.tmp", "a.b.bmp", "image/bmp"),
    ],
)
def test_name_and_type_follow_the_bytes(kind: str, name: str, sent: str, content_type: str) -> None:
    media = Bytes(encoded(kind), name=name)
    name_by_format(media, sniff(media.data))
    assert (media.name, media.content_type) == (sent, content_type)


def test_the_name_of_an_unknown_format_is_kept() -> None:
    media = Bytes(b"?", name="photo.xyz")
    name_by_format(media, sniff(media.data))
    assert (media.name, media.content_type) == ("photo.xyz", None)


# damage

HEADS = [
    *(encoded(kind) for kind in KINDS),
    *(with_frames(kind, 3) for kind in ("PNG", "GIF", "WEBP", "AVIF")),
    *(encoded(kind, exif=exif(6)) for kind in ("JPEG", "PNG", "WEBP", "AVIF")),
    make_image(301, 203, "BMP"),
    brands(b"msf1", b"hevc", b"iso8"),
    box(b"wide") + box(b"mdat", bytes(40)),
    b"\x00\x00\x00\x0cJXL \r\n\x87\n" + brands(b"jxl "),
    b"\x1aE\xdf\xa3" + bytes(40),
]


def mutate(head: bytes, generator: random.Random) -> bytes:
    """Change, insert, delete and cut bytes, most of them near the start, where the headers are."""
    data = bytearray(head[: generator.choice([64, 600, 5000])])
    for _ in range(generator.randrange(1, 8)):
        at = int(len(data) * generator.random() ** 3)
        action = generator.randrange(4)
        if action == 0:
            data[at : at + 1] = generator.randbytes(1)
        elif action == 1:
            data[at : at + 4] = generator.choice([b"\xff" * 4, b"\0" * 4, b"\0\0\0\1", b"\x7f\xff\xff\xff"])
        elif action == 2:
            data[at:at] = generator.randbytes(generator.randrange(5))
        else:
            del data[at : at + generator.randrange(9)]
    return bytes(data)


def check_mutated_heads(count: int, seed: int) -> None:
    generator = random.Random(seed)  # noqa: S311 - damage, not cryptography
    for _ in range(count):
        data = mutate(generator.choice(HEADS), generator)
        info = sniff(data)
        assert min(info.size) >= 0
        assert 1 <= info.orientation <= 8
        parse_mp4(io.BytesIO(data))


def check_mutated_masks(count: int, seed: int) -> None:
    generator = random.Random(seed)  # noqa: S311 - damage, not cryptography
    for _ in range(count):
        data = mutate(generator.choice(HEADS), generator)
        try:
            convert_mask(data)
        except InvalidInput as error:
            assert len(error.message) < 400


def test_damaged_heads_raise_nothing() -> None:
    check_mutated_heads(2000, seed=1)


def test_damaged_masks_are_converted_or_refused() -> None:
    check_mutated_masks(200, seed=2)


@pytest.mark.slow
def test_60000_damaged_heads_raise_nothing() -> None:
    check_mutated_heads(60_000, seed=3)


@pytest.mark.slow
def test_many_damaged_masks_are_converted_or_refused() -> None:
    check_mutated_masks(10_000, seed=4)
