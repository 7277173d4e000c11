"""The mask of a run: what is wrong with it concerns every file, so it is refused once, before anything is sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from .... import InvalidInput, Media, Provider, WatermarkError, as_media
from ....capabilities import check_mask_use
from ....clock import in_thread
from ....jobs import Job
from ....media.memory import Bytes, Link
from ....media.sniff import MediaInfo, sniff
from ..items import BatchItem
from .job_keys import hashed_media

_MAX_MASK_BYTES = 64 << 20


def check_provider_takes(mask: str | None, provider: Provider, options: Mapping[str, Any]) -> None:
    """Raise InvalidInput if no job with these options can have this mask, or can do without one."""
    job = Job((), None if mask is None else as_media(mask), provider.resolve_options(options))
    check_mask_use(provider.capabilities_for(job), provider.display_name, job)


async def load_mask(source: str) -> Media:
    """Return the mask of all jobs: in memory, so that all get the one whose content is in their keys.

    Raises InvalidInput if it cannot be read, is no image, or can do nothing, as one that is black everywhere.
    """
    media = await hashed_media(source)
    if isinstance(media, Link) or (media.size or 0) > _MAX_MASK_BYTES:
        return media  # of a mask that is too large each job says so
    mask = Bytes(b"".join([block async for block in media.blocks()]), name=media.name)
    await mask.hash_content()
    if not sniff(mask.data).image:
        raise InvalidInput(f"the mask {mask.name} is not an image in a known format")
    # Pillow is imported with the first mask, in a worker thread
    await in_thread(lambda: import_module("aiowatermark.media.masks.black_and_white").convert_mask(mask.data))
    return mask


async def check_mask_size(mask: Media | None, items: Sequence[BatchItem]) -> None:
    """Raise InvalidInput if all inputs are images whose size is known, and none has that of the mask."""
    if not isinstance(mask, Bytes) or not all((found := sniff(mask.data)).size):
        return
    sizes = {}
    for item in items:
        image = await _look_at(item)
        if image is None or not image.image or not all(image.size) or found.size in {image.size, image.displayed}:
            return  # it fits, or what is wrong is said of this file
        sizes[image.pixels] = item.source
    if sizes:
        others = "" if len(sizes) == 1 else f" and {len(sizes) - 1} other sizes"
        raise InvalidInput(
            f"the mask {mask.name} has {found.pixels}, but none of the images: they have {next(iter(sizes))}{others}"
        )


async def _look_at(item: BatchItem) -> MediaInfo | None:
    """Return what the first bytes of an input tell; None for a link, and for what cannot be read."""
    if item.problem:
        return None
    try:
        media = as_media(item.source)
        return None if isinstance(media, Link) else sniff(await media.head())
    except (WatermarkError, OSError, ValueError):
        return None
