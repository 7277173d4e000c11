"""Photo Eraser (Wondershare AILab) as its documents have it: up to 20 links with one mask, and a result for each."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping
from typing import ClassVar

from aiohttp import web
from attrs import define

from ..backend.image_worker import ImageJob, MediaInput
from ..backend.limits import ImageRules, JobFailure, examine, from_base64
from ..backend.links import is_link
from ..backend.tasks import EmulatedTask, TaskOutput
from ..web.forms import read_json
from ..web.responses import ApiResponse, ErrorReason, parameter_error
from ..web.routes import Route
from .base import EmulatedApi

_FIELDS = ("images", "mask", "priority")
_MAX_IMAGES = 20
_WAITING, _RUNNING, _COMPLETE, _FAILED = "1", "2", "3", "4"
_QUEUE = 0.2  # the part of its time for which a job waits


@define
class PhotoEraser(EmulatedApi):
    """The codes besides 490027 (no credits) are documented nowhere: they repeat the HTTP status."""

    name: ClassVar[str] = "photoeraser"
    paired: ClassVar[bool] = True
    # Input File Restriction: greater than 256 and less than 5000 pixels
    limits: ClassVar[ImageRules] = ImageRules(("jpeg", "png", "bmp"), min_side=257, max_side=4999, max_aspect=4)
    error_codes: ClassVar[Mapping[ErrorReason, tuple[int, int]]] = {
        ErrorReason.METHOD: (405, 405),
        ErrorReason.KEY: (401, 401),
        ErrorReason.PARAMETER: (400, 400),
        ErrorReason.TOO_LARGE: (413, 413),
        ErrorReason.UNKNOWN_TASK: (404, 404),
        ErrorReason.CREDITS: (200, 490027),
        ErrorReason.INTERNAL: (500, 500),
    }

    def routes(self) -> tuple[Route, ...]:
        """Submit and query."""
        return (
            Route(("POST",), "/v3/pic/rw/batch", "submit", self.submit),
            Route(("GET",), "/v3/pic/rw/result/{task_id}", "query", self.query),
        )

    def credential(self, request: web.Request) -> str | None:
        """App key and secret, with a colon between them."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        try:
            return base64.b64decode(token, validate=True).decode() if scheme.lower() == "basic" else None
        except (ValueError, binascii.Error):
            return None

    def error_body(self, code: int, sentence: str) -> object:
        """The code and a message."""
        return {"code": code, "msg": sentence, "data": {}}

    async def submit(self, request: web.Request) -> ApiResponse:
        """Take a job."""
        body = await read_json(request, _FIELDS)
        _check_priority(body.get("priority"))
        order = ImageJob(_images(body.get("images")), self.limits, _mask(body.get("mask")))
        task = await self.jobs.submit_images(self.name, order)
        return _ok({"task_id": task.task_id})

    async def query(self, request: web.Request) -> ApiResponse:
        """How the job stands, and each of its pictures."""
        if request.headers.get("Content-Type", "application/json").partition(";")[0] != "application/json":
            raise parameter_error("Content-Type has to be application/json.")
        task = self.jobs.tasks.find(self.name, request.match_info["task_id"])
        task.queries += 1
        return _ok({"status": _status(task), "wait_time": _wait_time(task), "list": self._list(task)})

    def _list(self, task: EmulatedTask) -> list[dict[str, str]]:
        if task.pending:
            return [_item(_status(task)) for _ in range(task.expected)]
        if task.failure is not None:
            return [_item(_FAILED, reason=task.failure.reason) for _ in range(task.expected)]
        return [self._result(one) for one in task.outputs]

    def _result(self, made: TaskOutput) -> dict[str, str]:
        if made.stored is None:
            return _item(_FAILED, reason=made.failure.reason if made.failure else "")
        return _item(_COMPLETE, self.jobs.objects.link(made.stored))


def _ok(data: Mapping[str, object]) -> ApiResponse:
    return ApiResponse.json({"code": 0, "msg": "", "data": data})


def _item(status: str, image_result: str = "", reason: str = "") -> dict[str, str]:
    return {"image_result": image_result, "status": status, "reason": reason}


def _status(task: EmulatedTask) -> str:
    """1 waiting, 2 in progress, 3 complete (single pictures may have failed), 4 failed, 5 closed, 6 timed out."""
    if task.pending:
        return _WAITING if task.progress < _QUEUE else _RUNNING
    return (task.failure.state or _FAILED) if task.failure else _COMPLETE


def _wait_time(task: EmulatedTask) -> str:
    """Whole seconds, as a text; below one second, hundredths, so that short jobs are not waited for in vain."""
    if not task.pending:
        return "0"
    return str(math.ceil(task.remaining)) if task.remaining >= 1 else f"{max(task.remaining, 0.01):.2f}"


def _check_priority(priority: object) -> None:
    if not isinstance(priority, int) or isinstance(priority, bool) or not 0 <= priority <= 9:
        raise parameter_error("priority has to be an integer from 0 to 9.")


def _images(images: object) -> tuple[str, ...]:
    if not isinstance(images, list) or not 1 <= len(images) <= _MAX_IMAGES:
        raise parameter_error(f"images has to be a list of 1 to {_MAX_IMAGES} links.")
    links = tuple(link for link in images if isinstance(link, str) and is_link(link))
    if len(links) != len(images):
        raise parameter_error("images holds something that is no http(s) link.")
    return links


def _mask(mask: object) -> MediaInput:
    """A link, base64, or a data URI, as "Base64 and URI" is read here."""
    if not isinstance(mask, str) or not mask:
        raise parameter_error("mask has to be given.")
    if is_link(mask):
        return mask
    try:
        return examine(from_base64(mask.partition(";base64,")[2] if mask.startswith("data:") else mask)).data
    except JobFailure as failure:
        raise parameter_error(f"mask: {failure.reason}") from None
