"""Kaze as its documents have it: JSON, HTTP 200 whatever happens, and the truth in `code`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from aiohttp import web
from attrs import define

from ..backend.image_worker import ImageJob, MediaInput
from ..backend.limits import ImageRules, JobFailure, check_mask, examine, from_base64
from ..backend.links import is_link
from ..backend.tasks import EmulatedTask
from ..web.forms import read_json
from ..web.responses import ApiResponse, ErrorReason, parameter_error
from ..web.routes import Route
from .base import EmulatedApi, bearer_token

_FIELDS = ("image_url", "image_base64", "smear_url", "smear_base64")
_STATUSES: Mapping[str, str] = {"processing": "processing", "succeeded": "success", "failed": "failed"}


@define
class Kaze(EmulatedApi):
    """One submit, one query, one quota."""

    name: ClassVar[str] = "kaze"
    limits: ClassVar[ImageRules] = ImageRules()
    error_codes: ClassVar[Mapping[ErrorReason, tuple[int, int]]] = {
        ErrorReason.METHOD: (200, 1001),
        ErrorReason.KEY: (200, 1002),
        ErrorReason.PARAMETER: (200, 1000),
        ErrorReason.TOO_LARGE: (200, 1000),
        ErrorReason.UNKNOWN_TASK: (200, 1000),
        ErrorReason.CREDITS: (200, 1003),
        ErrorReason.INTERNAL: (200, 1100),
    }

    def routes(self) -> tuple[Route, ...]:
        """Submit, query and quota."""
        return (
            Route(("POST",), "/api/ext/v1/submit_watermark_removal", "submit", self.submit),
            Route(("POST",), "/api/ext/v1/get_task_result", "query", self.query),
            Route(("POST",), "/api/ext/v1/get_quota", "credits", self.quota),
        )

    def credential(self, request: web.Request) -> str | None:
        """The bearer token."""
        return bearer_token(request)

    def error_body(self, code: int, sentence: str) -> object:
        """The code and a message."""
        return {"code": code, "message": sentence, "data": None}

    async def submit(self, request: web.Request) -> ApiResponse:
        """Take a job."""
        body = await read_json(request, _FIELDS)
        image = _source(body, "image")
        if image is None:
            raise parameter_error("One of image_url and image_base64 has to be given.")
        order = ImageJob((image,), self.limits, _source(body, "smear"), smear=True)
        _check(order)
        task = await self.jobs.submit_images(self.name, order)
        return _ok({"task_id": task.task_id})

    async def query(self, request: web.Request) -> ApiResponse:
        """How the job stands; the documents' example has no `code`."""
        body = await read_json(request, ("task_id",))
        task_id = body.get("task_id")
        if not isinstance(task_id, str):
            raise parameter_error("task_id has to be a text.")
        task = self.jobs.tasks.find(self.name, task_id)
        task.queries += 1
        return ApiResponse.json({"message": "success", "data": self._data(task)})

    async def quota(self, request: web.Request) -> ApiResponse:
        """The credits."""
        await read_json(request, ())
        account = self.account
        return _ok({"limit": account.credits, "usage": account.spent, "remaining": account.remaining})

    def _data(self, task: EmulatedTask) -> dict[str, object]:
        images = [] if task.pending else [one.stored for one in task.outputs if one.stored]
        data: dict[str, object] = {
            "status": _STATUSES[task.state],
            "images": [{"url": self.jobs.objects.link(stored)} for stored in images],
        }
        if task.failed and task.failure_kind:
            data["status"] = task.failure_kind.state or "failed"
            data["err_msg"] = task.failure_kind.reason
        return data


def _ok(data: Mapping[str, object]) -> ApiResponse:
    return ApiResponse.json({"code": 0, "message": "success", "data": data})


def _source(body: Mapping[str, object], name: str) -> MediaInput | None:
    """What is given as a link or as base64; None when neither is."""
    link, text = body.get(f"{name}_url"), body.get(f"{name}_base64")
    if link is not None and text is not None:
        raise parameter_error(f"Only one of {name}_url and {name}_base64 may be given.")
    if link is not None:
        if not isinstance(link, str) or not is_link(link):
            raise parameter_error(f"{name}_url is no http(s) link.")
        return link
    return None if text is None else _decoded(text, f"{name}_base64")


def _decoded(text: object, name: str) -> bytes:
    if not isinstance(text, str) or not text:
        raise parameter_error(f"{name} has to be base64.")
    try:
        return from_base64(text)
    except JobFailure as failure:
        raise parameter_error(f"{name}: {failure.reason}") from None


def _check(order: ImageJob) -> None:
    """Raises Refusal for pictures that need not be fetched to see that they are wrong."""
    try:
        mask = examine(order.mask) if isinstance(order.mask, bytes) else None
        for picture in order.pictures:
            if isinstance(picture, bytes):
                checked = order.limits.check(picture)
                if mask:
                    check_mask(checked, mask.data)
    except JobFailure as failure:
        raise parameter_error(failure.reason) from None
