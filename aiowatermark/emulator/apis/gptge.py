"""gpt.ge as documented: POST /task/pic/watermark_auto and GET /task/{task_id}."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from aiohttp import web
from attrs import define

from ..backend.tasks import EmulatedTask
from ._visual import VisualApi
from .base import bearer_token

_DETAILS: Mapping[str, str] = {"processing": "Processing", "succeeded": "Complete", "failed": "Failed"}


@define
class GptGe(VisualApi):
    """gpt.ge; the data object has a `state_detail`, the envelope no `message`."""

    name: ClassVar[str] = "gptge"
    submit_path: ClassVar[str] = "/task/pic/watermark_auto"
    query_path: ClassVar[str] = "/task"

    def credential(self, request: web.Request) -> str | None:
        """Return the bearer token."""
        return bearer_token(request)

    def envelope(self, data: Mapping[str, object]) -> dict[str, object]:
        """Return the envelope of the documents' response example."""
        return {"status": 200, "data": data}

    def data(self, task: EmulatedTask) -> dict[str, object]:
        """Return the data object of the documents' response example."""
        return {**VisualApi.data(self, task), "state_detail": _DETAILS[task.state]}
