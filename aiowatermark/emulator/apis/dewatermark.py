"""Dewatermark as its documents have it: pictures (versions 2 and 3), videos, and the balance of credits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from aiohttp import web
from attrs import define, field

from ..web.forms import MULTIPART, read_form
from ..web.responses import Answer, Reason, wrong
from ..web.routes import Route
from ._dewatermark_images import FIELDS, Erasing
from ._dewatermark_videos import Footage
from .base import Dialect


@define
class Dewatermark(Dialect):
    """The X-API-KEY belongs on all of its own paths, and never on the signed links it gives."""

    _erasing: Erasing = field(init=False)
    _footage: Footage = field(init=False)

    name: ClassVar[str] = "dewatermark"
    lifetime: ClassVar[float] = 2 * 86_400.0
    refusals: ClassVar[Mapping[Reason, tuple[int, int]]] = {
        Reason.METHOD: (405, 405),
        Reason.KEY: (401, 401),
        Reason.PARAMETER: (400, 400),
        Reason.TOO_LARGE: (413, 413),
        Reason.UNKNOWN_TASK: (404, 404),
        Reason.CREDITS: (403, 403),
        Reason.INTERNAL: (500, 500),
    }

    def __attrs_post_init__(self) -> None:
        self._erasing = Erasing(self.name, self.desk)
        self._footage = Footage(self.name, self.desk)

    def routes(self) -> tuple[Route, ...]:
        """Pictures, videos, credits."""
        return (
            Route(("POST",), "/api/object_removal/{version:v[23]}/erase_watermark", "submit", self.erase),
            Route(("POST",), "/api/video/v1/upload", "ticket", self.ticket),
            Route(("POST",), "/api/video/v1/tasks", "start", self.start),
            Route(("GET",), "/api/video/v1/tasks/{task_id}", "query", self.query),
            Route(("GET",), "/api/creditInfo", "credits", self.credits),
        )

    def credential(self, request: web.Request) -> str | None:
        """The X-API-KEY header."""
        return request.headers.get("X-API-KEY")

    def complaint(self, code: int, sentence: str) -> object:
        """The documents name the statuses only."""
        return {"error": {"code": code, "message": sentence}}

    async def erase(self, request: web.Request) -> Answer:
        """Remove the marks from a picture, and answer with it."""
        return await self._erasing.erase(await read_form(request, FIELDS))

    async def ticket(self, request: web.Request) -> Answer:
        """Step 1 of a video: an empty POST, whose content type says nothing, or a form."""
        if await request.read() and request.content_type != MULTIPART:
            raise wrong(f"Content-Type has to be {MULTIPART}.")
        return self._footage.ticket()

    async def start(self, request: web.Request) -> Answer:
        """Step 3 of a video."""
        return self._footage.start(await read_form(request, ("task_id", "mask_brush"), boundless=True))

    async def query(self, request: web.Request) -> Answer:
        """Step 4 of a video."""
        return self._footage.query(request.match_info["task_id"])

    async def credits(self, request: web.Request) -> Answer:  # noqa: ARG002 - nothing can be asked about it
        """The balance."""
        data = {"available_credit": self.account.remaining, "user_id": "emulator"}
        return Answer.json({"status": "OK", "data": data})
