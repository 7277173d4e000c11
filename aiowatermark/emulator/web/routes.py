"""Endpoints: an aiohttp handler per route, which checks method and credentials and answers in the shape of its API."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Protocol

from aiohttp import web
from attrs import define, frozen

from ..backend.threads import ThreadPool
from .responses import ApiError, ApiResponse, ErrorReason

_BLOCK_BYTES = 1 << 20


@frozen
class Route:
    """A path, the methods it allows, its step (None: no fault applies to it), and the function that answers."""

    methods: tuple[str, ...]
    path: str
    step: str | None
    handler: Callable[[web.Request], Awaitable[ApiResponse]]


class HttpSurface(Protocol):
    """One API, or the storage host, as its endpoints see it."""

    @abstractmethod
    def routes(self) -> tuple[Route, ...]:
        """Return the routes."""

    @abstractmethod
    def provider_of(self, request: web.Request) -> str | None:
        """Return the name of the provider that this request belongs to; None if it belongs to none."""

    @abstractmethod
    def authenticate(self, request: web.Request) -> None:
        """Check the credentials. Raises ApiError when they are wrong."""

    @abstractmethod
    def error_response(self, request: web.Request, error: ApiError) -> ApiResponse:
        """Return the error in the shape of this API."""

    @abstractmethod
    def server_error(self, status: int) -> ApiResponse:
        """Return an error with this HTTP status, in the shape of this API."""


@define
class Endpoint:
    """One route of one surface."""

    surface: HttpSurface
    route: Route
    file_pool: ThreadPool

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        """Process the request and send the response."""
        return await self.send(request, await self.process(request))

    async def process(self, request: web.Request) -> ApiResponse:
        """Return the response, also when the request is refused; nothing is sent yet."""
        try:
            self._check_method(request.method)
            self.surface.authenticate(request)
            return await self.route.handler(request)
        except ApiError as error:
            return self.surface.error_response(request, error)
        # raised by aiohttp while the handler reads the body
        except web.HTTPRequestEntityTooLarge:
            return self.surface.error_response(request, ApiError(ErrorReason.TOO_LARGE, "The request is too large."))

    def _check_method(self, method: str) -> None:
        if method not in self.route.methods:
            raise ApiError(ErrorReason.METHOD, f"{method} is not allowed here.")

    async def send(self, request: web.Request, api_response: ApiResponse) -> web.StreamResponse:
        """Send the response; parts of files are read in a thread, block by block."""
        if isinstance(api_response.body, bytes):
            headers = {"Content-Type": api_response.content_type, **api_response.headers}
            return web.Response(body=api_response.body, status=api_response.status, headers=headers)
        # with a Content-Length, and not chunked: clients compare it with what arrives
        response = await prepare_response(request, api_response)
        if request.method != "HEAD":
            async for block in self.iter_body(api_response):
                await response.write(block)
        return response

    async def iter_body(self, api_response: ApiResponse, size: int = _BLOCK_BYTES) -> AsyncIterator[bytes]:
        """Iterate over the body in blocks of at most `size` bytes."""
        body = api_response.body
        start, stop = (0, len(body)) if isinstance(body, bytes) else (body.start, body.stop)
        for first in range(start, stop, size):
            last = min(first + size, stop)
            if isinstance(body, bytes):
                yield body[first:last]
            else:
                yield await self.file_pool.run(_read, body.path, first, last)


async def prepare_response(request: web.Request, api_response: ApiResponse) -> web.StreamResponse:
    """Send the status and the headers, with the length of the whole body."""
    response = web.StreamResponse(status=api_response.status, headers=api_response.headers)
    response.content_type = api_response.content_type
    response.content_length = api_response.size
    await response.prepare(request)
    return response


def _read(path: Path, start: int, stop: int) -> bytes:
    with path.open("rb") as file:
        file.seek(start)
        return file.read(stop - start)
