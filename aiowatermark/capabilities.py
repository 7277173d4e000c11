"""What a provider takes, as a table, and the check of a job against it before anything is sent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from attrs import frozen

from .errors import InvalidInput, Unsupported
from .jobs import Job
from .media.base import Media
from .media.memory import Link
from .media.mp4 import Mp4Info
from .media.sniff import MediaInfo, has_video_suffix


@frozen
class ImageLimits:
    """Limits of the pictures a provider documents; sizes in pixels and bytes. None: not documented."""

    formats: frozenset[str] | None = None
    min_side: int = 1
    max_side: int | None = None
    max_aspect: float | None = None
    max_bytes: int | None = None

    def check(self, media: Media, looks: MediaInfo, title: str) -> None:
        """Raise InvalidInput where a picture is outside; what cannot be told is left to the provider."""
        if looks.format is None:
            raise InvalidInput(f"{media.name} is no picture: its first bytes are those of no known format")
        if problem := self._problem(media, looks):
            raise InvalidInput(f"{media.name} {problem}: {title} would refuse it")

    def _problem(self, media: Media, looks: MediaInfo) -> str | None:
        width, height = looks.width, looks.height
        if self.formats is not None and looks.format not in self.formats:
            return f"is {looks.format}, not {' or '.join(sorted(self.formats))}"
        if self.max_bytes is not None and media.size is not None and media.size > self.max_bytes:
            return f"has {media.size / 1e6:.1f} MB, more than {self.max_bytes / 1e6:.0f} MB"
        if not (width and height):
            return None
        if min(width, height) < self.min_side:
            return f"has {width}x{height} pixels, fewer than {self.min_side} on one side"
        if self.max_side is not None and max(width, height) > self.max_side:
            return f"has {width}x{height} pixels, more than {self.max_side} on one side"
        if self.max_aspect is not None and max(width, height) > self.max_aspect * min(width, height):
            return f"has {width}x{height} pixels, an aspect beyond {self.max_aspect:g}:1"
        return None


@frozen
class VideoLimits:
    """What a provider documents of the films it takes: worth a word beforehand, and not enforced."""

    format: str
    fps: float
    seconds: float

    def warnings(self, looks: MediaInfo | None, movie: Mp4Info) -> Iterator[str]:
        """In what a film differs; what cannot be told is no doubt."""
        if looks is not None and looks.format not in {None, self.format}:
            yield f"is {looks.format}, not {self.format}"
        if movie.fps and abs(movie.fps - self.fps) > 0.5:
            yield f"has {movie.fps:.4g} frames a second, not {self.fps:g}"
        if movie.duration and movie.duration > self.seconds:
            yield f"lasts {movie.duration / 60:.1f} minutes, more than {self.seconds / 60:g}"


@frozen(kw_only=True)
class Capabilities:
    """What a provider takes: how pictures come in, masks, batches, videos, callbacks, refinement."""

    images: ImageLimits = ImageLimits()
    links: bool = True
    files: bool = True
    batch: int = 1
    needs_media: bool = True
    mask: Literal["none", "optional", "required"] = "none"
    mask_links: bool = False
    callbacks: bool = False
    videos: bool = False
    video_limits: VideoLimits | None = None
    refines: bool = False

    def is_video(self, media: Media, looks: MediaInfo | None) -> bool:
        """Whether this is a video, by its looks or, for a link, by its name."""
        return looks.video if looks is not None and looks.format else has_video_suffix(media)


def check_job(takes: Capabilities, title: str, job: Job, looks: dict[int, MediaInfo]) -> None:
    """Raise InvalidInput or Unsupported where a job cannot be right; `looks` is by the media's id()."""
    _check_counts(takes, title, job)
    _check_mask(takes, title, job, looks)
    for media in job.inputs:
        if job.video and not takes.videos:
            raise Unsupported(f"{title} takes no videos: {media.name} is one")
        if isinstance(media, Link) or job.video:
            continue
        if not takes.files:
            raise Unsupported(
                f"{title} takes links only: {media.name} is to be reachable by a link, or lent by a callback server"
            )
        if id(media) in looks:
            takes.images.check(media, looks[id(media)], title)


def _check_counts(takes: Capabilities, title: str, job: Job) -> None:
    if not job.inputs and takes.needs_media:
        raise InvalidInput("there is nothing to do: give a picture or a video")
    if len(job.inputs) > takes.batch:
        many = f"at most {takes.batch} pictures" if takes.batch > 1 else "one picture"
        raise InvalidInput(f"{title} takes {many} a job, not {len(job.inputs)}: submit the others as jobs of their own")


def _check_mask(takes: Capabilities, title: str, job: Job, looks: dict[int, MediaInfo]) -> None:
    if job.mask is None:
        if takes.mask == "required" and not job.session:
            raise InvalidInput(f"{title} needs a mask: white where the mark is, black elsewhere")
    elif takes.mask == "none":
        raise Unsupported(f"{title} takes no mask: it finds the mark itself")
    _check_mask_format(job, looks)


def _check_mask_format(job: Job, looks: dict[int, MediaInfo]) -> None:
    """Masks, those given as options too, are pictures of their pictures' size."""
    if job.video:
        return
    for media in (job.mask, *job.options.values()):
        mask = looks.get(id(media)) if isinstance(media, Media) else None
        if mask is not None and isinstance(media, Media):
            if mask.format is None or mask.video:
                raise InvalidInput(f"the mask {media.name} is no picture")
            _check_mask_size(mask, job, looks)


def _check_mask_size(mask: MediaInfo, job: Job, looks: dict[int, MediaInfo]) -> None:
    for media in job.inputs:
        picture = looks.get(id(media))
        if picture and picture.width and mask.width and (picture.width, picture.height) != (mask.width, mask.height):
            raise InvalidInput(
                f"the mask has {mask.width}x{mask.height} pixels and {media.name} {picture.width}x{picture.height}: "
                "they are to be of one size"
            )
