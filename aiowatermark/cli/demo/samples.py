"""Jobs of the demo: generated or given photographs, each with a mark blended in, and the provider that gets it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

import cv2
import numpy as np
from attrs import field, frozen

from ... import InvalidInput, Provider, provider_class
from ...emulator.pictures import psnr, sample_mark, sample_photo, stamp
from ...providers import built_in_names
from ..console.runner import printable

# positions of the mark: the share of the free space to its left and above it
_CORNERS = ((0.9, 0.9), (0.1, 0.9), (0.9, 0.12), (0.12, 0.1))
_POSITIONS = (*_CORNERS, (0.5, 0.5), (0.5, 0.85))
_OPACITIES = (0.45, 0.6, 0.5, 0.4)
# the mark's width as a share of the photograph's
_MARK_SHARE = 0.38
_FORMATS = {b"\xff\xd8\xff": "jpeg", b"\x89PNG": "png"}


@frozen
class DemoPhoto:
    """A photograph without a mark: the file's bytes (JPEG or PNG), and its size in pixels."""

    name: str
    data: bytes = field(repr=False)
    format: str
    width: int
    height: int


@frozen
class DemoJob:
    """One job of the demo: the photograph, the same with the mark blended in, and the mask of where the mark is."""

    number: int
    provider: type[Provider]
    photo: DemoPhoto
    marked: bytes = field(repr=False)
    mask: bytes = field(repr=False)

    @property
    def stem(self) -> str:
        """The first part of its files' names."""
        return f"{self.number:02}-{self.provider.name}"

    @property
    def suffix(self) -> str:
        """The suffix of its files' names."""
        return ".jpg" if self.photo.format == "jpeg" else ".png"

    @property
    def sent_mask(self) -> bytes | None:
        """The mask, if it is sent: Photo Eraser requires one, Kaze shows both methods; the others find the mark."""
        return self.mask if _uses_mask(self.provider, self.number) else None

    def psnr_of(self, image: bytes) -> float:
        """Return the PSNR of an image against the photograph without the mark, in dB."""
        return psnr(self.photo.data, image)


@frozen
class DemoPlan:
    """The mark, and which provider gets which photograph as job number n; `notes` name the combinations left out."""

    mark: bytes = field(repr=False)
    assignments: Sequence[tuple[int, type[Provider], DemoPhoto]]
    notes: Sequence[str]

    def jobs(self) -> Iterator[DemoJob]:
        """Yield the jobs; each photograph is marked only when its job is taken, so that the first jobs start early."""
        for index, (number, provider, photo) in enumerate(self.assignments):
            photo = _to_jpeg(photo) if provider.name == "dewatermark" else photo  # noqa: PLW2901 - it takes JPEG only
            # inpainting guesses: it is shown where marks usually are, in corners; a known mark is undone anywhere
            positions = _CORNERS if _uses_mask(provider, number) else _POSITIONS
            marked, mask = _stamp(photo, self.mark, positions[index % len(positions)], index)
            yield DemoJob(number, provider, photo, marked, mask)


def _uses_mask(provider: type[Provider], number: int) -> bool:
    return provider.capabilities.mask == "required" or (provider.name == "kaze" and number % 2 == 1)


def make_photos(count: int, seed: int) -> list[DemoPhoto]:
    """Return `count` generated photographs; another seed gives others."""
    return [_photo(f"photo {index + 1:02}", sample_photo(seed=seed * 1000 + index)) for index in range(count)]


def read_photos(paths: Sequence[Path]) -> list[DemoPhoto]:
    """Return the user's photographs. Raises InvalidInput with the name of a file that cannot be read or decoded."""
    return [_photo(path.name, _read(path)) for path in paths]


def plan_demo(photos: Sequence[DemoPhoto], jobs: int) -> DemoPlan:
    """Assign the jobs in turn to the providers that accept a photograph, each with one that it accepts."""
    median_width = median(photo.width for photo in photos)
    mark = sample_mark(width=max(60, round(median_width * _MARK_SHARE)))
    providers, notes = [], []
    for provider in map(provider_class, built_in_names()):
        reasons = [(photo.name, _reason_to_skip(provider, photo)) for photo in photos]
        notes += [f"{provider.display_name} is not given {name}: {reason}" for name, reason in reasons if reason]
        if not all(reason for _, reason in reasons):
            providers.append(provider)
    assignments = []
    for index in range(jobs if providers else 0):
        provider = providers[index % len(providers)]
        accepted = [photo for photo in photos if not _reason_to_skip(provider, photo)]
        photo = accepted[_photo_index(index, len(accepted), jobs, len(providers)) % len(accepted)]
        assignments.append((index + 1, provider, photo))
    return DemoPlan(mark, assignments, [*notes, *_unused(photos, providers, assignments, jobs)])


