"""Turns what a caller passes into a checked Job: media measured and sniffed, options resolved; nothing is sent."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from copy import copy
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

from attrs import define, evolve

from ...capabilities import check_job, input_warnings
from ...clock import in_thread
from ...errors import InvalidInput, ResultExpired, TransferFailed, Unsupported, WatermarkError
from ...jobs import Job
from ...media import Source, as_media
from ...media.base import SNIFF_BYTES, Media
from ...media.files import File
from ...media.masks.boxes import Boxes, DrawnBoxes
from ...media.memory import Bytes, Link
from ...media.mp4 import read_mp4_info
from ...media.open_file import OpenFile, spool_stream
from ...media.sniff import MediaInfo, name_by_format, sniff
from ...media.stream import reason_of
from ...provider import Provider
from ...redaction import is_loopback, redact_url
from ...results import Result
from ...transport import Transport
from ..content_key import ContentKey, Key
from .failures import as_watermark_errors

log = logging.getLogger("aiowatermark")

_MAX_MASK_BYTES = _MAX_IMAGE_BYTES = 64 << 20
_ONE_MEDIUM = (str, bytes, bytearray, memoryview, Media)
_ONE_SIZE = "boxes are for images of one size: submit the others as separate jobs"
_NO_SIZE = "boxes need the size of the image in pixels, which is not known here: pass a mask image"


@define(eq=False)
class JobPreparer:
    """Prepares jobs for one provider; raises InvalidInput or Unsupported for what it cannot accept.

    `can_lend`: a callback server can serve files to a provider that accepts URLs only.
    """

    provider: Provider
    transport: Transport
    can_serve_files: bool = False

    async def prepare(
        self,
        media: Source | Sequence[Source] | None,
        mask: Source | None,
        size: int | None,
        options: Mapping[str, Any],
        key: Key | None = None,
    ) -> Job:
        """The job for these arguments of `client.submit`."""
        with as_watermark_errors:
            resolved = self.provider.resolve_options(options)
            inputs = tuple([as_media(source, size=size) for source in _sources(media)])
            return await self._validate(Job(inputs, None if mask is None else as_media(mask), resolved), key)

    async def prepare_refinement(
        self, result: Result, brush: Media, options: Mapping[str, Any], key: Key | None = None
    ) -> Job:
        """The job that refines a result: removes what is white in `brush`, too."""
        session, media = result.snapshot.session, result.outputs[0].media if result.outputs else None
        if session is None or media is None or not self.provider.capabilities.refines:
            raise Unsupported(
                f"{self.provider.display_name} keeps no session for this result: submit the image again with a mask"
            )
        with as_watermark_errors:
            return await self._validate(self.provider.refinement(media, session, brush, options), key)

    async def _validate(self, job: Job, key: Key | None) -> Job:
        """The job once its media were inspected and the provider is known to accept it."""
        if job.mask is not None:
            job = evolve(job, mask=await self._load_mask(job.mask))
        info: dict[int, MediaInfo] = {}  # by identity of the media object: media need not be hashable
        for media in _all_media(job):
            if isinstance(media, Link):
                self._check_link(media)
            elif media is not job.mask or not isinstance(media, Boxes):
                await _inspect(media, info)
        job = self._check(job, info)
        if info:
            await self._warn(job, info)
        size_to_draw = await self._check_boxes(job, job.mask, info) if isinstance(job.mask, Boxes) else None
        if key is not None:
            job = await _hash_contents(job, spool=isinstance(key, ContentKey))
        if isinstance(job.mask, Boxes) and size_to_draw is not None:
            job = evolve(job, mask=await _draw(job.mask, size_to_draw))
        return await self._convert_masks(job) if info or job.mask is not None else job

    async def _load_mask(self, mask: Media) -> Media:
        """The mask in memory, unless it is boxes, or a link that the provider takes."""
        if isinstance(mask, Link) and not self.provider.capabilities.mask_links:
            self._check_link(mask)
            return await self._download_mask(mask)
        return mask if isinstance(mask, Link | Boxes) else await _load_mask(mask)

    async def _check_boxes(self, job: Job, mask: Boxes, info: Mapping[int, MediaInfo]) -> tuple[int, int] | None:
        """The size to draw a mask of boxes in, None if the provider takes them as they are.

        Raises InvalidInput for boxes that are not inside the images, where their size is known or needed.
        """
        if job.video:
            raise Unsupported("boxes are for images: pass a mask of the size of the video")
        native = len(mask.boxes) <= self.provider.capabilities.boxes
        sizes: dict[tuple[int, int], str] = {}
        for media in job.inputs or _former_masks(job):
            if (size := await self._pixels(media, info, download=not native)) is not None:
                mask.check_inside(media.name, size)
                sizes[size] = media.name
        if native:
            return None
        if len(sizes) != 1:
            raise InvalidInput(_ONE_SIZE if sizes else _NO_SIZE)
        return next(iter(sizes))

    async def _pixels(self, media: Media, info: Mapping[int, MediaInfo], *, download: bool) -> tuple[int, int] | None:
        """Width and height of an image, None if unknown; a link tells them only after a download."""
        found = info.get(id(media))
        if isinstance(media, Link) and download:
            found = sniff(await self._read_head(media))
        elif found is None and not isinstance(media, Link):
            found = sniff(await media.head())
        return found.size if found is not None and found.image and all(found.size) else None

    async def _read_head(self, link: Link) -> bytes:
        try:
            return (await self.transport.read(link.url, _MAX_IMAGE_BYTES))[:SNIFF_BYTES]
        except (TransferFailed, ResultExpired) as error:
            raise InvalidInput(
                f"boxes need the size of the image, which cannot be downloaded: {error.message}"
            ) from None

    def _check(self, job: Job, info: dict[int, MediaInfo]) -> Job:
        """The job, marked as a video if it is one; raises what `check_job` raises."""
        capabilities = self.provider.capabilities_for(job)
        if self.can_serve_files and not capabilities.files:
            capabilities = evolve(capabilities, files=True)
        if any(capabilities.is_video(media, info.get(id(media))) for media in job.inputs):
            job = evolve(job, video=True)
        check_job(capabilities, self.provider.display_name, job, info)
        return job

    async def _warn(self, job: Job, info: Mapping[int, MediaInfo]) -> None:
        """Log what the provider's documents do not allow, and what may surprise; the job is submitted nevertheless."""
        for warning in input_warnings(job, info):
            log.warning("%s", warning)
        limits = self.provider.capabilities.video_limits
        if not job.video or limits is None:
            return
        for media in job.inputs:
            for warning in limits.warnings(info.get(id(media)), await read_mp4_info(media)):
                log.warning("%s %s: %s may refuse it", media.name, warning, self.provider.display_name)

    async def _convert_masks(self, job: Job) -> Job:
        """The job with its mask in black and white; raises InvalidInput for a mask that can do nothing."""
        smear = job.options.get(self.provider.capabilities.stroke_option or "")
        if isinstance(smear, Media) and smear.reopenable and not isinstance(smear, Link):
            data = await _read_mask(smear)
            await in_thread(_check_strokes, data)
        if not isinstance(job.mask, Bytes):
            return job
        data = await in_thread(_convert_mask, job.mask.data)
        if data is job.mask.data:
            return job
        mask = Bytes(data, name=job.mask.name)
        name_by_format(mask, MediaInfo("png"))
        mask.digest = job.mask.digest  # a repeated submission is recognised by what the caller passed
        return evolve(job, mask=mask)

    def _check_link(self, link: Link) -> None:
        parts = urlsplit(link.url)
        local = is_loopback(parts.hostname)
        if parts.scheme != "https" and not local:
            raise InvalidInput(f"{redact_url(link.url)} would be sent unencrypted: use https, or pass the file itself")
        if local and not is_loopback(urlsplit(self.provider.base_url).hostname):
            raise InvalidInput(
                f"{redact_url(link.url)} is on this machine, where {self.provider.display_name} cannot fetch it"
            )

    async def _download_mask(self, link: Link) -> Bytes:
        """Download a mask for a provider that does not fetch masks by URL; masks are small."""
        try:
            return Bytes(await self.transport.read(link.url, _MAX_MASK_BYTES), name=link.name)
        except (TransferFailed, ResultExpired) as error:
            raise InvalidInput(f"the mask cannot be downloaded: {error.message}") from None


