"""Job keys: digests of everything that identifies a job, equal in every run of the same command."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from .... import InvalidInput, Provider, as_media
from ....client.content_key import content_key
from ....jobs import Job
from ....media.base import Media, safe_name
from ..manifest import Work

KEY_HELP = (
    "A job is identified by the provider, the content of the file (for a URL: its text), the content of the mask, and "
    "the options. If one of these changes, it is a new job and is paid for; a file that was renamed or copied is not, "
    "nor is one that was done under another account."
)


@frozen
class KeyMaker:
    """Makes the keys of the jobs of one command; `mask` was hashed."""

    provider: Provider
    mask: Media | None
    options: Mapping[str, Any] = field(converter=dict)

    async def work_of(self, source: str) -> Work:
        """Return what is to be done with a file or URL, and its key; raises InvalidInput if it cannot be read."""
        return await self._work(await hashed_media(source))

    async def media_of(self, source: str, key: str) -> Media:
        """Return the media of a key that `work_of` returned; raises InvalidInput if the file was changed since then."""
        media = await hashed_media(source)
        if (await self._work(media)).base != key:
            raise InvalidInput(f"{source} was changed while it waited: the same command takes it as it is now")
        return media

    async def _work(self, media: Media) -> Work:
        provider = self.provider
        options = provider.resolve_options(self.options)
        for value in options.values():
            if isinstance(value, Media):  # an option may be a file, such as a mask in the provider's own colours
                await value.hash_content()
        job = Job((media,), self.mask, options)
        key = content_key(provider, job)
        # an account without a name is named after its base URL, too
        if provider.account != provider.default_account:
            key = f"content-{_digest(f'{key} {provider.base_url}')}"
        return Work(_digest(f"{provider.name} {job.fingerprint}"), key, provider.account, provider.base_url)


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=20).hexdigest()


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
