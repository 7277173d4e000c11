"""Kaze as documented: JSON bodies, HTTP 200 for every response, and the outcome in `code`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from aiohttp import web
from attrs import define

from ..backend.image_worker import ImageJob, MediaInput
from ..backend.limits import ImageRules, JobFailure, check_mask, decode_base64, inspect_image
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
    """Kaze: submit, query and quota."""

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
        """Return the routes of submit, query and quota."""
        return (
            Route(("POST",), "/api/ext/v1/submit_watermark_removal", "submit", self.submit),
            Route(("POST",), "/api/ext/v1/get_task_result", "query", self.query),
            Route(("POST",), "/api/ext/v1/get_quota", "credits", self.quota),
        )

    def credential(self, request: web.Request) -> str | None:
        """Return the bearer token."""
        return bearer_token(request)

    def error_body(self, code: int, message: str) -> object:
        """Return the code and the message."""
        return {"code": code, "message": message, "data": None}

    async def submit(self, request: web.Request) -> ApiResponse:
        """Accept a job."""
        body = await read_json(request, _FIELDS)
        image = _parse_source(body, "image")
        if image is None:
            raise parameter_error("One of image_url and image_base64 must be given.")
        job = ImageJob((image,), self.limits, _parse_source(body, "smear"), smear=True)
        _check(job)
        task = await self.jobs.submit_images(self.name, job)
        return _ok({"task_id": task.task_id})

    async def query(self, request: web.Request) -> ApiResponse:
        """Answer with the state of the task, without a `code`, as in the documents' example."""
        body = await read_json(request, ("task_id",))
        task_id = body.get("task_id")
        if not isinstance(task_id, str):
            raise parameter_error("task_id must be a string.")
        task = self.jobs.tasks.find(self.name, task_id)
        task.queries += 1
        return ApiResponse.json({"message": "success", "data": self._data(task)})

    async def quota(self, request: web.Request) -> ApiResponse:
        """Answer with the credits of the account."""
        await read_json(request, ())
        account = self.account
        return _ok({"limit": account.credits, "usage": account.spent, "remaining": account.remaining})

    def _data(self, task: EmulatedTask) -> dict[str, object]:
        images = [] if task.pending else [output.stored for output in task.outputs if output.stored]
        data: dict[str, object] = {
            "status": _STATUSES[task.state],
            "images": [{"url": self.jobs.objects.create_link(stored)} for stored in images],
        }
        if task.failed and task.effective_failure:
            data["status"] = task.effective_failure.state or "failed"
            data["err_msg"] = task.effective_failure.reason
        return data


def _ok(data: Mapping[str, object]) -> ApiResponse:
    return ApiResponse.json({"code": 0, "message": "success", "data": data})


def _parse_source(body: Mapping[str, object], name: str) -> MediaInput | None:
    """Return the input that is given as a link or as base64; None when neither is given."""
    link, text = body.get(f"{name}_url"), body.get(f"{name}_base64")
    if link is not None and text is not None:
        raise parameter_error(f"Only one of {name}_url and {name}_base64 may be given.")
    if link is not None:
        if not isinstance(link, str) or not is_link(link):
            raise parameter_error(f"{name}_url is not an http(s) link.")
        return link
    return None if text is None else _decode(text, f"{name}_base64")


def _decode(text: object, name: str) -> bytes:
    if not isinstance(text, str) or not text:
        raise parameter_error(f"{name} must be base64.")
    try:
        return decode_base64(text)
    except JobFailure as failure:
        raise parameter_error(f"{name}: {failure.reason}") from None


def _check(job: ImageJob) -> None:
    """Raise ApiError for invalid inputs that are part of the request; those given as links fail the job later."""
    try:
        mask = inspect_image(job.mask) if isinstance(job.mask, bytes) else None
        for source in job.images:
            if isinstance(source, bytes):
                image = job.limits.check(source)
                if mask:
                    check_mask(image, mask.data)
    except JobFailure as failure:
        raise parameter_error(failure.reason) from None
