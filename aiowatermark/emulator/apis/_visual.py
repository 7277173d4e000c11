"""The API family of gpt.ge and PicWish: a multipart submit, a query by id, and the same data object in both."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from aiohttp import web
from attrs import define

from ..backend.image_worker import ImageJob
from ..backend.limits import FailureKind, ImageRules
from ..backend.links import is_link
from ..backend.tasks import EmulatedTask
from ..web.forms import Form, read_choice, read_form
from ..web.responses import ApiResponse, parameter_error
from ..web.routes import Route
from .base import EmulatedApi

_FIELDS = ("file", "url", "sync", "callback_url")
_SUCCEEDED, _QUEUED, _PROCESSING = 1, 0, 4
_FAILURE_STATES: Mapping[FailureKind, int] = {
    FailureKind.LINK: -3,
    FailureKind.SIZE: -5,
    FailureKind.IMAGE: -7,
    FailureKind.INTERNAL: -1,
}
_QUEUED_FRACTION = 0.2  # of the processing time


@define
class VisualApi(EmulatedApi):
    """What gpt.ge and PicWish have in common; the subclasses define paths, credential and envelope."""

    submit_path: ClassVar[str]
    query_path: ClassVar[str]
    limits: ClassVar[ImageRules] = ImageRules()

    @abstractmethod
    def envelope(self, data: Mapping[str, object]) -> dict[str, object]:
        """Return the body of a response that contains this data object."""

    def routes(self) -> tuple[Route, ...]:
        """Return the routes of submit and query."""
        return (
            Route(("POST",), self.submit_path, "submit", self.submit),
            Route(("GET",), self.query_path + "/{task_id}", "query", self.query),
        )

    def error_body(self, code: int, message: str) -> object:
        """Return an envelope without data."""
        return {"status": code, "message": message}

    async def submit(self, request: web.Request) -> ApiResponse:
        """Accept a job; with `sync=1` answer when it is done, or as pending if that takes too long."""
        form = await read_form(request, _FIELDS)
        sync = read_choice(form, "sync", ("0", "1"), "0") == "1"
        job = ImageJob((_parse_source(form),), self.limits)
        task = await self.jobs.submit_images(self.name, job, _parse_callback_url(form), self.data)
        if not sync:
            return ApiResponse.json(self.envelope({"task_id": task.task_id}))
        await self.jobs.wait(task)
        return ApiResponse.json(self.envelope(self.data(task)))

    async def query(self, request: web.Request) -> ApiResponse:
        """Answer with the data object of the task."""
        task = self.jobs.tasks.find(self.name, request.match_info["task_id"])
        task.queries += 1
        return ApiResponse.json(self.envelope(self.data(task)))

    def data(self, task: EmulatedTask) -> dict[str, object]:
        """Return the data object of the documents; times are whole seconds, 0 while unknown."""
        state = _state(task)
        done = not task.pending
        return {
            "completed_at": int(task.completed_at) if done else 0,
            "created_at": int(task.created_at),
            "file": self._file(task) if state == _SUCCEEDED else "",
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


def _parse_source(form: Form) -> bytes | str:
    # "If this parameter is present, the other image source parameter must be empty."
    if ("file" in form) == ("url" in form):
        raise parameter_error("Exactly one of file and url must be given.")
    if "file" in form:
        return form["file"].data
    if not is_link(form["url"].text):
        raise parameter_error("url is not an http(s) link.")
    return form["url"].text


def _parse_callback_url(form: Form) -> str | None:
    if "callback_url" not in form:
        return None
    if not is_link(form["callback_url"].text):
        raise parameter_error("callback_url is not an http(s) link.")
    return form["callback_url"].text