def _unused(
    photos: Sequence[DemoPhoto],
    providers: Sequence[type[Provider]],
    assignments: Sequence[tuple[int, type[Provider], DemoPhoto]],
    jobs: int,
) -> Iterator[str]:
    """Yield what the number of jobs leaves out."""
    if missing := [provider.display_name for provider in providers[jobs:]]:
        yield f"{' and '.join(missing)}: no job; --jobs {len(providers)} or more gives each provider one"
    used = {id(photo) for _, _, photo in assignments}
    accepted = [photo for photo in photos if not all(_reason_to_skip(provider, photo) for provider in providers)]
    if unused := [photo.name for photo in accepted if id(photo) not in used]:
        yield f"{len(unused)} of {len(photos)} photos are in no job ({_listed(unused)}): give more --jobs"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _photo_index(index: int, photos: int, jobs: int, providers: int) -> int:
    """Return the photograph of a job; with fewer photographs than jobs, a provider gets another one each round."""
    round_number, position = divmod(index, providers)
    return index if photos >= jobs else round_number + position


def _reason_to_skip(provider: type[Provider], photo: DemoPhoto) -> str | None:
    """Return why the provider does not accept the photograph; None when it does."""
    limits, sides = provider.capabilities.images, sorted((photo.width, photo.height))
    size = f"it has {photo.width}x{photo.height} pixels"
    if sides[0] < limits.min_side:
        return f"{size}, each side must have at least {limits.min_side}"
    if limits.max_side is not None and sides[1] > limits.max_side:
        return f"{size}, each side must have at most {limits.max_side}"
    if limits.max_aspect is not None and sides[1] > limits.max_aspect * sides[0]:
        return f"{size}, the longer side must be at most {limits.max_aspect:g} times the shorter one"
    return None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidInput(f"{printable(str(path))} cannot be read: {error.strerror or error}") from None


def _photo(name: str, data: bytes) -> DemoPhoto:
    """Return JPEG and PNG with 8 bits and without alpha as they are, anything else as JPEG."""
    # OpenCV raises for an empty buffer
    pixels = (
        cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
        if data
        else None
    )
    if pixels is None:
        raise _unreadable(name)
    format_name = next((known for magic, known in _FORMATS.items() if data.startswith(magic)), None)
    photo = DemoPhoto(printable(name), data, format_name or "", pixels.shape[1], pixels.shape[0])
    plain = pixels.dtype == np.uint8 and pixels.shape[2:] in {(), (3,)}
    return photo if format_name and plain else _to_jpeg(photo)


def _unreadable(name: str) -> InvalidInput:
    return InvalidInput(f"{printable(name)} is not a readable image: pass JPEG or PNG files")


def _to_jpeg(photo: DemoPhoto) -> DemoPhoto:
    if photo.format == "jpeg":
        return photo
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    pixels = cv2.imdecode(np.frombuffer(photo.data, np.uint8), flags)
    if pixels is None:
        raise _unreadable(photo.name)
    data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
    return DemoPhoto(photo.name, data, "jpeg", photo.width, photo.height)


def _stamp(photo: DemoPhoto, mark: bytes, position: tuple[float, float], index: int) -> tuple[bytes, bytes]:
    """Return the photograph with the mark blended in, and the mask of where it is.

    Strength varies with `index`. The mark is resized only where the photograph is much larger or smaller than the
    others: the emulator searches for it at its own size first, and then at 0.4 to 2.1 times that.
    """
    width, height = _size(mark)
    if not 0.2 * photo.width <= width <= 0.8 * photo.width or height > photo.height:
        scale = min(2.0, max(0.45, photo.width * _MARK_SHARE / width))
        width, height = round(width * scale), round(height * scale)
        mark = sample_mark(width=width)
    across, down = position
    corner = (round(max(0, photo.width - width) * across), round(max(0, photo.height - height) * down))
    return stamp(photo.data, mark, opacity=_OPACITIES[index % len(_OPACITIES)], position=corner)


def _size(mark: bytes) -> tuple[int, int]:
    pixels = cv2.imdecode(np.frombuffer(mark, np.uint8), cv2.IMREAD_UNCHANGED)
    return (0, 0) if pixels is None else (pixels.shape[1], pixels.shape[0])
