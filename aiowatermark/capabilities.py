"""Capabilities: the inputs a provider accepts, and the check of a job against them before anything is sent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
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
    """Documented limits of images: sides in pixels, `max_aspect` as long side / short side, size in bytes.

    None: not documented. `formats` are the names that `sniff` returns.
    """

    formats: frozenset[str] | None = None
    min_side: int = 1
    max_side: int | None = None
    max_aspect: float | None = None
    max_bytes: int | None = None

    def check(self, media: Media, info: MediaInfo, display_name: str) -> None:
        """Raise InvalidInput if an image is outside the limits; what `info` does not tell is left to the provider."""
        if info.format is None:
            raise InvalidInput(f"{media.name} is not an image in a known format{self._accepted}")
        if problem := self._problem(media, info):
            raise InvalidInput(f"{media.name} {problem}: {display_name} would refuse it")

    @property
    def _accepted(self) -> str:
        return "" if self.formats is None else f", such as {_list_formats(self.formats)}"

    def _problem(self, media: Media, info: MediaInfo) -> str | None:
        width, height = info.size
        if self.formats is not None and info.format not in self.formats:
            return f"is {_list_formats({info.format or ''})}, not {_list_formats(self.formats)}"
        if not info.image:
            return f"is {_list_formats({info.format or ''})}, not an image"
        if self.max_bytes is not None and media.size is not None and media.size > self.max_bytes:
            return f"has {media.size / 1e6:.1f} MB, more than {self.max_bytes / 1e6:.0f} MB"
        if not (width and height):
            return None
        if min(width, height) < self.min_side:
            return f"has {info.pixels}, fewer than {self.min_side} on one side"
        if self.max_side is not None and max(width, height) > self.max_side:
            return f"has {info.pixels}, more than {self.max_side} on one side"
        if self.max_aspect is not None and max(width, height) > self.max_aspect * min(width, height):
            return f"has {info.pixels}, an aspect ratio above {self.max_aspect:g}:1"
        return None


def _list_formats(formats: AbstractSet[str]) -> str:
    """Return the names of formats for people: `BMP, JPEG or PNG`."""
    *first, last = (name.upper() for name in sorted(formats))
    return f"{', '.join(first)} or {last}" if first else last


@frozen
class VideoLimits:
    """Documented properties of videos: format, frames per second, longest duration in seconds.

    They cause warnings only: the provider accepts some videos that differ.
    """

    format: str
    fps: float
    seconds: float

    def warnings(self, info: MediaInfo | None, video: Mp4Info) -> Iterator[str]:
        """Yield how a video differs, as the rest of a sentence that begins with its name; skip what is unknown."""
        if info is not None and info.format != self.format:
            yield f"is {info.format or 'in an unknown format'}, not {self.format}"
        # half a frame of tolerance: 23.976 frames per second count as 24
        if video.fps and abs(video.fps - self.fps) > 0.5:
            yield f"has {video.fps:.4g} frames per second, not {self.fps:g}"
        if video.duration and video.duration > self.seconds:
            yield f"lasts {video.duration / 60:.1f} minutes, more than {self.seconds / 60:g}"


@frozen(kw_only=True)
class Capabilities:
    """What a provider accepts.

    `links`, `files`: images by URL, by content. `batch`: images per job. `needs_media`: False where a session id may
    replace the image. `mask_links`: masks by URL. `boxes`: so many boxes as they are; more are drawn as a mask.
    `stroke_option`: the option that is a mask of coloured strokes.
    `callbacks`: it calls a URL when a job ends. `refines`: results can be refined.
    """

    images: ImageLimits = ImageLimits()
    links: bool = True
    files: bool = True
    batch: int = 1
    needs_media: bool = True
    mask: Literal["none", "optional", "required"] = "none"
    mask_links: bool = False
    boxes: int = 0
    stroke_option: str | None = None
    callbacks: bool = False
    videos: bool = False
    video_limits: VideoLimits | None = None
    refines: bool = False

    def is_video(self, media: Media, info: MediaInfo | None) -> bool:
        """Whether media is a video: by its content or, where the format is unknown, by its file name."""
        return info.video if info is not None and info.format else has_video_suffix(media)


def check_job(capabilities: Capabilities, display_name: str, job: Job, infos: dict[int, MediaInfo]) -> None:
    """Raise InvalidInput or Unsupported if the provider would refuse a job.

    `infos` has what is known of the job's media, by `id(media)`. `display_name` is the provider's, for error messages.
    """
    _check_counts(capabilities, display_name, job)
    check_mask_use(capabilities, display_name, job)
    _check_mask_format(job, infos)
    for media in job.inputs:
        if job.video and not capabilities.videos:
            raise Unsupported(f"{display_name} does not accept videos: {media.name} is a video")
        info = infos.get(id(media))
        if isinstance(media, Link) or job.video:
            continue
        if not capabilities.files:
            raise Unsupported(
                f"{display_name} accepts URLs only: pass a URL, or give the client `callbacks=` so that it can serve "
                f"{media.name}"
            )
        if info is not None:
            capabilities.images.check(media, info, display_name)


def _check_counts(capabilities: Capabilities, display_name: str, job: Job) -> None:
    if not job.inputs and capabilities.needs_media:
        raise InvalidInput("the job has no input: pass an image or a video")
    if len(job.inputs) > capabilities.batch:
        accepted = f"at most {capabilities.batch} images" if capabilities.batch > 1 else "one image"
        raise InvalidInput(
            f"{display_name} accepts {accepted} per job, not {len(job.inputs)}: submit the others as separate jobs"
        )


def check_mask_use(capabilities: Capabilities, display_name: str, job: Job) -> None:
    """Raise InvalidInput if a job has no mask and needs one, Unsupported if it has one that is not accepted."""
    if job.mask is None:
        if capabilities.mask == "required" and not job.session:
            raise InvalidInput(f"{display_name} requires a mask: white where the watermark is, black elsewhere")
    elif capabilities.mask == "none":
        raise Unsupported(f"{display_name} does not accept a mask: it finds the watermark itself")


def _check_mask_format(job: Job, infos: dict[int, MediaInfo]) -> None:
    """Raise InvalidInput if a mask, also one given as an option, is not an image of its input's size."""
    for media in (job.mask, *job.options.values()):
        info = infos.get(id(media))
        if info is not None and isinstance(media, Media):
            if not info.image:
                raise InvalidInput(f"the mask {media.name} is not an image in a known format")
            for image in job.inputs:
                if not job.video and id(image) in infos:
                    _check_mask_size(info, image.name, infos[id(image)])


