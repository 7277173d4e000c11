"""Where pictures are restored: fetched if they are links, checked, worked on in threads, put on the storage host."""

from __future__ import annotations

import asyncio
import importlib
from types import ModuleType

from attrs import define, field, frozen

from ..storage.objects import Shelf
from .blank import plain_png
from .limits import Failure, Limits, Picture, Trouble, check_mask
from .links import Links, is_reserved
from .tasks import Made
from .threads import Threads

Source = bytes | str  # the bytes themselves, or a link to them
_SUFFIXES = {"jpeg": "jpg"}
_QUEUED = 512


@frozen
class Order:
    """What is to be done to some pictures: one mask for all; `smear` says that it is coloured in Kaze's way."""

    pictures: tuple[Source, ...]
    limits: Limits
    mask: Source | None = field(default=None, repr=False)
    smear: bool = False

    @property
    def local(self) -> bool:
        """Whether nothing has to be fetched for it."""
        return not any(isinstance(source, str) for source in (*self.pictures, self.mask))


@frozen
class Restored:
    """A picture when the work is done, and the mask (PNG) of what was removed from it."""

    picture: bytes = field(repr=False)
    mask: bytes = field(repr=False)
    found: bool = False


@define
class Workshop:
    """Restores, or with `restoring` off hands every picture back as it came."""

    restoring: bool
    mark: bytes | None = field(repr=False)
    links: Links
    shelf: Shelf
    hands: Threads
    _places: asyncio.Semaphore = field(init=False, factory=lambda: asyncio.Semaphore(_QUEUED))

    def at_once(self, order: Order) -> bool:
        """Whether the order takes neither fetching nor restoring."""
        return order.local and not self.restoring

    def copy(self, provider: str, order: Order) -> list[Made]:
        """The pictures as they came, checked, for an order that can be done at once."""
        return [self._copied(provider, data, order) for data in order.pictures if isinstance(data, bytes)]

    async def make(self, provider: str, order: Order) -> list[Made]:
        """One result or failure for each picture, in their order."""
        async with self._places:
            return [await self._one(provider, source, order) for source in order.pictures]

    async def restore(self, picture: Picture, mask: bytes | None) -> Restored:
        """A picture restored in a thread. Raises Failure when it cannot be read."""
        if not self.restoring:
            return Restored(picture.data, plain_png(*picture.size))
        try:
            return await self.hands.run(_restore, picture.data, mask, None if mask else self.mark)
        except ValueError as error:
            raise Failure(Trouble.PICTURE, str(error)) from None

    async def union(self, first: bytes, second: bytes) -> bytes:
        """The mask of both masks."""
        if not self.restoring:
            return second
        return await self.hands.run(lambda: bytes(_module("restoration.restore").union(first, second)))

    def _copied(self, provider: str, data: bytes, order: Order) -> Made:
        try:
            picture = order.limits.check(data)
            if isinstance(order.mask, bytes):
                check_mask(picture, order.mask)
        except Failure as failure:
            return Made(failure=failure)
        return self._kept(provider, picture, Restored(data, b""))

    async def _one(self, provider: str, source: Source, order: Order) -> Made:
        try:
            picture = order.limits.check(await self._bytes(source, order.limits.most))
            mask = await self._mask(picture, order)
            return self._kept(provider, picture, await self.restore(picture, mask))
        except Failure as failure:
            return Made(failure=failure)

    async def _bytes(self, source: Source, most: int) -> bytes:
        if isinstance(source, bytes):
            return source
        if not is_reserved(source):
            return await self.links.fetch(source, most)
        if not self.restoring:
            return plain_png(640, 480, 128)
        name = "png" if source.partition("?")[0].lower().endswith(".png") else "jpeg"
        return await self.hands.run(lambda: bytes(_module("pictures").sample_photo(format=name)))

    async def _mask(self, picture: Picture, order: Order) -> bytes | None:
        if order.mask is None:
            return None
        if isinstance(order.mask, str) and is_reserved(order.mask):
            return await self._sample_mask(picture)
        mask = await self._bytes(order.mask, order.limits.most)
        check_mask(picture, mask)
        if order.smear and self.restoring:
            return await self.hands.run(_unsmeared, mask)
        return mask

    async def _sample_mask(self, picture: Picture) -> bytes:
        if not self.restoring:
            return plain_png(*picture.size)
        return await self.hands.run(lambda: bytes(_module("pictures").sample_mask(*picture.size)))

    def _kept(self, provider: str, picture: Picture, restored: Restored) -> Made:
        suffix = _SUFFIXES.get(picture.format, picture.format)
        return Made(self.shelf.keep(provider, restored.picture, suffix), found=restored.found)


def _module(name: str) -> ModuleType:
    """One of the modules that import OpenCV, which takes a while: to be called in a thread."""
    return importlib.import_module(f"aiowatermark.emulator.{name}")


def _restore(picture: bytes, mask: bytes | None, mark: bytes | None) -> Restored:
    restoration = _module("restoration.restore").restore(picture, mask=mask, mark=mark)
    return Restored(restoration.picture, restoration.mask, restoration.found)


def _unsmeared(smear: bytes) -> bytes:
    return bytes(_module("restoration.restore").smear_to_mask(smear))
