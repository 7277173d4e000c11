"""A route as an aiohttp handler: the request is admitted and answered, or refused in the shape of its API."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Protocol

from aiohttp import web
from attrs import define, frozen

from ..backend.threads import ThreadPool
from .responses import ApiError, ApiResponse, ErrorReason, FilePart

_BLOCK = 1 << 20


@frozen
class Route:
    """A path, the methods it knows, its step (None: no fault strikes it), and the function that answers."""

    methods: tuple[str, ...]
    path: str
    step: str | None
    respond: Callable[[web.Request], Awaitable[ApiResponse]]


class HttpSurface(Protocol):
    """One API, or the storage host, as an endpoint sees it."""

    @abstractmethod
    def routes(self) -> tuple[Route, ...]:
        """Its paths."""

    @abstractmethod
    def provider_of(self, request: web.Request) -> str | None:
        """The provider that answers this request; None when it is none's."""

    @abstractmethod
    def authenticate(self, request: web.Request) -> None:
        """Raises Refusal when the credentials are not right."""

    @abstractmethod
    def error_response(self, request: web.Request, refusal: ApiError) -> ApiResponse:
        """The refusal in this API's shape."""

    @abstractmethod
    def server_error(self, status: int) -> ApiResponse:
        """An error of its own with this HTTP status, in this API's shape."""


@define
class Endpoint:
    """One route of one surface."""

    surface: HttpSurface
    route: Route
    file_pool: ThreadPool

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        """Answer."""
        return await self.send(request, await self.answer(request))

    async def answer(self, request: web.Request) -> ApiResponse:
        """What is to be said, refusals included."""
        try:
            self._check_method(request.method)
            self.surface.authenticate(request)
            return await self.route.respond(request)
        except ApiError as refusal:
            return self.surface.error_response(request, refusal)
        except web.HTTPRequestEntityTooLarge:
            return self.surface.error_response(request, ApiError(ErrorReason.TOO_LARGE, "The request is too large."))

    def _check_method(self, method: str) -> None:
        if method not in self.route.methods:
            raise ApiError(ErrorReason.METHOD, f"{method} is not allowed here.")

    async def send(self, request: web.Request, answer: ApiResponse) -> web.StreamResponse:
        """Say it; parts of files are read off the loop, block by block."""
        if isinstance(answer.body, bytes):
            kind = {"Content-Type": answer.content_type}
            return web.Response(body=answer.body, status=answer.status, headers={**kind, **answer.headers})
        response = await prepare_response(request, answer)
        if request.method != "HEAD":
            async for block in self.blocks(answer, _BLOCK):
                await response.write(block)
        return response

    async def blocks(self, answer: ApiResponse, size: int = _BLOCK) -> AsyncIterator[bytes]:
        """The body, in blocks of `size` bytes at most."""
        body = answer.body
        start, stop = (0, len(body)) if isinstance(body, bytes) else (body.start, body.stop)
        for at in range(start, stop, size):
            end = min(at + size, stop)
            yield await self.file_pool.run(_read, body.path, at, end) if isinstance(body, FilePart) else body[at:end]


async def prepare_response(request: web.Request, answer: ApiResponse) -> web.StreamResponse:
    """A response whose head, with the whole length, is sent."""
    response = web.StreamResponse(status=answer.status, headers=answer.headers)
    response.content_type = answer.content_type
    response.content_length = answer.size
    await response.prepare(request)
    return response


def _read(path: Path, start: int, stop: int) -> bytes:
    with path.open("rb") as file:
        file.seek(start)
        return file.read(stop - start)
