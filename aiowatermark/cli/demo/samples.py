"""What the demo works on: photographs, made or given, each with the mark put somewhere on it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

import cv2
import numpy as np
from attrs import field, frozen

from ... import InvalidInput, Provider, provider_class, provider_names
from ...emulator.pictures import psnr, sample_mark, sample_photo, stamp
from ..console.runner import printable

_CORNERS = ((0.9, 0.9), (0.1, 0.9), (0.9, 0.12), (0.12, 0.1))
_SPOTS = (*_CORNERS, (0.5, 0.5), (0.5, 0.85))
_OPACITIES = (0.45, 0.6, 0.5, 0.4)
_SHARE = 0.38
_FORMATS = {b"\xff\xd8\xff": "jpeg", b"\x89PNG": "png"}


@frozen
class DemoPhoto:
    """A photograph as it was before any mark: the file's bytes (JPEG or PNG), and its size in pixels."""

    name: str
    data: bytes = field(repr=False)
    format: str
    width: int
    height: int


@frozen
class DemoJob:
    """One job of the demo: the photograph, the same with the mark on it, and where the mark is."""

    number: int
    provider: type[Provider]
    photo: DemoPhoto
    marked: bytes = field(repr=False)
    mask: bytes = field(repr=False)

    @property
    def stem(self) -> str:
        """How its files' names begin."""
        return f"{self.number:02}-{self.provider.name}"

    @property
    def suffix(self) -> str:
        """How its files' names end."""
        return ".jpg" if self.photo.format == "jpeg" else ".png"

    @property
    def sent_mask(self) -> bytes | None:
        """The mask where it is sent along: Photo Eraser needs it, Kaze shows both ways; the others find the mark."""
        return self.mask if _uses_mask(self.provider, self.number) else None

    def similarity(self, picture: bytes) -> float:
        """How near a picture is to the photograph without the mark, in dB."""
        return psnr(self.photo.data, picture)


@frozen
class DemoPlan:
    """The mark, and who gets which photograph; `notes` say what could not be given to whom."""

    mark: bytes = field(repr=False)
    places: Sequence[tuple[int, type[Provider], DemoPhoto]]
    notes: Sequence[str]

    def jobs(self) -> Iterator[DemoJob]:
        """The photographs with the mark put on them, one by one: made as they are asked for."""
        for index, (number, provider, photo) in enumerate(self.places):
            photo = _jpeg(photo) if provider.name == "dewatermark" else photo  # noqa: PLW2901 - it takes JPEG only
            # filling is guessing: it is shown where people put marks, in corners; a known mark is undone anywhere
            spots = _CORNERS if _uses_mask(provider, number) else _SPOTS
            yield DemoJob(number, provider, photo, *_stamp(photo, self.mark, spots[index % len(spots)], index))


def _uses_mask(provider: type[Provider], number: int) -> bool:
    return provider.capabilities.mask == "required" or (provider.name == "kaze" and number % 2 == 1)


def make_photos(count: int, seed: int) -> list[DemoPhoto]:
    """As many made-up photographs."""
    return [_photo(f"photo {index + 1:02}", sample_photo(seed=seed * 1000 + index)) for index in range(count)]


def read_photos(paths: Sequence[Path]) -> list[DemoPhoto]:
    """The user's own; raises InvalidInput that names the one that is none."""
    return [_photo(path.name, _read(path)) for path in paths]


def plan_demo(photos: Sequence[DemoPhoto], jobs: int) -> DemoPlan:
    """Turns for all providers, a photograph that it takes for each."""
    widths = median(photo.width for photo in photos)
    mark = sample_mark(width=max(60, round(widths * _SHARE)))
    providers = [provider_class(name) for name in provider_names()]
    places, notes = [], []
    for provider in providers:
        notes += [
            f"{provider.display_name} is not given {photo.name}: {why}"
            for photo in photos
            if (why := _why_not(provider, photo))
        ]
    for index in range(jobs):
        provider = providers[index % len(providers)]
        fits = [photo for photo in photos if not _why_not(provider, photo)]
        if fits:
            places.append((index + 1, provider, fits[_provider_for(index, len(fits), jobs) % len(fits)]))
    return DemoPlan(mark, places, notes)


def _provider_for(index: int, photos: int, jobs: int) -> int:
    """Which photograph comes next: with fewer than jobs, each provider gets another one each time."""
    turn, place = divmod(index, len(provider_names()))
    return index if photos >= jobs else turn + place


def _why_not(provider: type[Provider], photo: DemoPhoto) -> str | None:
    takes, sides = provider.capabilities.images, sorted((photo.width, photo.height))
    size = f"it has {photo.width}x{photo.height} pixels"
    if sides[0] < takes.min_side:
        return f"{size}, a side takes {takes.min_side} or more"
    if takes.max_side is not None and sides[1] > takes.max_side:
        return f"{size}, a side takes {takes.max_side} at most"
    if takes.max_aspect is not None and sides[1] > takes.max_aspect * sides[0]:
        return f"{size}, longer than {takes.max_aspect:g}:1"
    return None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidInput(f"{printable(str(path))} cannot be read: {error.strerror or error}") from None


def _photo(name: str, data: bytes) -> DemoPhoto:
    """JPEG and PNG of 8 bits as they are, anything else as JPEG."""
    pixels = (
        cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
        if data
        else None
    )
    if pixels is None:
        raise _unreadable(name)
    form = next((form for magic, form in _FORMATS.items() if data.startswith(magic)), None)
    photo = DemoPhoto(printable(name), data, form or "", pixels.shape[1], pixels.shape[0])
    plain = pixels.dtype == np.uint8 and pixels.shape[2:] in {(), (3,)}
    return photo if form and plain else _jpeg(photo)


def _unreadable(name: str) -> InvalidInput:
    return InvalidInput(f"{printable(name)} is no picture that can be read: give JPEG or PNG files")


def _jpeg(photo: DemoPhoto) -> DemoPhoto:
    if photo.format == "jpeg":
        return photo
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    pixels = cv2.imdecode(np.frombuffer(photo.data, np.uint8), flags)
    if pixels is None:
        raise _unreadable(photo.name)
    data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
    return DemoPhoto(photo.name, data, "jpeg", photo.width, photo.height)


def _stamp(photo: DemoPhoto, mark: bytes, place: tuple[float, float], index: int) -> tuple[bytes, bytes]:
    """The mark in another place and strength each time; at another size where the photograph's asks for it."""
    wide, high = _size(mark)
    if not 0.2 * photo.width <= wide <= 0.8 * photo.width or high > photo.height:
        scale = min(2.0, max(0.45, photo.width * _SHARE / wide))
        wide, high = round(wide * scale), round(high * scale)
        mark = sample_mark(width=wide)
    across, down = place
    spot = (round(max(0, photo.width - wide) * across), round(max(0, photo.height - high) * down))
    return stamp(photo.data, mark, opacity=_OPACITIES[index % len(_OPACITIES)], position=spot)


def _size(mark: bytes) -> tuple[int, int]:
    pixels = cv2.imdecode(np.frombuffer(mark, np.uint8), cv2.IMREAD_UNCHANGED)
    return (0, 0) if pixels is None else (pixels.shape[1], pixels.shape[0])
