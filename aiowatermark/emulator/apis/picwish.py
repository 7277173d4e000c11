"""PicWish as documented: submits and queries at the same paths, with or without a mask.

The better remover, the price in a task and the call for the credits are known from field reports only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from aiohttp import web
from attrs import define

from ..backend.limits import ImageRules
from ..backend.tasks import EmulatedTask
from ..web.responses import ApiResponse
from ..web.routes import Route
from ._visual import VisualApi, VisualCall

_PATH = "/api/tasks/visual/external/watermark-remove"
_ADVANCED = "/api/tasks/visual/advanced/watermark-remove"
_INPAINT = "/api/tasks/visual/inpaint"


@define
class PicWish(VisualApi):
    """PicWish; the envelope has a `message`."""

    name: ClassVar[str] = "picwish"
    calls: ClassVar[tuple[VisualCall, ...]] = (
        VisualCall(_PATH, _PATH, callbacks=True),
        VisualCall(_INPAINT, _INPAINT, "image_file", "image_url", result="image", mask=True),
        # two reports disagree about the price: 10 or 2
        VisualCall(_ADVANCED, _ADVANCED, "image_file", "image_url", result="image_url", price=2),
    )
    # Guidelines and Limits, 5
    limits: ClassVar[ImageRules] = ImageRules(("jpeg", "png", "bmp"), min_side=20, max_side=10_000)

    def routes(self) -> tuple[Route, ...]:
        """Return the routes of all submits and queries, and that of the credits."""
        return (*VisualApi.routes(self), Route(("GET",), "/api/customers/package-credits", "credits", self.credits))

    def credential(self, request: web.Request) -> str | None:
        """Return the X-API-KEY header."""
        return request.headers.get("X-API-KEY")

    def envelope(self, data: object) -> dict[str, object]:
        """Return the envelope that the documents describe under Return Parameters."""
        return {"status": 200, "message": "success", "data": data}

    def data_of(self, call: VisualCall, task: EmulatedTask) -> dict[str, object]:
        """Return the data object of the documents; once a task is done, also its price and the seconds it took."""
        data = VisualApi.data_of(self, call, task)
        if task.pending or task.started_at is None:
            return data
        seconds = round(task.completed_at - task.started_at, 2)
        return {**data, "use_point": task.price * task.charges, "time_elapsed": seconds}

    async def credits(self, request: web.Request) -> ApiResponse:  # noqa: ARG002 - the request has no parameters
        """Answer with the packages of the account: an empty one of the past, and one with the balance."""
        account = self.account
        packages: list[Mapping[str, object]] = [
            {"remaining_credits": 0, "used_credits": 0},
            {"remaining_credits": account.remaining, "used_credits": account.spent},
        ]
        return ApiResponse.json(self.envelope(packages))
