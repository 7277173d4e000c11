"""Performs requests with aiohttp: one session for the API with its key, one bare session for everything else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import aiohttp
from aiohttp.client_exceptions import ClientHttpProxyError, InvalidURL, ServerFingerprintMismatch
from attrs import define, field
from yarl import URL

from ..errors import InvalidInput, ProviderUnavailable, TransferFailed, WatermarkError
from ..media.base import Media, redacted
from ..media.memory import Link
from ..media.stream import Stream
from ..provider import Provider, loopback
from ..wire import Request, Response
from . import response as answers
from .atomic_file import whole
from .body import Plan, Progress, measured, plan
from .download import Download, FileSink, MemorySink
from .request_timeouts import Patience
from .spool import spooled
from .upload import Sending
from .url_guard import ForbiddenAddress, Refused, check_link, public_socket

_READ_LINK = {"Accept-Encoding": "identity"}
# below the idle time after which common servers hang up: a paid POST is never written to a dead connection
_KEEPALIVE = 4.0
# provably before the first byte of a request
_NEVER_LEFT = (
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    ClientHttpProxyError,
    InvalidURL,
    ServerFingerprintMismatch,
)
_BROKEN = (aiohttp.ClientError, TimeoutError, OSError)
_BUFFER = 1 << 18
"""Bytes of a download that wait to be taken; aiohttp holds twice as many before it stops reading."""


@define(eq=False)
class HttpTransport:
    """The real transport. A session that is passed in serves the API and is never closed."""

    provider: Provider
    transfers: int = 8
    stall: float = 30.0
    given: aiohttp.ClientSession | None = None
    _api: aiohttp.ClientSession = field(init=False, repr=False)
    _bare: aiohttp.ClientSession = field(init=False, repr=False)
    _base: str = field(init=False, repr=False)
    _foreign: Mapping[str, str] | None = field(init=False, repr=False)
    _waits: Patience = field(init=False, repr=False)
    local: bool = field(init=False)

    async def __aenter__(self) -> Self:
        """Open both sessions, on the running loop."""
        self._base = self.provider.base_url
        self._waits = Patience()
        self.local = loopback(urlsplit(self._base).hostname)
        headers = {"User-Agent": "aiowatermark", **self.provider.headers}
        self._foreign = headers if self.given is not None else None
        self._api = self.given or aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=100, keepalive_timeout=_KEEPALIVE),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=headers,
        )
        self._bare = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=self.transfers * 2, socket_factory=None if self.local else public_socket
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            read_bufsize=_BUFFER,
            headers={"User-Agent": "aiowatermark"},
        )
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Close what was opened here."""
        self._waits.close()
        await self._bare.close()
        if self.given is None:
            await self._api.close()

    def perform(self, request: Request, *, timeout: float, progress: Progress | None = None) -> Awaitable[Response]:
        """Do one request, once; `timeout` is how long the answer may take in seconds.

        Raises ProviderUnavailable, with `sent` False where no byte left, TransferFailed where the media broke.
        """
        if request.body is None:
            return self._small(request, None, None, timeout)
        body = plan(request.body)
        if (text := body.small) is not None:
            return self._small(request, text, body.headers, timeout)
        return self._streamed(request, body, timeout, progress)

    async def _small(
        self, request: Request, text: bytes | None, headers: Mapping[str, str] | None, wait: float
    ) -> Response:
        task = self._waits.begin(wait)  # as `within` does, with no coroutine more a request
        try:
            return await answers.whole(await self._asked(request, text, headers, answers.UNBOUNDED))
        except _BROKEN as error:
            raise self._unavailable(error, sent=not isinstance(error, _NEVER_LEFT)) from None
        except asyncio.CancelledError:
            if self._waits.end(task):
                raise self._unavailable(TimeoutError(), sent=True) from None
            raise
        finally:
            self._waits.end(task)

    async def _streamed(self, request: Request, body: Plan, wait: float, progress: Progress | None) -> Response:
        try:
            async with AsyncExitStack() as stack:
                body = await measured(body, lambda media: self._sized(media, stack))
                return await self._watched(request, body, wait, progress)
        except TransferFailed as error:
            if request.repeatable and isinstance(request.body, Link) and not isinstance(error, Refused):
                raise ProviderUnavailable(error.message) from None  # a link is opened anew for another try
            raise

    async def _watched(self, request: Request, body: Plan, wait: float, progress: Progress | None) -> Response:
        """A body that moves may take its time; a watchdog looks that it does."""
        headers = {**body.headers, "Content-Length": str(body.length)}
        sending = Sending(body, progress, self.stall / 20)
        try:
            async with asyncio.timeout(self.stall) as watch:
                sending.moved = lambda: watch.reschedule(self._patience(sending, wait))
                asked = self._asked(request, sending.blocks, headers, answers.never_silent(wait))
                return await answers.whole(await asked)
        except _BROKEN as error:
            raise self._unsent(error, request, sending) from None
        finally:
            await sending.close()

    def _patience(self, sending: Sending, wait: float) -> float:
        """A body that moves may stand still for `stall`; once it is whole, the answer has its own time."""
        return asyncio.get_running_loop().time() + self.stall + (wait if sending.whole else 0.0)

    def _unsent(self, error: BaseException, request: Request, sending: Sending) -> WatermarkError:
        """What a broken upload means: the media's own fault, or the line's."""
        if sending.error is not None and not sending.whole:
            return sending.error
        failure = self._unavailable(error, sent=sending.sent > 0 and not isinstance(error, _NEVER_LEFT))
        if isinstance(error, TimeoutError) and not sending.whole:
            still = f"nothing of it was taken for {self.stall:g} s"
            failure = ProviderUnavailable(f"the upload stands at byte {sending.sent} of {sending.length}: {still}")
        media = request.body
        if request.repeatable and isinstance(media, Media) and media.spent and not media.reopenable:
            once = "it can be read only once and is not sent again: give a path, bytes or a file that can seek"
            return TransferFailed(f"{media.name} broke off on its way ({failure.message}): {once}")
        return failure

    def _asked(
        self, request: Request, data: Any, headers: Mapping[str, str] | None, limits: aiohttp.ClientTimeout
    ) -> Awaitable[aiohttp.ClientResponse]:
        session, url = self._api, request.target
        if request.signed:
            session = self._bare
            check_link(url, local=self.local)
        else:
            url = self._base + url
            if self._foreign is not None:
                headers = {**self._foreign, **headers} if headers else self._foreign
        return session.request(
            request.method,
            URL(url, encoded=True),
            data=data,
            headers=headers,
            timeout=limits,
            allow_redirects=False,
            raise_for_status=False,
        )

    async def _sized(self, media: Media, stack: AsyncExitStack) -> Media:
        if isinstance(media, Link):
            media = await stack.enter_async_context(self.opened(media))
        await media.measure()
        return media if media.size is not None else await stack.enter_async_context(spooled(media))

    @asynccontextmanager
    async def opened(self, link: Link) -> AsyncIterator[Stream]:
        """A link's bytes as a stream; raises TransferFailed for a link that gives none."""
        async with self.fetch(link.url, {}) as answer:
            if answer.status != 200:
                msg = f"{redacted(link.url)} cannot be fetched: HTTP {answer.status}"
                raise InvalidInput(msg)
            yield Stream(self.blocks(answer), size=answer.content_length, name=link.name)

    @asynccontextmanager
    async def fetch(self, url: str, headers: Mapping[str, str]) -> AsyncIterator[aiohttp.ClientResponse]:
        """GET a link on the bare session, byte for byte; raises TransferFailed for a forbidden or unreachable host."""
        check_link(url, local=self.local)
        headers = {**_READ_LINK, **headers}
        opening = self._bare.get(URL(url, encoded=True), headers=headers, timeout=answers.UNBOUNDED, max_redirects=5)
        try:
            async with await self._waits.within(self.stall, opening) as answer:
                check_link(str(answer.url), local=self.local)
                yield answer
        except (aiohttp.ClientError, TimeoutError) as error:
            if _forbidden(error):
                raise Refused(f"{redacted(url)} leads to an address that is not public: it is not fetched") from None
            raise TransferFailed(f"{redacted(url)} cannot be fetched: {_named(error)}") from None

    async def blocks(self, answer: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
        """What comes, as it comes: joining would be a copy. Raises TimeoutError where nothing does."""
        more = True
        while more:
            block, ended = await self._waits.within(self.stall, answer.content.readchunk())
            more = bool(block) or ended
            if block:
                yield block

    async def download(self, url: str, target: Path, max_bytes: int | None, progress: Progress | None = None) -> None:
        """A link's bytes into a file that appears when it is whole."""
        async with whole(target) as part:
            await Download(self, url, max_bytes, progress=progress).into(FileSink(part))

    async def read(self, url: str, max_bytes: int | None) -> bytes:
        """A link's bytes, in memory."""
        sink = MemorySink()
        await Download(self, url, max_bytes).into(sink)
        return bytes(sink.data)

    def _unavailable(self, error: BaseException, *, sent: bool) -> ProviderUnavailable:
        what = "no answer came" if sent else "it could not be reached"
        failure = ProviderUnavailable(f"{self.provider.title}: {what}: {_named(error)}")
        failure.sent = sent
        return failure


def _forbidden(error: BaseException) -> bool:
    return isinstance(error, ForbiddenAddress) or isinstance(getattr(error, "os_error", None), ForbiddenAddress)


def _named(error: BaseException) -> str:
    """An aiohttp error's name and cause; never its text, which may hold the whole link."""
    cause = getattr(error, "os_error", None) or (error if isinstance(error, OSError) else None)
    reason = getattr(cause, "strerror", None)
    return f"{type(error).__name__}{f' ({reason})' if reason else ''}"
