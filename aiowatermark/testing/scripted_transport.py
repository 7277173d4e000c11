"""ScriptedTransport: replaces HTTP; the client gets the responses that a test lists, in order, without sockets.

That suits tests of what your code does with results and errors:

    async def test_an_order_without_credits_is_put_back():
        transport = ScriptedTransport(submissions=[json_response(402, message="no credits")])
        async with aw.Client(aw.PicWish("a key"), transport=transport) as client:
            with pytest.raises(aw.InsufficientCredits):
                await client.submit("https://example.com/photo.jpg")
        assert transport.submitted == 1
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Self, TypeAlias

from ..clock import now
from ..errors import ProviderUnavailable
from ..media.base import ProgressCallback
from ..media.inspection import ResultCheck
from ..wire import Request, Response

Answer: TypeAlias = Response | BaseException
"""Outcome of one request: a response, or an error to raise."""


def json_response(http_status: int = 200, http_headers: Mapping[str, str] | None = None, /, **payload: Any) -> Response:
    """Return a response whose body is a JSON object; header names are lower-case."""
    return Response(http_status, http_headers or {}, json.dumps(payload).encode())


def connection_lost(*, sent: bool) -> ProviderUnavailable:
    """Return what a transport raises when no response arrived; `sent`: whether any byte of the request was sent."""
    return ProviderUnavailable("the connection was lost", sent=sent)


class ScriptedTransport:
    """A transport that answers from two lists: `submissions` for paid requests, `queries` for all others.

    An item is a Response, an exception to raise, or a function that returns one of them. Items are used in order, the
    last one for every further request. Afterwards `requests` holds the requests, `times` when each was made (seconds
    on the SDK's clock), and `submitted` how many were paid. `hold`, if you set it to an asyncio.Event, delays answers
    to paid requests until it is set. `downloads` are the bytes that results have, used in the same way; without any, a
    download raises AssertionError.
    """

    def __init__(
        self,
        submissions: Iterable[Answer | Callable[[], Answer]] = (),
        queries: Iterable[Answer | Callable[[], Answer]] = (),
        downloads: Iterable[bytes] = (),
    ) -> None:
        self.submissions: list[Answer | Callable[[], Answer]] = list(submissions)
        self.queries: list[Answer | Callable[[], Answer]] = list(queries)
        self.downloads: list[bytes] = list(downloads)
        self.requests: list[Request] = []
        self.times: list[float] = []
        self.hold: asyncio.Event | None = None

    @property
    def submitted(self) -> int:
        """How many paid requests were made."""
        return sum(not request.repeatable for request in self.requests)

    async def __aenter__(self) -> Self:
        """Do nothing: there is no connection to open."""
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Do nothing."""

    async def perform(
        self,
        request: Request,
        *,
        timeout: float,  # noqa: ARG002, ASYNC109
        progress: ProgressCallback | None = None,  # noqa: ARG002
        on_sent: Callable[[], object] | None = None,
    ) -> Response:
        """Return or raise the next item of the script; `on_sent` is called unless that says nothing was sent."""
        self.requests.append(request)
        self.times.append(now())
        script = self.queries if request.repeatable else self.submissions
        if not script:
            raise AssertionError(f"the script has no answer for {request.method} {request.target}")
        item = script.pop(0) if len(script) > 1 else script[0]
        answer = item if isinstance(item, Response | BaseException) else item()
        if on_sent is not None and getattr(answer, "sent", True):
            on_sent()
        if self.hold is not None and not request.repeatable:
            await self.hold.wait()
        if isinstance(answer, BaseException):
            raise answer
        return answer

    async def download(
        self,
        url: str,
        target: Path,
        max_bytes: int | None,  # noqa: ARG002
        progress: ProgressCallback | None = None,  # noqa: ARG002
        check: ResultCheck | None = None,  # noqa: ARG002
    ) -> Path:
        """Write the next of `downloads` to the target."""
        await asyncio.to_thread(target.write_bytes, self._next_download(url))
        return target

    async def read(self, url: str, max_bytes: int | None, check: ResultCheck | None = None) -> bytes:  # noqa: ARG002
        """Return the next of `downloads`."""
        return self._next_download(url)

    def _next_download(self, url: str) -> bytes:
        if not self.downloads:
            raise AssertionError(f"the script has no bytes for {url}: pass downloads=[…], or use an emulator")
        return self.downloads.pop(0) if len(self.downloads) > 1 else self.downloads[0]
