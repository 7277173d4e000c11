"""Image worker: loads the images of a job, checks them, restores them in threads and stores the results."""

from __future__ import annotations

import asyncio
import importlib
from types import ModuleType

from attrs import define, field, frozen

from ..storage.objects import ObjectStore
from .blank import plain_png
from .limits import FailureKind, ImageInfo, ImageRules, JobFailure, check_boxes, check_mask
from .links import LinkFetcher, is_reserved
from .tasks import TaskOutput
from .threads import ThreadPool

MediaInput = bytes | str  # the bytes themselves, or a link to them
Box = tuple[int, int, int, int]  # x, y, width and height in pixels
_SUFFIXES = {"jpeg": "jpg"}
# jobs whose inputs may be in memory at the same time
_MAX_CONCURRENT = 512


@frozen
class ImageJob:
    """The work of one task: the images, the provider's limits, and one mask for all of them, or boxes in its place.

    `smear`: the mask consists of coloured strokes, as Kaze documents it, instead of white areas.
    """

    images: tuple[MediaInput, ...]
    limits: ImageRules
    mask: MediaInput | None = field(default=None, repr=False)
    smear: bool = False
    boxes: tuple[Box, ...] = ()

    @property
    def local(self) -> bool:
        """Whether all inputs are bytes, so that none must be fetched."""
        return not any(isinstance(source, str) for source in (*self.images, self.mask))


@frozen
class RestoredImage:
    """A restored image, the mask (PNG) of what was removed, and whether a watermark was found."""

    image: bytes = field(repr=False)
    mask: bytes = field(repr=False)
    found: bool = False


@define
class ImageWorker:
    """Restores images; with `restoring` off it returns each one unchanged."""

    restoring: bool
    mark: bytes | None = field(repr=False)
    links: LinkFetcher
    objects: ObjectStore
    cpu_pool: ThreadPool
    _slots: asyncio.Semaphore = field(init=False, factory=lambda: asyncio.Semaphore(_MAX_CONCURRENT))

    def can_copy(self, job: ImageJob) -> bool:
        """Whether the job needs neither fetching nor restoring, so that `copy_images` completes it."""
        return job.local and not self.restoring

    def copy_images(self, provider: str, job: ImageJob) -> list[TaskOutput]:
        """Check the images and store them unchanged; needs no await."""
        return [self._copy_one(provider, data, job) for data in job.images if isinstance(data, bytes)]

    async def process(self, provider: str, job: ImageJob) -> list[TaskOutput]:
        """Return one result or failure for each image, in the order of the job."""
        async with self._slots:
            # one after the other: different jobs are what runs concurrently
            return [await self._process_one(provider, source, job) for source in job.images]

    async def restore(self, image: ImageInfo, mask: bytes | None) -> RestoredImage:
        """Restore one image in a thread. Raises JobFailure when it cannot be decoded."""
        if not self.restoring:
            return RestoredImage(image.data, plain_png(*image.size))
        try:
            # the mask says what to remove, so the known watermark is not searched for
            return await self.cpu_pool.run(_restore, image.data, mask, None if mask else self.mark)
        except ValueError as error:
            raise JobFailure(FailureKind.IMAGE, str(error)) from None

    async def union(self, first: bytes, second: bytes) -> bytes:
        """Return the union of two masks."""
        if not self.restoring:
            return second
        return await self.cpu_pool.run(lambda: bytes(_import_module("restoration.restore").union(first, second)))

    def _copy_one(self, provider: str, data: bytes, job: ImageJob) -> TaskOutput:
        try:
            image = job.limits.check(data)
            if isinstance(job.mask, bytes):
                check_mask(image, job.mask)
            check_boxes(image, job.boxes)
        except JobFailure as failure:
            return TaskOutput(failure=failure)
        return self._store_output(provider, image, RestoredImage(data, b""))

    async def _process_one(self, provider: str, source: MediaInput, job: ImageJob) -> TaskOutput:
        try:
            image = job.limits.check(await self._load(source, job.limits.max_bytes))
            mask = await self._load_mask(image, job)
            return self._store_output(provider, image, await self.restore(image, mask))
        except JobFailure as failure:
            return TaskOutput(failure=failure)

    async def _load(self, source: MediaInput, max_bytes: int) -> bytes:
        if isinstance(source, bytes):
            return source
        if not is_reserved(source):
            return await self.links.fetch(source, max_bytes)
        # the documents' own examples name such links: a sample is used as the file, so that they succeed
        if not self.restoring:
            return plain_png(640, 480, 128)
        name = "png" if source.partition("?")[0].lower().endswith(".png") else "jpeg"
        return await self.cpu_pool.run(lambda: bytes(_import_module("pictures").sample_photo(format=name)))

    async def _load_mask(self, image: ImageInfo, job: ImageJob) -> bytes | None:
        if job.boxes:
            return await self._draw_boxes(image, job.boxes)
        if job.mask is None:
            return None
        if isinstance(job.mask, str) and is_reserved(job.mask):
            return await self._sample_mask(image)
        mask = await self._load(job.mask, job.limits.max_bytes)
        check_mask(image, mask)
        if job.smear and self.restoring:
            return await self.cpu_pool.run(_mask_from_strokes, mask)
        return mask

    async def _draw_boxes(self, image: ImageInfo, boxes: tuple[Box, ...]) -> bytes:
        check_boxes(image, boxes)
        if not self.restoring:
            return plain_png(*image.size)
        return await self.cpu_pool.run(_mask_from_boxes, image.size, boxes)

    async def _sample_mask(self, image: ImageInfo) -> bytes:
        if not self.restoring:
            return plain_png(*image.size)
        return await self.cpu_pool.run(lambda: bytes(_import_module("pictures").sample_mask(*image.size)))

    def _store_output(self, provider: str, image: ImageInfo, restored: RestoredImage) -> TaskOutput:
        suffix = _SUFFIXES.get(image.format, image.format)
        return TaskOutput(self.objects.put(provider, restored.image, suffix), found=restored.found)


def _import_module(name: str) -> ModuleType:
    """Import a module that needs OpenCV; call it in a thread, because the first import takes a while.

    Not at the top of this module: an emulator that does not restore works without OpenCV.
    """
    return importlib.import_module(f"aiowatermark.emulator.{name}")


def _restore(image: bytes, mask: bytes | None, mark: bytes | None) -> RestoredImage:
    restoration = _import_module("restoration.restore").restore(image, mask=mask, mark=mark)
    return RestoredImage(restoration.image, restoration.mask, restoration.found)


def _mask_from_boxes(size: tuple[int, int], boxes: tuple[Box, ...]) -> bytes:
    return bytes(_import_module("restoration.restore").boxes_to_mask(*size, boxes))


def _mask_from_strokes(smear: bytes) -> bytes:
    return bytes(_import_module("restoration.restore").strokes_to_mask(smear))
