"""Turns what a caller passes into a checked Job: media measured and sniffed, options resolved; nothing is sent."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from attrs import define, evolve

from ...capabilities import VideoLimits, check_job
from ...errors import InvalidInput, TransferFailed, Unsupported
from ...jobs import Job
from ...media import Source, as_media
from ...media.base import Media
from ...media.memory import Bytes, Link
from ...media.mp4 import read_mp4_info
from ...media.sniff import MediaInfo, sniff
from ...provider import Provider
from ...redaction import is_loopback, redact_url
from ...results import Result
from ...transport import Transport

log = logging.getLogger("aiowatermark")

_MASK_LIMIT = 64 << 20
"""Bytes that a mask behind a link may have."""


@define(eq=False)
class JobPreparer:
    """Prepares jobs for one provider; raises InvalidInput or Unsupported for what it cannot accept.

    `can_lend`: a callback server can serve files to a provider that accepts URLs only.
    """

    provider: Provider
    transport: Transport
    can_serve_files: bool = False

    async def prepare(
        self,
        media: Source | list[Source] | tuple[Source, ...] | None,
        mask: Source | None,
        size: int | None,
        options: Mapping[str, Any],
    ) -> Job:
        """The job for these arguments of `client.submit`."""
        sources = [] if media is None else list(media) if isinstance(media, list | tuple) else [media]
        resolved = self.provider.resolve_options(options)
        inputs = tuple(as_media(source, size=size) for source in sources)
        return await self._validate(Job(inputs, None if mask is None else as_media(mask), resolved))

    async def prepare_refinement(self, result: Result, brush: Media, options: Mapping[str, Any]) -> Job:
        """The job that refines a result: removes what is white in `brush`, too."""
        session, media = result.snapshot.session, result.outputs[0].media if result.outputs else None
        if session is None or media is None or not self.provider.capabilities.refines:
            raise Unsupported(
                f"{self.provider.display_name} keeps no session for this result: submit the image again with a mask"
            )
        return await self._validate(self.provider.refinement(media, session, brush, options))

    async def _validate(self, job: Job) -> Job:
        """The job once its media were inspected and the provider is known to accept it."""
        if isinstance(job.mask, Link) and not self.provider.capabilities.mask_links:
            self._check_link(job.mask)
            job = evolve(job, mask=await self._download_mask(job.mask))
        info: dict[int, MediaInfo] = {}  # by identity of the media object: media need not be hashable
        for media in (*job.inputs, job.mask, *job.options.values()):
            if isinstance(media, Link):
                self._check_link(media)
            elif isinstance(media, Media):
                await self._inspect(media, info)
        capabilities = self.provider.capabilities_for(job)
        if self.can_serve_files and not capabilities.files:
            capabilities = evolve(capabilities, files=True)
        video = any(capabilities.is_video(media, info.get(id(media))) for media in job.inputs)
        job = evolve(job, video=video) if video else job
        check_job(capabilities, self.provider.display_name, job, info)
        if video and capabilities.video_limits is not None:
            await self._warn(capabilities.video_limits, job, info)
        return job

    async def _warn(self, limits: VideoLimits, job: Job, info: Mapping[int, MediaInfo]) -> None:
        """Log what the provider's documents do not allow; the provider may accept it nevertheless."""
        for media in job.inputs:
            for warning in limits.warnings(info.get(id(media)), await read_mp4_info(media)):
                log.warning("%s %s: %s may refuse it", media.name, warning, self.provider.display_name)

    async def _inspect(self, media: Media, info: dict[int, MediaInfo]) -> None:
        await media.measure()
        if head := await media.head():
            info[id(media)] = sniff(head)

    def _check_link(self, link: Link) -> None:
        parts = urlsplit(link.url)
        local = is_loopback(parts.hostname)
        if parts.scheme != "https" and not local:
            raise InvalidInput(f"{redact_url(link.url)} would be sent unencrypted: use https, or pass the file itself")
        if local and not is_loopback(urlsplit(self.provider.base_url).hostname):
            raise InvalidInput(
                f"{redact_url(link.url)} is on this machine, where {self.provider.display_name} cannot fetch it"
            )

    async def _download_mask(self, link: Link) -> Bytes:
        """Download a mask for a provider that does not fetch masks by URL; masks are small."""
        try:
            return Bytes(await self.transport.read(link.url, _MASK_LIMIT), name=link.name)
        except TransferFailed as error:
            raise InvalidInput(f"the mask cannot be downloaded: {error.message}") from None
