"""PicWish as documented: POST and GET /api/tasks/visual/external/watermark-remove."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from aiohttp import web
from attrs import define

from ..backend.limits import ImageRules
from ._visual import VisualApi

_PATH = "/api/tasks/visual/external/watermark-remove"


@define
class PicWish(VisualApi):
    """PicWish; the envelope has a `message`."""

    name: ClassVar[str] = "picwish"
    submit_path: ClassVar[str] = _PATH
    query_path: ClassVar[str] = _PATH
    # Guidelines and Limits, 5
    limits: ClassVar[ImageRules] = ImageRules(("jpeg", "png", "bmp"), min_side=20, max_side=10_000)

    def credential(self, request: web.Request) -> str | None:
        """Return the X-API-KEY header."""
        return request.headers.get("X-API-KEY")

    def envelope(self, data: Mapping[str, object]) -> dict[str, object]:
        """Return the envelope that the documents describe under Return Parameters."""
        return {"status": 200, "message": "success", "data": data}