def _sources(media: Source | Sequence[Source] | None) -> Sequence[Any]:
    """Return the one medium, or those of a batch; bytes are sequences, too, and one medium."""
    if media is None:
        return ()
    if isinstance(media, _ONE_MEDIUM) or callable(getattr(media, "read", None)):
        return (media,)
    return media if isinstance(media, Sequence) else (media,)


def _former_masks(job: Job) -> list[Media]:
    """Return the masks of what was removed before, which have the size of an image that is not sent again."""
    media = [job.session and job.session.mask, *job.options.values()]
    return [mask for mask in media if isinstance(mask, Media)]


def _all_media(job: Job) -> Iterator[Media]:
    """Yield the inputs, the mask, and the options that are media."""
    yield from job.inputs
    yield from (media for media in (job.mask, *job.options.values()) if media is not None and isinstance(media, Media))


async def _inspect(media: Media, info: dict[int, MediaInfo]) -> None:
    """Measure and sniff media, and name it by its format."""
    with _as_invalid_input(media):
        await media.measure()
        if head := await media.head():
            info[id(media)] = found = sniff(head)
            name_by_format(media, found)


async def _load_mask(mask: Media) -> Bytes:
    """Return a mask that is not a link in memory."""
    with _as_invalid_input(mask):
        await mask.measure()
        return Bytes(await _read_mask(mask), name=mask.name)


