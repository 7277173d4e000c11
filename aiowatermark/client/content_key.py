"""CONTENT_KEY: an idempotency key that the client derives from what is sent."""

from __future__ import annotations

import hashlib
from enum import Enum
from typing import Final, TypeAlias

from ..errors import InvalidInput
from ..jobs import Job
from ..media.fingerprints import has_unknown_content
from ..provider import Provider


class ContentKey(Enum):
    """The type of `CONTENT_KEY`, its only member."""

    CONTENT_KEY = "content"

    def __repr__(self) -> str:
        """The name as users write it."""
        return "aiowatermark.CONTENT_KEY"


CONTENT_KEY: Final = ContentKey.CONTENT_KEY
"""As `key=`: the same bytes, mask and options on the same account are paid once."""

Key: TypeAlias = str | ContentKey
"""What a job is named by: a text of the caller's, or `CONTENT_KEY`."""


def content_key(provider: Provider, job: Job) -> str:
    """Return the key of a job whose content was hashed: equal for equal content at the same account.

    Raises InvalidInput if the content of a media is not known, so that two contents never share a key.
    """
    if has_unknown_content(job.fingerprint):
        raise InvalidInput("CONTENT_KEY needs media that can be read again: pass a path, bytes or a key of yours")
    parts = "\0".join((provider.name, provider.account, job.fingerprint))
    return f"content-{hashlib.blake2b(parts.encode(), digest_size=20).hexdigest()}"
