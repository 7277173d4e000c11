"""Where pictures are restored: fetched if they are links, checked, worked on in threads, put on the storage host."""

from __future__ import annotations

import asyncio
import importlib
from types import ModuleType

from attrs import define, field, frozen

from ..storage.objects import ObjectStore
from .blank import plain_png
from .limits import FailureKind, ImageInfo, ImageRules, JobFailure, check_mask
from .links import LinkFetcher, is_reserved
from .tasks import TaskOutput
from .threads import ThreadPool

MediaInput = bytes | str  # the bytes themselves, or a link to them
_SUFFIXES = {"jpeg": "jpg"}
_MAX_QUEUED = 512


@frozen
class ImageJob:
    """What is to be done to some pictures: one mask for all; `smear` says that it is coloured in Kaze's way."""

    pictures: tuple[MediaInput, ...]
    limits: ImageRules
    mask: MediaInput | None = field(default=None, repr=False)
    smear: bool = False

    @property
    def local(self) -> bool:
        """Whether nothing has to be fetched for it."""
        return not any(isinstance(source, str) for source in (*self.pictures, self.mask))


@frozen
class RestoredImage:
    """A picture when the work is done, and the mask (PNG) of what was removed from it."""

    picture: bytes = field(repr=False)
    mask: bytes = field(repr=False)
    found: bool = False


@define
class ImageWorker:
    """Restores, or with `restoring` off hands every picture back as it came."""

    restoring: bool
    mark: bytes | None = field(repr=False)
    links: LinkFetcher
    objects: ObjectStore
    cpu_pool: ThreadPool
    _slots: asyncio.Semaphore = field(init=False, factory=lambda: asyncio.Semaphore(_MAX_QUEUED))

    def process_now(self, order: ImageJob) -> bool:
        """Whether the order takes neither fetching nor restoring."""
        return order.local and not self.restoring

    def copy(self, provider: str, order: ImageJob) -> list[TaskOutput]:
        """The pictures as they came, checked, for an order that can be done at once."""
        return [self._copy_one(provider, data, order) for data in order.pictures if isinstance(data, bytes)]

    async def process(self, provider: str, order: ImageJob) -> list[TaskOutput]:
        """One result or failure for each picture, in their order."""
        async with self._slots:
            return [await self._process_one(provider, source, order) for source in order.pictures]

    async def restore(self, picture: ImageInfo, mask: bytes | None) -> RestoredImage:
        """A picture restored in a thread. Raises Failure when it cannot be read."""
        if not self.restoring:
            return RestoredImage(picture.data, plain_png(*picture.size))
        try:
            return await self.cpu_pool.run(_restore, picture.data, mask, None if mask else self.mark)
        except ValueError as error:
            raise JobFailure(FailureKind.PICTURE, str(error)) from None

    async def union(self, first: bytes, second: bytes) -> bytes:
        """The mask of both masks."""
        if not self.restoring:
            return second
        return await self.cpu_pool.run(lambda: bytes(_module("restoration.restore").union(first, second)))

    def _copy_one(self, provider: str, data: bytes, order: ImageJob) -> TaskOutput:
        try:
            picture = order.limits.check(data)
            if isinstance(order.mask, bytes):
                check_mask(picture, order.mask)
        except JobFailure as failure:
            return TaskOutput(failure=failure)
        return self._store_output(provider, picture, RestoredImage(data, b""))

    async def _process_one(self, provider: str, source: MediaInput, order: ImageJob) -> TaskOutput:
        try:
            picture = order.limits.check(await self._load(source, order.limits.max_bytes))
            mask = await self._load_mask(picture, order)
            return self._store_output(provider, picture, await self.restore(picture, mask))
        except JobFailure as failure:
            return TaskOutput(failure=failure)

    async def _load(self, source: MediaInput, most: int) -> bytes:
        if isinstance(source, bytes):
            return source
        if not is_reserved(source):
            return await self.links.fetch(source, most)
        if not self.restoring:
            return plain_png(640, 480, 128)
        name = "png" if source.partition("?")[0].lower().endswith(".png") else "jpeg"
        return await self.cpu_pool.run(lambda: bytes(_module("pictures").sample_photo(format=name)))

    async def _load_mask(self, picture: ImageInfo, order: ImageJob) -> bytes | None:
        if order.mask is None:
            return None
        if isinstance(order.mask, str) and is_reserved(order.mask):
            return await self._sample_mask(picture)
        mask = await self._load(order.mask, order.limits.max_bytes)
        check_mask(picture, mask)
        if order.smear and self.restoring:
            return await self.cpu_pool.run(_mask_from_strokes, mask)
        return mask

    async def _sample_mask(self, picture: ImageInfo) -> bytes:
        if not self.restoring:
            return plain_png(*picture.size)
        return await self.cpu_pool.run(lambda: bytes(_module("pictures").sample_mask(*picture.size)))

    def _store_output(self, provider: str, picture: ImageInfo, restored: RestoredImage) -> TaskOutput:
        suffix = _SUFFIXES.get(picture.format, picture.format)
        return TaskOutput(self.objects.put(provider, restored.picture, suffix), found=restored.found)


def _module(name: str) -> ModuleType:
    """One of the modules that import OpenCV, which takes a while: to be called in a thread."""
    return importlib.import_module(f"aiowatermark.emulator.{name}")


def _restore(picture: bytes, mask: bytes | None, mark: bytes | None) -> RestoredImage:
    restoration = _module("restoration.restore").restore(picture, mask=mask, mark=mark)
    return RestoredImage(restoration.image, restoration.mask, restoration.found)


def _mask_from_strokes(smear: bytes) -> bytes:
    return bytes(_module("restoration.restore").strokes_to_mask(smear))
