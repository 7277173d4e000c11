"""gpt.ge as its documents have it: POST /task/pic/watermark_auto, GET /task/{task_id}."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from aiohttp import web
from attrs import define

from ..backend.tasks import Task
from ._visual import Visual
from .base import bearer

_DETAILS: Mapping[str, str] = {"processing": "Processing", "succeeded": "Complete", "failed": "Failed"}


@define
class GptGe(Visual):
    """Its data object has a `state_detail`, its envelope no `message`."""

    name: ClassVar[str] = "gptge"
    submit_path: ClassVar[str] = "/task/pic/watermark_auto"
    query_path: ClassVar[str] = "/task"

    def credential(self, request: web.Request) -> str | None:
        """The bearer token."""
        return bearer(request)

    def envelope(self, data: Mapping[str, object]) -> dict[str, object]:
        """As in the response example."""
        return {"status": 200, "data": data}

    def data(self, task: Task) -> dict[str, object]:
        """As in the response example."""
        return {**Visual.data(self, task), "state_detail": _DETAILS[task.state]}
