"""Job keys: digests of everything that identifies a job, equal in every run of the same command."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from ... import Provider, as_media

KEY_HELP = (
    "With --store, a job is identified by the provider and its base URL, the name and the content of the file (for a "
    "URL: its text), the name and the content of the mask, and the options. If one of these changes, it is a new job "
    "and is paid for."
)


def readable_name(stem: str) -> str:
    """Return the readable part of a key, at most 80 characters; `resume` names the result after it."""
    # rename() replaces the characters that are not safe in a file name
    media = as_media(b"")
    media.rename(stem[:80])
    return media.name


async def identify(source: str) -> tuple[str, str]:
    """Return the name of a file and a digest of its content; a URL is identified by its text alone.

    Raises InvalidInput if the file cannot be read.
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
    """Return the key of a job: equal for equal arguments, in any process; `media` and `mask` come from `identify`."""
    parts = [provider.name, provider.base_url, media, mask, sorted(options.items())]
    digest = hashlib.blake2b(json.dumps(parts, default=str).encode(errors="surrogateescape"), digest_size=8)
    return f"{readable_name(stem)}-{digest.hexdigest()}"
