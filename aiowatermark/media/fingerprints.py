"""Fingerprints: by which a store recognises that a key is used for the same job again, or for another one.

    2.DIGEST,PART,PART,…     the kind, with a digest of everything but the content; then a part for each media
    PART: CONTENT/SIZE       what is known of its content, either of them empty while unknown; `url-…` for a link
    32 hexadecimal digits    what version 0.1 wrote: names, sizes, and links without their queries

Only what two fingerprints both know is compared: a stream has a digest only after it was sent, and jobs without a key
have none at all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from .base import Media
from .memory import URL_DIGEST

_KIND = "2."


def fingerprint(shape: str, media: Iterable[Media]) -> str:
    """Return the fingerprint of a job; `shape` is everything that tells it from others but the content of its media."""
    digest = hashlib.blake2b(shape.encode(errors="surrogatepass"), digest_size=16).hexdigest()
    return ",".join([_KIND + digest, *(each.fingerprint for each in media)])


def same_job(one: str, other: str) -> bool:
    """Whether two fingerprints may be of one job; those of different kinds are not compared."""
    if not (one and other) or one.startswith(_KIND) != other.startswith(_KIND):
        return True
    if not one.startswith(_KIND):
        return one == other
    parts, other_parts = one.split(","), other.split(",")
    return len(parts) == len(other_parts) and all(map(_compatible, parts, other_parts))


def has_unknown_content(fingerprint: str) -> bool:
    """Whether the content of one of the media is not known."""
    return ",/" in fingerprint


def complete_fingerprint(before: str, sent: str) -> str:
    """Return the fingerprint of a job after it was sent: streams are hashed meanwhile, so more of it is known.

    `sent` is the fingerprint of what was sent, which counts only if it is that of the same job: files may have been
    replaced by links to them.
    """
    same_links = before.count(URL_DIGEST) == sent.count(URL_DIGEST)
    return sent if same_links and before.startswith(_KIND) and same_job(before, sent) else before


def _compatible(part: str, other: str) -> bool:
    """Whether two parts agree in what both know."""
    values = zip(part.split("/"), other.split("/"), strict=False)
    return all(not one or not two or one == two for one, two in values)
