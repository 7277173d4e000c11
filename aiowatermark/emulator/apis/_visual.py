"""The family of gpt.ge and PicWish: a multipart submit, a query by id, and one data object for both."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from aiohttp import web
from attrs import define

from ..backend.image_worker import Order
from ..backend.limits import Limits, Trouble
from ..backend.links import is_link
from ..backend.tasks import Task
from ..web.forms import Form, read_form, text_of
from ..web.responses import Answer, Reason, wrong
from ..web.routes import Route
from .base import Dialect

_FIELDS = ("file", "url", "sync", "callback_url")
_SUCCEEDED, _QUEUED, _PROCESSING = 1, 0, 4
_STATES: Mapping[Trouble, int] = {
    Trouble.LINK: -3,
    Trouble.SIZE: -5,
    Trouble.PICTURE: -7,
    Trouble.INTERNAL: -1,
}
_QUEUE = 0.2  # the part of its time for which a job is queued


@define
class Visual(Dialect):
    """Either of the two; what differs is said by the class."""

    submit_path: ClassVar[str]
    query_path: ClassVar[str]
    limits: ClassVar[Limits] = Limits()
    refusals: ClassVar[Mapping[Reason, tuple[int, int]]] = {
        Reason.METHOD: (405, 405),
        Reason.KEY: (401, 401),
        Reason.PARAMETER: (400, 400),
        Reason.TOO_LARGE: (413, 413),
        Reason.UNKNOWN_TASK: (404, 404),
        Reason.CREDITS: (402, 402),
        Reason.INTERNAL: (500, 500),
    }

    @abstractmethod
    def envelope(self, data: Mapping[str, object]) -> dict[str, object]:
        """The body of an answer that holds this data object."""

    def routes(self) -> tuple[Route, ...]:
        """Submit and query."""
        return (
            Route(("POST",), self.submit_path, "submit", self.submit),
            Route(("GET",), self.query_path + "/{task_id}", "query", self.query),
        )

    def complaint(self, code: int, sentence: str) -> object:
        """An envelope without data."""
        return {"status": code, "message": sentence}

    async def submit(self, request: web.Request) -> Answer:
        """Take a job; with `sync=1` answer when it is done, or pending when that takes too long."""
        form = await read_form(request, _FIELDS)
        waits = text_of(form, "sync", ("0", "1"), "0") == "1"
        order = Order((_source(form),), self.limits)
        task = await self.desk.accept(self.name, order, _callback_url(form), self.data)
        if not waits:
            return Answer.json(self.envelope({"task_id": task.task_id}))
        await self.desk.wait(task)
        return Answer.json(self.envelope(self.data(task)))

    async def query(self, request: web.Request) -> Answer:
        """How the job stands."""
        task = self.desk.tasks.find(self.name, request.match_info["task_id"])
        task.queries += 1
        return Answer.json(self.envelope(self.data(task)))

    def data(self, task: Task) -> dict[str, object]:
        """The data object of the documents; times are whole seconds, 0 where they have not come yet."""
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

    def _file(self, task: Task) -> str:
        stored = task.made[0].stored
        return self.desk.shelf.link(stored) if stored else ""


def _state(task: Task) -> int:
    if task.pending:
        return _QUEUED if task.progress < _QUEUE else _PROCESSING
    if task.trouble is None:
        return _SUCCEEDED
    return int(task.trouble.state) if task.trouble.state else _STATES[task.trouble.trouble]


def _source(form: Form) -> bytes | str:
    if ("file" in form) == ("url" in form):
        raise wrong("Exactly one of file and url has to be given.")
    if "file" in form:
        return form["file"].data
    if not is_link(form["url"].text):
        raise wrong("url is no http(s) link.")
    return form["url"].text


def _callback_url(form: Form) -> str | None:
    if "callback_url" not in form:
        return None
    if not is_link(form["callback_url"].text):
        raise wrong("callback_url is no http(s) link.")
    return form["callback_url"].text
