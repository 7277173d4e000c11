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
from ..media.base import Media, ProgressCallback
from ..media.memory import Link
from ..media.stream import Stream
from ..provider import Provider
from ..redaction import is_loopback, redact_url
from ..wire import Request, Response
from . import response as answers
from .atomic_file import atomic_file
from .body import EncodedBody, encode_body, with_known_sizes
from .download import Download, FileTarget, MemoryTarget
from .request_timeouts import TimeoutGroup
from .spool import spool
from .upload import BodyStream
from .url_guard import ForbiddenAddress, PermanentTransferError, check_url, public_only_socket

_READ_BLOCK = {"Accept-Encoding": "identity"}
# below the idle time after which common servers hang up: a paid POST is never written to a dead connection
_KEEPALIVE = 4.0
# provably before the first byte of a request
_NOT_SENT_ERRORS = (
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    ClientHttpProxyError,
    InvalidURL,
    ServerFingerprintMismatch,
)
_CONNECTION_ERRORS = (aiohttp.ClientError, TimeoutError, OSError)
_BUFFER = 1 << 18
"""Bytes of a download that wait to be taken; aiohttp holds twice as many before it stops reading."""


@define(eq=False)
class HttpTransport:
    """The real transport. A session that is passed in serves the API and is never closed."""

    provider: Provider
    transfers: int = 8
    stall: float = 30.0
    user_session: aiohttp.ClientSession | None = None
    _api: aiohttp.ClientSession = field(init=False, repr=False)
    _anonymous: aiohttp.ClientSession = field(init=False, repr=False)
    _base: str = field(init=False, repr=False)
    _extra_headers: Mapping[str, str] | None = field(init=False, repr=False)
    _timeouts: TimeoutGroup = field(init=False, repr=False)
    is_local: bool = field(init=False)

    async def __aenter__(self) -> Self:
        """Open both sessions, on the running loop."""
        self._base = self.provider.base_url
        self._timeouts = TimeoutGroup()
        self.is_local = is_loopback(urlsplit(self._base).hostname)
        headers = {"User-Agent": "aiowatermark", **self.provider.headers}
        self._extra_headers = headers if self.user_session is not None else None
        self._api = self.user_session or aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=100, keepalive_timeout=_KEEPALIVE),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=headers,
        )
        self._anonymous = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=self.transfers * 2, socket_factory=None if self.is_local else public_only_socket
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            read_bufsize=_BUFFER,
            headers={"User-Agent": "aiowatermark"},
        )
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Close what was opened here."""
        self._timeouts.close()
        await self._anonymous.close()
        if self.user_session is None:
            await self._api.close()

    def perform(
        self, request: Request, *, timeout: float, progress: ProgressCallback | None = None
    ) -> Awaitable[Response]:
        """Do one request, once; `timeout` is how long the answer may take in seconds.

        Raises ProviderUnavailable, with `sent` False where no byte left, TransferFailed where the media broke.
        """
        if request.body is None:
            return self._send_small(request, None, None, timeout)
        body = encode_body(request.body)
        if (text := body.is_small) is not None:
            return self._send_small(request, text, body.headers, timeout)
        return self._send_streamed(request, body, timeout, progress)

    async def _send_small(
        self, request: Request, text: bytes | None, headers: Mapping[str, str] | None, wait: float
    ) -> Response:
        task = self._timeouts.begin(wait)  # as `within` does, with no coroutine more a request
        try:
            return await answers.read_response(await self._request(request, text, headers, answers.NO_TOTAL_TIMEOUT))
        except _CONNECTION_ERRORS as error:
            raise self._unavailable(error, sent=not isinstance(error, _NOT_SENT_ERRORS)) from None
        except asyncio.CancelledError:
            if self._timeouts.end(task):
                raise self._unavailable(TimeoutError(), sent=True) from None
            raise
        finally:
            self._timeouts.end(task)

    async def _send_streamed(
        self, request: Request, body: EncodedBody, wait: float, progress: ProgressCallback | None
    ) -> Response:
        try:
            async with AsyncExitStack() as stack:
                body = await with_known_sizes(body, lambda media: self._with_known_size(media, stack))
                return await self._send_with_watchdog(request, body, wait, progress)
        except TransferFailed as error:
            if request.repeatable and isinstance(request.body, Link) and not isinstance(error, PermanentTransferError):
                raise ProviderUnavailable(error.message) from None  # a link is opened anew for another try
            raise

    async def _send_with_watchdog(
        self, request: Request, body: EncodedBody, wait: float, progress: ProgressCallback | None
    ) -> Response:
        """A body that moves may take its time; a watchdog looks that it does."""
        headers = {**body.headers, "Content-Length": str(body.length)}
        sending = BodyStream(body, progress, self.stall / 20)
        try:
            async with asyncio.timeout(self.stall) as watch:
                sending.on_progress = lambda: watch.reschedule(self._upload_timeout(sending, wait))
                asked = self._request(request, sending.blocks, headers, answers.idle_timeout(wait))
                return await answers.read_response(await asked)
        except _CONNECTION_ERRORS as error:
            raise self._upload_error(error, request, sending) from None
        finally:
            await sending.close()

    def _upload_timeout(self, sending: BodyStream, wait: float) -> float:
        """A body that moves may stand still for `stall`; once it is whole, the answer has its own time."""
        return asyncio.get_running_loop().time() + self.stall + (wait if sending.complete else 0.0)

    def _upload_error(self, error: BaseException, request: Request, sending: BodyStream) -> WatermarkError:
        """What a broken upload means: the media's own fault, or the line's."""
        if sending.error is not None and not sending.complete:
            return sending.error
        failure = self._unavailable(error, sent=sending.sent > 0 and not isinstance(error, _NOT_SENT_ERRORS))
        if isinstance(error, TimeoutError) and not sending.complete:
            still = f"nothing of it was taken for {self.stall:g} s"
            failure = ProviderUnavailable(f"the upload stands at byte {sending.sent} of {sending.length}: {still}")
        media = request.body
        if request.repeatable and isinstance(media, Media) and media.consumed and not media.reopenable:
            once = "it can be read only once and is not sent again: give a path, bytes or a file that can seek"
            return TransferFailed(f"{media.name} broke off on its way ({failure.message}): {once}")
        return failure

    def _request(
        self, request: Request, data: Any, headers: Mapping[str, str] | None, limits: aiohttp.ClientTimeout
    ) -> Awaitable[aiohttp.ClientResponse]:
        session, url = self._api, request.target
        if request.signed:
            session = self._anonymous
            check_url(url, local=self.is_local)
        else:
            url = self._base + url
            if self._extra_headers is not None:
                headers = {**self._extra_headers, **headers} if headers else self._extra_headers
        return session.request(
            request.method,
            URL(url, encoded=True),
            data=data,
            headers=headers,
            timeout=limits,
            allow_redirects=False,
            raise_for_status=False,
        )

    async def _with_known_size(self, media: Media, stack: AsyncExitStack) -> Media:
        if isinstance(media, Link):
            media = await stack.enter_async_context(self._open_url(media))
        await media.measure()
        return media if media.size is not None else await stack.enter_async_context(spool(media))

    @asynccontextmanager
    async def _open_url(self, link: Link) -> AsyncIterator[Stream]:
        """A link's bytes as a stream; raises TransferFailed for a link that gives none."""
        async with self.open_link(link.url, {}) as answer:
            if answer.status != 200:
                raise InvalidInput(f"{redact_url(link.url)} cannot be fetched: HTTP {answer.status}")
            yield Stream(self.read_blocks(answer), size=answer.content_length, name=link.name)

    @asynccontextmanager
    async def open_link(self, url: str, headers: Mapping[str, str]) -> AsyncIterator[aiohttp.ClientResponse]:
        """GET a link on the bare session, byte for byte; raises TransferFailed for a forbidden or unreachable host."""
        check_url(url, local=self.is_local)
        headers = {**_READ_BLOCK, **headers}
        opening = self._anonymous.get(
            URL(url, encoded=True), headers=headers, timeout=answers.NO_TOTAL_TIMEOUT, max_redirects=5
        )
        try:
            async with await self._timeouts.within(self.stall, opening) as answer:
                check_url(str(answer.url), local=self.is_local)
                yield answer
        except (aiohttp.ClientError, TimeoutError) as error:
            if _is_forbidden(error):
                raise PermanentTransferError(
                    f"{redact_url(url)} leads to an address that is not public: it is not fetched"
                ) from None
            raise TransferFailed(f"{redact_url(url)} cannot be fetched: {_describe(error)}") from None

    async def read_blocks(self, answer: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
        """What comes, as it comes: joining would be a copy. Raises TimeoutError where nothing does."""
        more = True
        while more:
            block, ended = await self._timeouts.within(self.stall, answer.content.readchunk())
            more = bool(block) or ended
            if block:
                yield block

    async def download(
        self, url: str, target: Path, max_bytes: int | None, progress: ProgressCallback | None = None
    ) -> None:
        """A link's bytes into a file that appears when it is whole."""
        async with atomic_file(target) as part:
            await Download(self, url, max_bytes, progress=progress).run(FileTarget(part))

    async def read(self, url: str, max_bytes: int | None) -> bytes:
        """A link's bytes, in memory."""
        sink = MemoryTarget()
        await Download(self, url, max_bytes).run(sink)
        return bytes(sink.data)

    def _unavailable(self, error: BaseException, *, sent: bool) -> ProviderUnavailable:
        what = "no answer came" if sent else "it could not be reached"
        failure = ProviderUnavailable(f"{self.provider.display_name}: {what}: {_describe(error)}")
        failure.sent = sent
        return failure


def _is_forbidden(error: BaseException) -> bool:
    return isinstance(error, ForbiddenAddress) or isinstance(getattr(error, "os_error", None), ForbiddenAddress)


def _describe(error: BaseException) -> str:
    """An aiohttp error's name and cause; never its text, which may hold the whole link."""
    cause = getattr(error, "os_error", None) or (error if isinstance(error, OSError) else None)
    reason = getattr(cause, "strerror", None)
    return f"{type(error).__name__}{f' ({reason})' if reason else ''}"
