"""Photo Eraser (Wondershare AILab) as documented: up to 20 links with one mask, and one result per image."""

from __future__ import annotations

import base64
import binascii
import math
import uuid
from collections.abc import Mapping
from typing import ClassVar

from aiohttp import web
from attrs import define

from ..backend.image_worker import ImageJob, MediaInput
from ..backend.limits import ImageRules, JobFailure, decode_base64, inspect_image
from ..backend.links import is_link
from ..backend.tasks import EmulatedTask, TaskOutput
from ..web.forms import read_json
from ..web.responses import ApiResponse, ErrorReason, parameter_error
from ..web.routes import Route
from .base import EmulatedApi

_FIELDS = ("images", "mask", "priority")
_MAX_IMAGES = 20
# "1- Waiting; 2 - In progress; 3 - Task complete; 4 - Task failure; 5 - Task closed; 6 - Task timed out"
_WAITING, _RUNNING, _COMPLETE, _FAILED = "1", "2", "3", "4"
_WAITING_FRACTION = 0.2  # of the processing time


@define
class PhotoEraser(EmulatedApi):
    """Photo Eraser; its documents name no error codes. Those of sibling APIs are used where the vendor shows them.

    All answers carry a `trace_id`.
    """

    name: ClassVar[str] = "photoeraser"
    has_secret: ClassVar[bool] = True
    # Input File Restriction: greater than 256 and less than 5000 pixels
    limits: ClassVar[ImageRules] = ImageRules(("jpeg", "png", "bmp"), min_side=257, max_side=4999, max_aspect=4)
    error_codes: ClassVar[Mapping[ErrorReason, tuple[int, int]]] = {
        **EmulatedApi.error_codes,
        ErrorReason.KEY: (401, 374004),
        ErrorReason.PARAMETER: (400, 490000),
        ErrorReason.CREDITS: (200, 490505),
    }

    def routes(self) -> tuple[Route, ...]:
        """Return the routes of submit and query."""
        return (
            Route(("POST",), "/v3/pic/rw/batch", "submit", self.submit),
            Route(("GET",), "/v3/pic/rw/result/{task_id}", "query", self.query),
        )

    def credential(self, request: web.Request) -> str | None:
        """Return app key and secret, separated by a colon, from `Authorization: Basic`."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        try:
            return base64.b64decode(token, validate=True).decode() if scheme.lower() == "basic" else None
        except (ValueError, binascii.Error):
            return None

    def error_body(self, code: int, message: str) -> object:
        """Return the code and the message."""
        return {"code": code, "msg": message, "data": {}, "trace_id": uuid.uuid4().hex}

    async def submit(self, request: web.Request) -> ApiResponse:
        """Accept a job."""
        body = await read_json(request, _FIELDS)
        _check_priority(body.get("priority"))
        job = ImageJob(_parse_images(body.get("images")), self.limits, _parse_mask(body.get("mask")))
        task = await self.jobs.submit_images(self.name, job)
        return _ok({"task_id": task.task_id})

    async def query(self, request: web.Request) -> ApiResponse:
        """Answer with the state of the task and of each of its images."""
        if request.headers.get("Content-Type", "application/json").partition(";")[0] != "application/json":
            raise parameter_error("Content-Type must be application/json.")
        task = self.jobs.tasks.find(self.name, request.match_info["task_id"])
        task.queries += 1
        return _ok({"status": _status(task), "wait_time": _wait_time(task), "list": self._list(task)})

    def _list(self, task: EmulatedTask) -> list[dict[str, str]]:
        if task.pending:
            return [_item(_status(task)) for _ in range(task.output_count)]
        if task.failure is not None:
            return [_item(_FAILED, reason=task.failure.reason) for _ in range(task.output_count)]
        return [self._output_item(output) for output in task.outputs]

    def _output_item(self, output: TaskOutput) -> dict[str, str]:
        if output.stored is None:
            return _item(_FAILED, reason=output.failure.reason if output.failure else "")
        return _item(_COMPLETE, self.jobs.objects.create_link(output.stored))


def _ok(data: Mapping[str, object]) -> ApiResponse:
    return ApiResponse.json({"code": 0, "msg": "", "data": data, "trace_id": uuid.uuid4().hex})


def _item(status: str, image_result: str = "", reason: str = "") -> dict[str, str]:
    return {"image_result": image_result, "status": status, "reason": reason}


def _status(task: EmulatedTask) -> str:
    """Return the status of the task, which is complete even if single images of it have failed."""
    if task.pending:
        return _WAITING if task.progress < _WAITING_FRACTION else _RUNNING
    return (task.failure.state or _FAILED) if task.failure else _COMPLETE


def _wait_time(task: EmulatedTask) -> str:
    """Return the seconds to wait, as text.

    Whole seconds, but hundredths below one second: a client obeys this value, and short jobs would take a second.
    """
    if not task.pending:
        return "0"
    return str(math.ceil(task.remaining)) if task.remaining >= 1 else f"{max(task.remaining, 0.01):.2f}"


def _check_priority(priority: object) -> None:
    # bool is a subclass of int, and true is not a number in JSON
    if not isinstance(priority, int) or isinstance(priority, bool) or not 0 <= priority <= 9:
        raise parameter_error("priority must be an integer from 0 to 9.")


def _parse_images(images: object) -> tuple[str, ...]:
    if not isinstance(images, list) or not 1 <= len(images) <= _MAX_IMAGES:
        raise parameter_error(f"images must be a list of 1 to {_MAX_IMAGES} links.")
    links = tuple(link for link in images if isinstance(link, str) and is_link(link))
    if len(links) != len(images):
        raise parameter_error("images must contain http(s) links only.")
    return links


def _parse_mask(mask: object) -> MediaInput:
    """Return the mask from a link, base64 or a data URI: the documents say "Base64 and URI"."""
    if not isinstance(mask, str) or not mask:
        raise parameter_error("mask must be given.")
    if is_link(mask):
        return mask
    try:
        text = mask.partition(";base64,")[2] if mask.startswith("data:") else mask
        return inspect_image(decode_base64(text)).data
    except JobFailure as failure:
        raise parameter_error(f"mask: {failure.reason}") from None
