"""Downloads results through the transport, inspects them, and requests a new link when one has expired."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from attrs import define, field

from ..errors import JobFailed, ResultExpired, TransferFailed, WatermarkError
from ..jobs import Output
from ..media.base import Media
from ..media.inspection import ResultCheck, SourceContent
from ..media.memory import Link
from ..observation.events import RESULT_READ, RESULT_SAVED, EventType
from ..observation.observer import Observer
from ..provider import Provider
from ..results import FetchOptions, Result
from ..transport import Transport
from ..transport.atomic_file import atomic_file
from ..transport.download import READ_LIMIT, DownloadTarget, FileTarget, MemoryTarget
from .download_scopes import DownloadScopes
from .engine.flows import FlowContext, FlowRunner, loop_time

T = TypeVar("T")
log = logging.getLogger("aiowatermark")

_QUERY_SECONDS = 60.0
_MAX_REMEMBERED = 10_000
"""Jobs of which the inputs are remembered, to compare their results."""


@define(eq=False)
class ResultDownloader:
    """The ResultFetcher of a client; `scopes` refuses and ends downloads when the client is closed.

    `transfers` limits how many results that are not links are written at once; the transport limits its downloads.
    """

    transport: Transport
    transfers: asyncio.Semaphore
    scopes: DownloadScopes
    provider: Provider
    flows: FlowRunner
    observer: Observer
    _inputs: dict[str, tuple[SourceContent | None, ...]] = field(factory=dict, init=False, repr=False)

    def remember_inputs(self, key: str, inputs: Sequence[Media]) -> None:
        """Keep the size and a checksum of the inputs of a job, or the paths of files; the oldest are forgotten."""
        self._inputs.pop(key, None)
        self._inputs[key] = tuple(map(SourceContent.of, inputs))
        if len(self._inputs) > _MAX_REMEMBERED:
            del self._inputs[next(iter(self._inputs))]

    def _check(self, result: Result, output: Output, options: FetchOptions) -> ResultCheck:
        index = next((index for index, each in enumerate(result.outputs) if each is output), 0)
        inputs = self._inputs.get(result.key, ())
        source = inputs[index] if index < len(inputs) else None
        return ResultCheck(result.record.video, options.verify, source)

    async def save(self, result: Result, output: Output, path: Path, options: FetchOptions) -> Path:
        """Write the output to a file, which appears once it is complete."""
        check = self._check(result, output, options)
        media = output.media

        async def download(url: str) -> Path:
            return await self.transport.download(url, path, options.max_bytes, options.progress, check=check)

        with _about(result):
            if isinstance(media, Link):
                saved = await self._fetch(result, media, download)
            else:
                saved = await self._write(output, path, options, check)
        self._note(result, output, check, RESULT_SAVED)
        return saved

    async def read(self, result: Result, output: Output, options: FetchOptions) -> bytes:
        """Return the bytes of the output."""
        check = self._check(result, output, options)
        media = output.media

        async def download(url: str) -> bytes:
            return await self.transport.read(url, options.max_bytes, check=check)

        with _about(result):
            if isinstance(media, Link):
                data = await self._fetch(result, media, download)
            else:
                data = await _read_media(output, options.max_bytes, check)
        self._note(result, output, check, RESULT_READ)
        return data

    async def _write(self, output: Output, path: Path, options: FetchOptions, check: ResultCheck) -> Path:
        media = _media_of(output)
        _check_size(media, options.max_bytes)
        async with self.transfers, atomic_file(path, media.name) as part:
            target = FileTarget(part)
            await target.write(media.blocks())
            await _examine(target, check)
        return part.target

    async def _fetch(self, result: Result, link: Link, fetch: Callable[[str], Awaitable[T]]) -> T:
        async with self.scopes.download():
            try:
                return await fetch(link.url)
            except ResultExpired:
                renewed = await self._renew_link(result, link)
            log.info("job %s: its result link had expired and was renewed", result.key)
            return await fetch(renewed.url)

    async def _renew_link(self, result: Result, link: Link) -> Link:
        """Query the job for the current link of the same output."""
        index = next(index for index, output in enumerate(result.outputs) if output.media is link)
        snapshot = await self.flows.run(self.provider.query(result.record), FlowContext(loop_time() + _QUERY_SECONDS))
        if index < len(snapshot.outputs) and isinstance(renewed := snapshot.outputs[index].media, Link):
            return renewed
        raise ResultExpired("the result link has expired and the provider gives no new one")

    def _note(self, result: Result, output: Output, check: ResultCheck, event: EventType) -> None:
        """Keep in the output what it is, and log what a user must know."""
        output.inspection.info, output.inspection.suspect = check.info, check.suspect
        self.observer.job(event, result.record, bytes=None if check.info is None else check.info.size)
        if check.suspect:
            log.warning("job %s: the end of the result's file is missing; the provider has no other", result.key)
        if check.resized is not None:
            log.info("job %s: the result %s", result.key, check.resized)
        if check.info is not None and check.info.unchanged:
            log.warning("job %s: the result is unchanged: it equals the input", result.key)


@contextmanager
def _about(result: Result) -> Iterator[None]:
    """Let every error name the job, and have the token with which the result can be fetched again."""
    try:
        yield
    except WatermarkError as error:
        raise error.about(provider=result.provider, key=result.key, token=result.token) from None


def _media_of(output: Output) -> Media:
    if output.media is None:
        raise JobFailed("the output has no media")
    return output.media


async def _read_media(output: Output, max_bytes: int | None, check: ResultCheck) -> bytes:
    media, target = _media_of(output), MemoryTarget()
    _check_size(media, READ_LIMIT if max_bytes is None else max_bytes)
    await target.write(media.blocks())
    await _examine(target, check)
    return bytes(target.data)


def _check_size(media: Media, limit: int | None) -> None:
    if limit is not None and media.size is not None and media.size > limit:
        raise TransferFailed(f"the result has more than the {limit} bytes allowed: pass a larger max_bytes=")


async def _examine(target: DownloadTarget, check: ResultCheck) -> None:
    """Raise TransferFailed if the bytes are not the result.

    They came with the provider's answer and cannot be fetched again: a file whose end is missing is delivered at once.
    """
    problem = await target.examine(check, declared=True) and await target.examine(check, declared=True)
    if problem:
        raise TransferFailed(problem)
