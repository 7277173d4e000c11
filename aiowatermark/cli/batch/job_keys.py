"""What names a job from one run to the next: a digest of everything that makes it this job and no other."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from ... import Provider, as_media

KEY_PARTS = (
    "With --store a job's key is made of the provider and its address, the file's name and content (a link: the whole "
    "link), the mask's, and the options."
)


def readable(stem: str) -> str:
    """The part of a key that a person recognises, and `resume` names the result after."""
    media = as_media(b"")
    media.rename(stem[:80])
    return media.name


async def identity(source: str) -> tuple[str, str]:
    """What tells a file from others: its name and a digest of its content; a link is told by its text.

    Raises InvalidInput for a file that cannot be read.
    """
    if "://" in source:
        return source, ""
    media = as_media(source)
    await media.measure()
    digest = hashlib.blake2b(digest_size=16)
    async for block in media.blocks():
        digest.update(block)
    return media.name, digest.hexdigest()


def stable_key(
    provider: Provider, stem: str, media: tuple[str, str], mask: tuple[str, str] | None, options: Mapping[str, Any]
) -> str:
    """The key: the same for the same command, in any process, on any day."""
    parts = [provider.name, provider.base_url, media, mask, sorted(options.items())]
    digest = hashlib.blake2b(json.dumps(parts, default=str).encode(errors="surrogateescape"), digest_size=8)
    return f"{readable(stem)}-{digest.hexdigest()}"
