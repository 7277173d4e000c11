"""The API family of gpt.ge and PicWish: multipart submits, queries by id, and the same data object in both."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Mapping
from functools import partial
from typing import ClassVar

from aiohttp import web
from attrs import define, frozen

from ..backend.image_worker import Box, ImageJob, MediaInput
from ..backend.limits import FailureKind, ImageRules
from ..backend.links import is_link
from ..backend.tasks import EmulatedTask
from ..web.forms import Form, read_choice, read_form
from ..web.responses import ApiError, ApiResponse, ErrorReason, parameter_error
from ..web.routes import Route
from .base import EmulatedApi

_SUCCEEDED, _QUEUED, _PROCESSING = 1, 0, 4
_FAILURE_STATES: Mapping[FailureKind, int] = {
    FailureKind.LINK: -3,
    FailureKind.SIZE: -5,
    FailureKind.IMAGE: -7,
    FailureKind.INTERNAL: -1,
}
_QUEUED_FRACTION = 0.2  # of the processing time
_SIDES = ("x", "y", "width", "height")
_MAX_RECTANGLES = 50


@frozen
class VisualCall:
    """A call of the family.

    `query_path`: below it its tasks are queried, nowhere else. `file`, `link`: the names of the image's fields.
    `result`: the field of the data object with the result. `mask`: whether a mask or rectangles are required; without,
    they are refused. `callbacks`: whether a callback_url is accepted. `price`: in credits.
    """

    path: str
    query_path: str
    file: str = "file"
    link: str = "url"
    result: str = "file"
    mask: bool = False
    callbacks: bool = False
    price: float = 1

    @property
    def fields(self) -> tuple[str, ...]:
        """Return the names of the fields that a form may have."""
        mask = ("mask_file", "mask_url", "rectangles") if self.mask else ()
        return (self.file, self.link, "sync", *mask, *(("callback_url",) if self.callbacks else ()))


@define
class VisualApi(EmulatedApi):
    """What gpt.ge and PicWish have in common; the subclasses define calls, credential and envelope."""

    calls: ClassVar[tuple[VisualCall, ...]]
    limits: ClassVar[ImageRules] = ImageRules()

    @abstractmethod
    def envelope(self, data: Mapping[str, object]) -> dict[str, object]:
        """Return the body of a response that contains this data object."""

    def routes(self) -> tuple[Route, ...]:
        """Return the routes of all submits and queries."""
        query_paths = dict.fromkeys(call.query_path for call in self.calls)
        return (
            *(Route(("POST",), call.path, "submit", partial(self.submit, call)) for call in self.calls),
            *(Route(("GET",), path + "/{task_id}", "query", partial(self.query, path)) for path in query_paths),
        )

    def error_body(self, code: int, message: str) -> object:
        """Return an envelope without data."""
        return {"status": code, "message": message}

    async def submit(self, call: VisualCall, request: web.Request) -> ApiResponse:
        """Accept a job; with `sync=1` answer when it is done, or as pending if that takes too long."""
        form = await read_form(request, call.fields)
        sync = read_choice(form, "sync", ("0", "1"), "0") == "1"
        mask, boxes = _parse_mask(form) if call.mask else (None, ())
        job = ImageJob((_parse_source(form, call.file, call.link),), self.limits, mask, boxes=boxes)
        task = await self.jobs.submit_images(
            self.name, job, _parse_callback_url(form), partial(self.data_of, call), price=call.price, path=call.path
        )
        if not sync:
            return ApiResponse.json(self.envelope({"task_id": task.task_id}))
        await self.jobs.wait(task)
        return ApiResponse.json(self.envelope(self.data_of(call, task)))

    async def query(self, path: str, request: web.Request) -> ApiResponse:
        """Answer with the data object of the task, if it was made by a call whose tasks are queried here."""
        task = self.jobs.tasks.find(self.name, request.match_info["task_id"])
        call = next(call for call in self.calls if call.path == task.path)
        if call.query_path != path:
            raise ApiError(ErrorReason.UNKNOWN_TASK, "There is no such task.")
        task.queries += 1
        return ApiResponse.json(self.envelope(self.data_of(call, task)))

    def data_of(self, call: VisualCall, task: EmulatedTask) -> dict[str, object]:
        """Return the data object of the documents; times are whole seconds, 0 while unknown."""
        state = _state(task)
        done = not task.pending
        return {
            "completed_at": int(task.completed_at) if done else 0,
            "created_at": int(task.created_at),
            call.result: self._file(task) if state == _SUCCEEDED else "",
            "processed_at": 0 if state == _QUEUED else int(task.created_at),
            "progress": int(task.progress * 100),
            "state": state,
            "task_id": task.task_id,
        }

    def _file(self, task: EmulatedTask) -> str:
        stored = task.outputs[0].stored
        return self.jobs.objects.create_link(stored) if stored else ""


def _state(task: EmulatedTask) -> int:
    if task.pending:
        return _QUEUED if task.progress < _QUEUED_FRACTION else _PROCESSING
    failure = task.effective_failure
    if failure is None:
        return _SUCCEEDED
    return int(failure.state) if failure.state else _FAILURE_STATES[failure.kind]


def _parse_source(form: Form, file: str, link: str) -> MediaInput:
    # "If this parameter is present, the other image source parameter must be empty."
    if (file in form) == (link in form):
        raise parameter_error(f"Exactly one of {file} and {link} must be given.")
    if file in form:
        return form[file].data
    if not is_link(form[link].text):
        raise parameter_error(f"{link} is not an http(s) link.")
    return form[link].text


def _parse_mask(form: Form) -> tuple[MediaInput | None, tuple[Box, ...]]:
    """Return the mask, or else the rectangles: exactly one of them must be given."""
    if "rectangles" not in form:
        return _parse_source(form, "mask_file", "mask_url"), ()
    if "mask_file" in form or "mask_url" in form:
        raise parameter_error("Only one of mask_file, mask_url and rectangles may be given.")
    try:
        rectangles = json.loads(form["rectangles"].text)
    except (ValueError, RecursionError):
        raise parameter_error("rectangles is not valid JSON.") from None
    if not isinstance(rectangles, list) or not 1 <= len(rectangles) <= _MAX_RECTANGLES:
        raise parameter_error(f"rectangles must be a list of 1 to {_MAX_RECTANGLES} objects.")
    return None, tuple(_parse_rectangle(rectangle) for rectangle in rectangles)


def _parse_rectangle(rectangle: object) -> Box:
    if not isinstance(rectangle, dict) or sorted(rectangle) != sorted(_SIDES):
        raise parameter_error("A rectangle must have x, y, width and height, and nothing else.")
    x, y, width, height = (rectangle[side] for side in _SIDES)
    # type(), because true is an int
    if any(type(side) is not int for side in (x, y, width, height)) or min(x, y) < 0 or min(width, height) < 1:
        raise parameter_error("A rectangle must be in whole pixels, inside the image and not empty.")
    return x, y, width, height


def _parse_callback_url(form: Form) -> str | None:
    if "callback_url" not in form:
        return None
    if not is_link(form["callback_url"].text):
        raise parameter_error("callback_url is not an http(s) link.")
    return form["callback_url"].text
