"""What media looks like from its first bytes: the kind of file, and a picture's size in pixels."""

from __future__ import annotations

import io
import struct

import imagesize
from attrs import frozen

from .base import Media

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
    """A file format, and width and height in pixels where it is a picture (0 where they cannot be told)."""

    format: str | None
    width: int = 0
    height: int = 0

    @property
    def video(self) -> bool:
        """Whether it is a film and not a picture."""
        return self.format in VIDEO_FORMATS


def sniff(head: bytes) -> MediaInfo:
    """Tell from a file's first bytes what it is; `format` is None where nobody knows."""
    name = next((name for at, magic, name in _MAGIC if head.startswith(magic, at)), None)
    if name is None or name in VIDEO_FORMATS:
        return MediaInfo(name)
    try:
        width, height = imagesize.get(io.BytesIO(head), exif_rotation=False)
    except (ValueError, struct.error, IndexError, KeyError, OverflowError):
        return MediaInfo(name)
    return MediaInfo(name, max(int(width), 0), max(int(height), 0))


def has_video_suffix(media: Media) -> bool:
    """Whether its name ends as those of films do: all that can be told of a link."""
    return media.name.lower().endswith(_VIDEO_SUFFIXES)
