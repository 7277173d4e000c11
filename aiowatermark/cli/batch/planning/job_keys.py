"""Job keys: digests of everything that identifies a job, equal in every run of the same command."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from .... import Provider, as_media
from ....client.content_key import content_key
from ....jobs import Job
from ....media.base import Media, safe_name

KEY_HELP = (
    "A job is identified by the provider, its base URL and account, the content of the file (for a URL: its text), the "
    "content of the mask, and the options. If one of these changes, it is a new job and is paid for; a file that was "
    "renamed or copied is not."
)


@frozen
class KeyMaker:
    """Makes the keys of the jobs of one command; `mask` was hashed."""

    provider: Provider
    mask: Media | None
    options: Mapping[str, Any] = field(converter=dict)

    async def key_of(self, source: str) -> str:
        """Return the key of a file or URL, without a round; raises InvalidInput if the file cannot be read."""
        provider, media = self.provider, await hashed_media(source)
        key = content_key(provider, Job((media,), self.mask, provider.resolve_options(self.options)))
        if provider.account == provider.default_account:
            return key  # such an account is named after its base URL, too
        return f"content-{hashlib.blake2b(f'{key} {provider.base_url}'.encode(), digest_size=20).hexdigest()}"


async def hashed_media(source: str) -> Media:
    """Return media whose content is known; raises InvalidInput if it cannot be read."""
    media = as_media(source)
    await media.measure()
    await media.hash_content()
    return media


def key_in_round(base: str, number: int) -> str:
    """Return the key of a job that --again has paid for anew so many times."""
    return f"{base}-{number}" if number else base


def new_key(stem: str) -> str:
    """Return a key that no other run gives to a job; it begins with a name, by which `resume` names the result."""
    return f"{safe_name(stem[:80])}-{secrets.token_hex(8)}"
