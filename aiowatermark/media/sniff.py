"""Format detection: tells from the first bytes what media is, and an image's size in pixels."""

from __future__ import annotations

import io
import struct

import imagesize
from attrs import frozen

from .base import Media

# (offset, magic bytes, format); the first match counts, so `ftyp` alone comes last
_MAGIC = (
    (0, b"\x89PNG\r\n\x1a\n", "png"),
    (0, b"\xff\xd8\xff", "jpeg"),
    (0, b"BM", "bmp"),
    (0, b"GIF8", "gif"),
    (0, b"II*\x00", "tiff"),
    (0, b"MM\x00*", "tiff"),
    (8, b"WEBP", "webp"),
    (8, b"AVI ", "avi"),
    (0, b"\x1aE\xdf\xa3", "matroska"),
    (4, b"ftypavif", "avif"),
    (4, b"ftyphei", "heic"),
    (4, b"ftypmif1", "heic"),
    (4, b"ftypqt", "quicktime"),
    (4, b"ftyp", "mp4"),
)
VIDEO_FORMATS = frozenset({"avi", "matroska", "mp4", "quicktime"})
_VIDEO_SUFFIXES = (".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi")


@frozen
class MediaInfo:
    """A file's format, None if unknown, and an image's width and height in pixels, 0 if unknown."""

    format: str | None
    width: int = 0
    height: int = 0

    @property
    def video(self) -> bool:
        """Whether it is a video."""
        return self.format in VIDEO_FORMATS


def sniff(head: bytes) -> MediaInfo:
    """Return what the first bytes of a file tell about it."""
    name = next((name for offset, magic, name in _MAGIC if head.startswith(magic, offset)), None)
    if name is None or name in VIDEO_FORMATS:
        return MediaInfo(name)
    try:
        # the provider sees the stored pixels, so EXIF rotation does not count
        width, height = imagesize.get(io.BytesIO(head), exif_rotation=False)
    except (ValueError, struct.error, IndexError, KeyError, OverflowError):
        # what imagesize raises for damaged or truncated headers
        return MediaInfo(name)
    return MediaInfo(name, max(int(width), 0), max(int(height), 0))


def has_video_suffix(media: Media) -> bool:
    """Whether the name of media has the suffix of a video file; a URL has nothing else to tell it by."""
    return media.name.lower().endswith(_VIDEO_SUFFIXES)
