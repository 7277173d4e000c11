"""From what a caller gives to a job that can be right: looked at, measured, checked; nothing is sent yet."""

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


@define(eq=False)
class JobPreparer:
    """Makes jobs for a provider; raises InvalidInput or Unsupported for those that cannot be right."""

    provider: Provider
    transport: Transport
    can_lend: bool = False

    async def prepare(
        self,
        media: Source | list[Source] | tuple[Source, ...] | None,
        mask: Source | None,
        size: int | None,
        options: Mapping[str, Any],
    ) -> Job:
        """A job from a caller's words."""
        given = [] if media is None else list(media) if isinstance(media, list | tuple) else [media]
        chosen = self.provider.resolve_options(options)
        inputs = tuple(as_media(source, size=size) for source in given)
        return await self._validate(Job(inputs, None if mask is None else as_media(mask), chosen))

    async def prepare_refinement(self, result: Result, brush: Media, options: Mapping[str, Any]) -> Job:
        """A job that takes more away from a result."""
        session, media = result.snapshot.session, result.outputs[0].media if result.outputs else None
        if session is None or media is None or not self.provider.capabilities.refines:
            raise Unsupported(
                f"{self.provider.display_name} keeps no session of this result: submit it anew with a mask"
            )
        return await self._validate(self.provider.refinement(media, session, brush, options))

    async def _validate(self, job: Job) -> Job:
        """The job, looked at and found possible."""
        if isinstance(job.mask, Link) and not self.provider.capabilities.mask_links:
            self._check_link(job.mask)
            job = evolve(job, mask=await self._download_mask(job.mask))
        looks: dict[int, MediaInfo] = {}
        for media in (*job.inputs, job.mask, *job.options.values()):
            if isinstance(media, Link):
                self._check_link(media)
            elif isinstance(media, Media):
                await self._inspect(media, looks)
        takes = self.provider.capabilities_for(job)
        if self.can_lend and not takes.files:
            takes = evolve(takes, files=True)
        video = any(takes.is_video(media, looks.get(id(media))) for media in job.inputs)
        job = evolve(job, video=video) if video else job
        check_job(takes, self.provider.display_name, job, looks)
        if video and takes.video_limits is not None:
            await self._warn(takes.video_limits, job, looks)
        return job

    async def _warn(self, films: VideoLimits, job: Job, looks: Mapping[int, MediaInfo]) -> None:
        """Say what a provider's documents do not want; it may take it all the same."""
        for media in job.inputs:
            for doubt in films.warnings(looks.get(id(media)), await read_mp4_info(media)):
                log.warning("%s %s: %s may refuse it", media.name, doubt, self.provider.display_name)

    async def _inspect(self, media: Media, looks: dict[int, MediaInfo]) -> None:
        await media.measure()
        if head := await media.head():
            looks[id(media)] = sniff(head)

    def _check_link(self, link: Link) -> None:
        parts = urlsplit(link.url)
        here = is_loopback(parts.hostname)
        if parts.scheme != "https" and not here:
            raise InvalidInput(f"{redact_url(link.url)} travels in clear text: use https, or give the file itself")
        if here and not is_loopback(urlsplit(self.provider.base_url).hostname):
            raise InvalidInput(
                f"{redact_url(link.url)} is on this machine, where {self.provider.display_name} cannot fetch it"
            )

    async def _download_mask(self, link: Link) -> Bytes:
        """A mask that the provider does not fetch itself; masks are small."""
        try:
            return Bytes(await self.transport.read(link.url, _MASK_LIMIT), name=link.name)
        except TransferFailed as error:
            raise InvalidInput(f"the mask cannot be fetched: {error.message}") from None
