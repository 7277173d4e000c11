"""Dewatermark as documented: images (versions 2 and 3, and PRO), videos, and the balance of credits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from aiohttp import web
from attrs import define, field

from ..web.forms import MULTIPART, read_form
from ..web.responses import ApiResponse, ErrorReason, parameter_error
from ..web.routes import Route
from ._dewatermark_images import FIELDS, PRO_FIELDS, ImageEndpoints
from ._dewatermark_videos import VideoEndpoints
from .base import EmulatedApi


@define
class Dewatermark(EmulatedApi):
    """Dewatermark; all of its own paths require the X-API-KEY, the signed URLs it returns refuse it."""

    _images: ImageEndpoints = field(init=False)
    _videos: VideoEndpoints = field(init=False)

    name: ClassVar[str] = "dewatermark"
    lifetime: ClassVar[float] = 2 * 86_400.0
    error_codes: ClassVar[Mapping[ErrorReason, tuple[int, int]]] = {
        **EmulatedApi.error_codes,
        ErrorReason.CREDITS: (403, 403),
    }

    def __attrs_post_init__(self) -> None:
        self._images = ImageEndpoints(self.name, self.jobs)
        self._videos = VideoEndpoints(self.name, self.jobs)

    def routes(self) -> tuple[Route, ...]:
        """Return the routes of images, videos and credits."""
        return (
            Route(("POST",), "/api/object_removal/{version:v[23]}/erase_watermark", "submit", self.erase),
            Route(("POST",), "/api/object_removal/v1/erase_watermark_pro", "submit", self.erase_pro),
            Route(("POST",), "/api/video/v1/upload", "ticket", self.create_upload),
            Route(("POST",), "/api/video/v1/tasks", "start", self.start),
            Route(("GET",), "/api/video/v1/tasks/{task_id}", "query", self.query),
            Route(("GET",), "/api/creditInfo", "credits", self.credits),
        )

    def credential(self, request: web.Request) -> str | None:
        """Return the X-API-KEY header."""
        return request.headers.get("X-API-KEY")

    def error_body(self, code: int, message: str) -> object:
        """Return an error object; the documents name the statuses only, no body."""
        return {"error": {"code": code, "message": message}}

    async def erase(self, request: web.Request) -> ApiResponse:
        """Remove the watermark from an image and answer with the result."""
        return await self._images.erase(await read_form(request, FIELDS), request.match_info["version"])

    async def erase_pro(self, request: web.Request) -> ApiResponse:
        """Remove the watermark with the better model: no mask is taken, none is answered."""
        return await self._images.erase_pro(await read_form(request, PRO_FIELDS))

    async def create_upload(self, request: web.Request) -> ApiResponse:
        """Step 1 of a video: return an upload URL for an empty POST, of any content type, or for a form."""
        if await request.read() and request.content_type != MULTIPART:
            raise parameter_error(f"Content-Type must be {MULTIPART}.")
        return self._videos.create_upload()

    async def start(self, request: web.Request) -> ApiResponse:
        """Step 3 of a video, after the upload: start the work."""
        return self._videos.start(await read_form(request, ("task_id", "mask_brush"), boundary_optional=True))

    async def query(self, request: web.Request) -> ApiResponse:
        """Step 4 of a video: answer with its state."""
        return self._videos.query(request.match_info["task_id"])

    async def credits(self, request: web.Request) -> ApiResponse:  # noqa: ARG002 - the request has no parameters
        """Answer with the balance."""
        data = {"available_credit": self.account.remaining, "user_id": "emulator"}
        return ApiResponse.json({"status": "OK", "data": data})
