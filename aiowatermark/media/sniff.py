"""Format detection: tells from the first bytes what media is, an image's size in pixels, and how it is displayed.

Only bytes that are certainly of a format are called so; anything else is unknown. A file that is called an image or a
video although it is not would be sent, and paid for.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping

import imagesize
from attrs import frozen

from .base import Media
from .formats.boxes import brand_format, starts_with_quicktime_boxes
from .formats.headers import bmp_size, frame_count_above_one, holds_sound_only, orientation

_TIFF_STARTS = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
_MATROSKA_START = b"\x1aE\xdf\xa3"
_JPEG_XL_STARTS = (b"\xff\x0a", b"\x00\x00\x00\x0cJXL \r\n\x87\n")

# the first format whose test the first bytes pass
_TESTS: Mapping[str, Callable[[bytes], bool]] = {
    "png": lambda head: head.startswith(b"\x89PNG\r\n\x1a\n"),
    "jpeg": lambda head: head.startswith(b"\xff\xd8\xff"),
    "gif": lambda head: head.startswith((b"GIF87a", b"GIF89a")),
    "webp": lambda head: head.startswith(b"RIFF") and head[8:12] == b"WEBP",
    "cr2": lambda head: head.startswith(_TIFF_STARTS) and head[8:10] == b"CR",
    "tiff": lambda head: head.startswith(_TIFF_STARTS),
    "jxl": lambda head: head.startswith(_JPEG_XL_STARTS),
    "jp2": lambda head: head.startswith(b"\x00\x00\x00\x0cjP  \r\n\x87\n"),
    "bmp": lambda head: bmp_size(head) is not None,
    "avi": lambda head: head.startswith(b"RIFF") and head[8:12] == b"AVI ",
    "mka": lambda head: head.startswith(_MATROSKA_START) and holds_sound_only(head),
    "matroska": lambda head: head.startswith(_MATROSKA_START),
    "quicktime": starts_with_quicktime_boxes,
}
VIDEO_FORMATS = frozenset({"avi", "matroska", "mp4", "quicktime"})
IMAGE_FORMATS = frozenset({"png", "jpeg", "gif", "webp", "tiff", "jxl", "jp2", "bmp", "avif", "heic"})
_VIDEO_SUFFIXES = (".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi")

# of each format, its Content-Type and the suffixes of its files, the usual one first
_TYPES: Mapping[str, tuple[str, ...]] = {
    "png": ("image/png", ".png"),
    "jpeg": ("image/jpeg", ".jpg", ".jpeg", ".jpe", ".jfif"),
    "gif": ("image/gif", ".gif"),
    "webp": ("image/webp", ".webp"),
    "tiff": ("image/tiff", ".tif", ".tiff"),
    "jxl": ("image/jxl", ".jxl"),
    "jp2": ("image/jp2", ".jp2"),
    "bmp": ("image/bmp", ".bmp", ".dib"),
    "avif": ("image/avif", ".avif"),
    "heic": ("image/heic", ".heic", ".heif"),
    "avi": ("video/x-msvideo", ".avi"),
    "matroska": ("video/x-matroska", ".mkv", ".webm"),
    "mp4": ("video/mp4", ".mp4", ".m4v"),
    "quicktime": ("video/quicktime", ".mov", ".qt"),
}


@frozen
class MediaInfo:
    """A file's format, None if unknown, and an image's width and height in pixels as stored, 0 if unknown.

    `orientation` is that of EXIF: from 5 on, viewers show the image with its sides swapped. `animated`: it has more
    than one frame.
    """

    format: str | None
    width: int = 0
    height: int = 0
    orientation: int = 1
    animated: bool = False

    @property
    def video(self) -> bool:
        """Whether it is a video."""
        return self.format in VIDEO_FORMATS

    @property
    def image(self) -> bool:
        """Whether it is an image, rather than a video, sound, a camera's raw data or something unknown."""
        return self.format in IMAGE_FORMATS

    @property
    def size(self) -> tuple[int, int]:
        """Width and height as stored."""
        return self.width, self.height

    @property
    def displayed(self) -> tuple[int, int]:
        """Width and height as viewers show them."""
        return (self.height, self.width) if self.orientation >= 5 else self.size

    @property
    def pixels(self) -> str:
        """The size as a part of a sentence, with the orientation if it swaps the sides."""
        text = f"{self.width}x{self.height} pixels"
        if self.orientation < 5:
            return text
        return f"{text} (shown as {self.height}x{self.width} by its EXIF orientation {self.orientation})"


def sniff(head: bytes) -> MediaInfo:
    """Return what the first bytes of a file tell about it; never raises."""
    name = brand_format(head) or next((name for name, test in _TESTS.items() if test(head)), None)
    if name not in IMAGE_FORMATS:
        return MediaInfo(name)
    width, height = bmp_size(head) or _measure(head)
    return MediaInfo(name, width, height, orientation(head), frame_count_above_one(head))


def _measure(head: bytes) -> tuple[int, int]:
    try:
        # the provider sees the stored pixels, so EXIF rotation does not count
        width, height = imagesize.get(io.BytesIO(head), exif_rotation=False)
        return max(int(width), 0), max(int(height), 0)
    except Exception:  # noqa: BLE001 - damaged headers raise errors of many types, and then the size is unknown
        return 0, 0


def name_by_format(media: Media, info: MediaInfo) -> None:
    """Set the Content-Type and pixels of media, and replace the suffix of its name, if its format requires another."""
    if info.format is None or info.format not in _TYPES:
        return
    media.pixels = info.size if all(info.size) else None
    media.content_type, *suffixes = _TYPES[info.format]
    stem, dot, suffix = media.name.rpartition(".")
    if f".{suffix.lower()}" not in suffixes:
        media.rename((stem if dot and len(suffix) <= 5 else media.name) + suffixes[0])


def has_video_suffix(media: Media) -> bool:
    """Whether the name of media has the suffix of a video file; a URL has nothing else to tell it by."""
    return media.name.lower().endswith(_VIDEO_SUFFIXES)