def _check_mask_size(mask: MediaInfo, name: str, image: MediaInfo) -> None:
    # 0 pixels: the size is unknown
    if not (image.width and mask.width) or mask.size == image.size:
        return
    if mask.size == image.displayed:
        raise InvalidInput(
            f"the mask has {mask.pixels}, the size in which {name} is shown: it is stored as {image.width}x"
            f"{image.height}, and its EXIF orientation {image.orientation} turns it. Save the image upright, for "
            "example with PIL.ImageOps.exif_transpose, and pass that with this mask"
        )
    rotated = ", it is rotated" if mask.size == image.size[::-1] else ""
    raise InvalidInput(
        f"the mask has {mask.pixels}, but {name} has {image.pixels.replace(' pixels', '', 1)}{rotated}: "
        "both must have the same size"
    )


def input_warnings(job: Job, infos: Mapping[int, MediaInfo]) -> Iterator[str]:
    """Yield what is worth knowing of a job's images that are accepted, as sentences that begin with their names."""
    for media in job.inputs:
        info = infos.get(id(media), MediaInfo(None))
        if info.image and info.animated:
            yield f"{media.name} is animated: one frame comes back"
        if info.image and info.orientation > 1 and job.mask is not None:
            yield (
                f"{media.name} has the EXIF orientation {info.orientation}: the mask must mark the pixels as they are "
                "stored, not as they are shown"
            )
