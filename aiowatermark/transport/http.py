"""HttpTransport: performs requests, uploads and downloads with aiohttp.

Sessions with a connector each (network/sessions.py), so that no kind of request waits for the connections of another:

    API          the provider's origin, with its credentials; no redirects; may be a session of the user's
    anonymous    signed URLs, links and results: no credentials, no cookies, no decompression; connects to public
                 addresses only, and to loopback if the provider is there (url_guard.py); a GET follows five
                 redirects

How each kind of request is bounded (`timeout` is the caller's, `stall` this transport's; both in seconds):

    no body, or one without media    `timeout` for everything from connecting to the end of the response
    a body with media                `stall` until the first chunk is accepted and then between chunks; once the body is
                                     complete, `stall` + `timeout` in all and `timeout` between received bytes
    GET of a URL                     `stall` for the response's headers, and for each block

What an error says about the submission. Each one costs money, so "not sent" is claimed only where it is provable:

    refused, DNS, TLS, connect timeout, proxy, bad URL          ProviderUnavailable, sent=False
    anything before the headers of a paid request are written   ProviderUnavailable, sent=False
    a body with media failed before its first chunk             ProviderUnavailable, sent=False
    the media failed before the body was complete               the media's error: no server accepts an incomplete body
    a stream that can be read once failed while it was sent     TransferFailed: it cannot be sent again
    anything else                                               ProviderUnavailable, sent=True

Headers are written together with the first bytes of the body. That moment is known for a paid request without media
(TrackedBody), and for every body with media (BodyStream); `on_sent` is called then.

Invariants: `perform` sends a POST at most once; aiohttp itself repeats a GET, PUT or DELETE once if a kept-alive
connection turns out to be closed. Error texts never contain the text of an aiohttp error, which may hold a whole
signed URL.

All methods may run concurrently on the loop that opened the transport. If a call is cancelled, aiohttp closes its
connection and the media being read is closed here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote, urljoin, urlsplit

import aiohttp
from aiohttp.client_exceptions import ClientHttpProxyError, InvalidURL, ServerFingerprintMismatch
from attrs import define, field
from yarl import URL

from ..clock import Watchdog
from ..connection_errors import connection_problem
from ..errors import InvalidInput, ProviderUnavailable, TransferFailed, WatermarkError
from ..lifetimes import run_all
from ..media.base import Media, ProgressCallback, safe_name
from ..media.inspection import ResultCheck
from ..media.memory import Link
from ..media.stream import Stream
from ..observation.observer import Observer
from ..observation.requests import RequestTrace
from ..provider import Provider
from ..redaction import is_loopback, redact_url
from ..wire import Request, Response
from .atomic_file import atomic_file
from .body import EncodedBody, TrackedBody, encode_body, is_written, size_of, with_known_sizes
from .budget import TransferBudget
from .download import READ_LIMIT, Download, FileTarget, MemoryTarget
from .network.proxies import Network
from .network.request_timeouts import RequestTimeouts
from .network.sessions import HttpSession, api_session, download_session, upload_session, users_session
from .network.stall import read_blocks
from .representation import ResponseHead, decode_blocks
from .response import NO_TOTAL_TIMEOUT, idle_timeout, read_response
from .spool import spool
from .upload import BodyStream
from .url_guard import ForbiddenAddress, PermanentTransferError, request_url

# an encoded file could not be resumed, and its length would not be that of the result
_IDENTITY_ENCODING = {"Accept-Encoding": "identity"}
_MAX_REDIRECTS = 5
_REDIRECT_STATUSES = frozenset({301, 302, 303, 307, 308})
_CONNECTION_ERRORS = (aiohttp.ClientError, TimeoutError, OSError)
# those that occur before the first byte of a request is written
_NOT_SENT_ERRORS = (
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    ClientHttpProxyError,
    InvalidURL,
    ServerFingerprintMismatch,
)


@define(eq=False)
class HttpTransport:
    """The transport that clients use. `user_session`, if given, serves the API and is never closed here.

    `transfers` is how many downloads run at once, those that are too slow not counted; `stall` is how many seconds a
    transfer may make no progress.
    """

    provider: Provider
    transfers: int = 8
    stall: float = 30.0
    user_session: aiohttp.ClientSession | None = None
    network: Network = field(factory=Network)
    _observer: Observer = field(factory=Observer, init=False, repr=False)
    _queries: HttpSession = field(default=None, init=False, repr=False)
    _submissions: HttpSession = field(default=None, init=False, repr=False)
    _uploads: HttpSession = field(default=None, init=False, repr=False)
    _downloads: HttpSession = field(default=None, init=False, repr=False)
    _base_url: str = field(init=False, repr=False)
    _extra_headers: dict[str, str] | None = field(default=None, init=False, repr=False)
    is_local: bool = field(init=False)
    slots: asyncio.Semaphore = field(init=False, repr=False)
    _budget: TransferBudget = field(factory=TransferBudget, init=False, repr=False)
    _timeouts: RequestTimeouts = field(init=False, repr=False)

    async def __aenter__(self) -> Self:
        """Open the sessions on the running event loop."""
        self.slots, self._timeouts = asyncio.Semaphore(self.transfers), RequestTimeouts()
        self._base_url = self.provider.base_url
        self.is_local = is_loopback(urlsplit(self._base_url).hostname)
        headers, network = {"User-Agent": "aiowatermark", **self.provider.headers}, self.network
        if self.user_session is None:
            self._queries = api_session(headers, network, paid=False)
            self._submissions = api_session(headers, network, paid=True)
        else:
            self._queries = self._submissions = users_session(self.user_session, network)
            self._extra_headers = headers  # sent with every request: the user's session must not keep them
            if self.user_session.trust_env and not network.trust_env:
                network = Network(trust_env=True, proxy=network.proxy, ssl=network.ssl)
        self._uploads = upload_session(network, local=self.is_local)
        self._downloads = download_session(self.transfers, network, local=self.is_local)
        return self

    def use_provider(self, provider: Provider) -> None:
        """Send the credentials of another provider, of the same origin, with every request from now on."""
        self.provider = provider
        if self._extra_headers is not None:
            self._extra_headers.update(provider.headers)
        elif self._queries is not None:
            self._queries.direct.headers.update(provider.headers)
            self._submissions.direct.headers.update(provider.headers)

    def use_observer(self, observer: Observer) -> None:
        """Report every request to this observer."""
        self._observer = observer

    async def __aexit__(self, *exc: object) -> None:
        """Close what was opened here."""
        self._timeouts.close()
        own = [self._queries, self._submissions] if self.user_session is None else []
        await run_all(*(session.close for session in (self._downloads, self._uploads, *own)))

    def perform(
        self,
        request: Request,
        *,
        timeout: float,
        progress: ProgressCallback | None = None,
        on_sent: Callable[[], object] | None = None,
    ) -> Awaitable[Response]:
        """Send one request once and return its response; `timeout` is how many seconds the response may take.

        `on_sent` is called before the first byte of the request is written.

        Raises ProviderUnavailable (`sent` is False if provably nothing was sent), TransferFailed or InvalidInput if the
        media cannot be read, UnexpectedAnswer for a response that is too large.
        """
        # returns the coroutine of the method that fits: one coroutine less for each request in flight
        if request.body is None:
            if on_sent is not None:
                on_sent()  # without a body, the moment the headers are written is not known: early is safe
            return self._send_small(request, None, None, timeout)
        body = encode_body(request.body)
        if (data := body.as_bytes) is not None:
            tracked = None if on_sent is None else TrackedBody(data, on_sent)
            return self._send_small(request, tracked or data, body.headers, timeout)
        return self._send_streamed(request, body, timeout, progress, on_sent)

    async def _send_small(
        self,
        request: Request,
        data: bytes | TrackedBody | None,
        headers: Mapping[str, str] | None,
        answer_timeout: float,
    ) -> Response:
        limit = self._timeouts.start(answer_timeout)
        try:
            with RequestTrace(self._observer, request, self._base_url) as trace:
                async with limit:
                    trace.answer = await self._request(request, data, headers, NO_TOTAL_TIMEOUT)
                    if data is not None:
                        trace.bytes_up = size_of(data)
                    return await read_response(trace.answer, request)
        except _CONNECTION_ERRORS as error:
            raise self._unavailable(error, written=is_written(data)) from None
        finally:
            self._timeouts.end(limit)

    async def _send_streamed(
        self,
        request: Request,
        body: EncodedBody,
        answer_timeout: float,
        progress: ProgressCallback | None,
        on_sent: Callable[[], object] | None,
    ) -> Response:
        try:
            async with AsyncExitStack() as stack:
                body = await with_known_sizes(body, lambda media: self._with_known_size(media, stack))
                stream = BodyStream(body, progress, on_sent, budget=self._budget, progress_interval=self.stall / 20)
                return await self._send_with_watchdog(request, stream, answer_timeout)
        except TransferFailed as error:
            if request.repeatable and isinstance(request.body, Link) and not isinstance(error, PermanentTransferError):
                raise ProviderUnavailable(error.message) from None  # the next attempt opens the link again
            raise

    async def _send_with_watchdog(self, request: Request, stream: BodyStream, answer_timeout: float) -> Response:
        """Send a body with media; a watchdog that each accepted chunk resets takes the place of a total timeout."""
        headers = {**stream.body.headers, "Content-Length": str(stream.length)}
        try:
            with RequestTrace(self._observer, request, self._base_url, stream) as trace:
                async with Watchdog(self.stall) as watchdog:
                    stream.on_progress = lambda: watchdog.extend(
                        self.stall + (answer_timeout if stream.complete else 0.0)
                    )
                    sending = self._request(request, stream.chunks, headers, idle_timeout(answer_timeout))
                    trace.answer = await sending
                    return await read_response(trace.answer, request)
        except _CONNECTION_ERRORS as error:
            raise self._upload_error(error, request, stream) from None
        finally:
            await stream.close()

    def _upload_error(self, error: BaseException, request: Request, stream: BodyStream) -> WatermarkError:
        """Return the error for a failed upload: see the table at the head of this module."""
        if stream.error is not None and not stream.complete:
            return stream.error
        failure = self._unavailable(error, written=stream.sent > 0)
        if isinstance(error, TimeoutError) and not stream.complete:
            problem = f"the upload stopped at byte {stream.sent} of {stream.length}"
            failure = ProviderUnavailable(f"{problem}: nothing was accepted for {self.stall:g} s", sent=stream.sent > 0)
        media = request.body
        if request.repeatable and isinstance(media, Media) and media.consumed and not media.reopenable:
            return TransferFailed(
                f"{media.name} was interrupted while it was sent ({failure.message}): it can be read only once and is "
                "not sent again: give a path, bytes or a file that can seek"
            )
        return failure

    def _request(
        self, request: Request, data: Any, headers: Mapping[str, str] | None, timeout: aiohttp.ClientTimeout
    ) -> Awaitable[aiohttp.ClientResponse]:
        if request.signed:
            session, url = self._uploads, request_url(request.target, local=self.is_local)
        else:
            # encoded: byte for byte, because yarl would decode escapes
            session = self._queries if request.repeatable else self._submissions
            url = URL(self._base_url + request.target, encoded=True)
            if self._extra_headers is not None:
                headers = {**self._extra_headers, **headers} if headers else self._extra_headers
        return session.request(
            request.method,
            url,
            data=data,
            headers=headers,
            timeout=timeout,
            allow_redirects=False,
            raise_for_status=False,
        )

    async def _with_known_size(self, media: Media, stack: AsyncExitStack) -> Media:
        """Return media with a known size: a link is opened, a stream of unknown size spooled, until `stack` closes."""
        if isinstance(media, Link):
            media = await stack.enter_async_context(self._open_stream(media))
        await media.measure()
        return media if media.size is not None else await stack.enter_async_context(spool(media))

    @asynccontextmanager
    async def _open_stream(self, link: Link) -> AsyncIterator[Stream]:
        """Open a link as a stream; raises InvalidInput for a status other than 200, TransferFailed if it fails."""
        async with self.open_url(link.url, {}) as response:
            if response.status != 200:
                raise InvalidInput(f"{redact_url(link.url)} cannot be fetched: HTTP {response.status}")
            blocks, size = self.read_blocks(response), response.content_length
            if encoding := ResponseHead(response.status, response.headers, size).encoding:
                blocks, size = decode_blocks(blocks, encoding), None
            yield Stream(blocks, size=size, name=link.name)

    @asynccontextmanager
    async def open_url(self, url: str, headers: Mapping[str, str]) -> AsyncIterator[aiohttp.ClientResponse]:
        """GET a URL without credentials, byte for byte, and yield the response.

        Raises PermanentTransferError for a forbidden host, TransferFailed if it cannot be reached, or if the connection
        fails while the response is used.
        """
        try:
            with RequestTrace(self._observer, Request("GET", url, signed=True), self._base_url) as trace:
                async with asyncio.timeout(self.stall):
                    trace.answer = response = await self._follow_redirects(url, {**_IDENTITY_ENCODING, **headers})
                async with response:
                    yield response
        except (aiohttp.ClientError, TimeoutError) as error:
            if _is_forbidden(error):
                raise PermanentTransferError(
                    f"{redact_url(url)} leads to an address that is not public and is not requested"
                ) from None
            raise TransferFailed(f"{redact_url(url)} cannot be fetched: {connection_problem(error)}") from None

    async def _follow_redirects(self, url: str, headers: Mapping[str, str]) -> aiohttp.ClientResponse:
        """GET a URL and what it redirects to, each of which is checked before it is requested."""
        current = url
        for _ in range(_MAX_REDIRECTS + 1):
            response = await self._downloads.request(
                "GET",
                request_url(current, local=self.is_local),
                headers=headers,
                timeout=NO_TOTAL_TIMEOUT,
                allow_redirects=False,
            )
            location = response.headers.get("Location")
            if response.status not in _REDIRECT_STATUSES or not location:
                return response
            response.close()
            current = _join_location(current, location)
        raise PermanentTransferError(f"{redact_url(url)} is redirected more than {_MAX_REDIRECTS} times")

    def read_blocks(self, response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
        """Yield the body in the blocks in which it arrives; raises TimeoutError after `stall` seconds without any."""
        return read_blocks(response, self.stall)

    async def download(
        self,
        url: str,
        target: Path,
        max_bytes: int | None,
        progress: ProgressCallback | None = None,
        check: ResultCheck | None = None,
    ) -> Path:
        """Save what a URL serves as a file that appears only when it is complete; see `Transport.download`."""
        async with atomic_file(target, _name_in(url)) as part:
            await Download(self, url, max_bytes, progress=progress, check=check).run(FileTarget(part, self._budget))
        return part.target

    async def read(self, url: str, max_bytes: int | None, check: ResultCheck | None = None) -> bytes:
        """Return what a URL serves; see `Transport.read`."""
        target = MemoryTarget()
        limit = READ_LIMIT if max_bytes is None else max_bytes
        await Download(self, url, limit, check=check).run(target)
        return bytes(target.data)

    def _unavailable(self, error: BaseException, *, written: bool) -> ProviderUnavailable:
        """Return the error for a request without a response; `written`: whether any of it may have been written."""
        sent = written and not isinstance(error, _NOT_SENT_ERRORS)
        problem = "no answer was received" if sent else "could not be reached"
        return ProviderUnavailable(f"{self.provider.display_name}: {problem}: {connection_problem(error)}", sent=sent)


def _name_in(url: str) -> str:
    """Return the name of the file that a URL leads to."""
    try:
        return safe_name(unquote(urlsplit(url).path))
    except ValueError:
        return ""


def _join_location(url: str, location: str) -> str:
    """Return where a redirect leads; an absolute URL stays byte for byte as it is."""
    try:
        return location if urlsplit(location).scheme else urljoin(url, location)
    except ValueError:
        raise PermanentTransferError(f"{redact_url(url)} is redirected to an invalid URL") from None


def _is_forbidden(error: BaseException) -> bool:
    return isinstance(error, ForbiddenAddress) or isinstance(getattr(error, "os_error", None), ForbiddenAddress)