async def _read_mask(mask: Media) -> bytes:
    data = bytearray()
    async with aclosing(mask.blocks()) as blocks:
        async for block in blocks:
            data += block
            if len(data) > _MAX_MASK_BYTES:
                raise InvalidInput(f"the mask {mask.name} has more than {_MAX_MASK_BYTES >> 20} MiB")
    return bytes(data)


# Pillow is imported with the first mask, in a worker thread: most jobs have none
_DRAWING = "aiowatermark.media.masks.drawing"


def _convert_mask(data: bytes) -> bytes:
    converted: bytes = import_module("aiowatermark.media.masks.black_and_white").convert_mask(data)
    return converted


async def _draw(boxes: Boxes, size: tuple[int, int]) -> DrawnBoxes:
    """The boxes as a mask of an image of this width and height."""
    data = await in_thread(lambda: import_module(_DRAWING).draw_boxes(boxes.boxes, size))
    mask = DrawnBoxes(data, boxes=boxes)
    name_by_format(mask, MediaInfo("png"))
    return mask


def _check_strokes(smear: bytes) -> None:
    import_module("aiowatermark.media.masks.strokes").check_strokes(smear)


async def _hash_contents(job: Job, *, spool: bool) -> Job:
    """The job with the digests of its media; those that can be read once are spooled, or hashed while they are sent."""
    copies: dict[int, Media] = {}
    for media in _all_media(job):
        with _as_invalid_input(media):
            own = copies[id(media)] = _own(media) if media.reopenable or not spool else await spool_stream(media)
            await own.hash_content()
            if isinstance(media, File) and media.digest not in {None, own.digest}:
                raise InvalidInput(f"{media.name} was changed after its key was made")
    options = {name: copies.get(id(value), value) for name, value in job.options.items()}
    mask = None if job.mask is None else copies[id(job.mask)]
    return evolve(job, inputs=tuple(copies[id(media)] for media in job.inputs), mask=mask, options=options)


def _own(media: Media) -> Media:
    """A file whose digest is this job's: the caller may submit the same object again when the file has changed."""
    return copy(media) if isinstance(media, File | OpenFile) and media.reopenable else media


@contextmanager
def _as_invalid_input(media: Media) -> Iterator[None]:
    """Turn whatever an object of the caller's raises into InvalidInput, so that it ends its job and not a batch."""
    try:
        yield
    except WatermarkError:
        raise
    except Exception as error:
        raise InvalidInput(f"{media.name} cannot be read: {reason_of(error)}") from error
