"""gpt.ge as documented: POST /task/pic/watermark_auto, or /task/pic/watermark with a mask, and GET /task/{task_id}."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from aiohttp import web
from attrs import define

from ..backend.tasks import EmulatedTask
from ._visual import VisualApi, VisualCall
from .base import bearer_token

_DETAILS: Mapping[str, str] = {"processing": "Processing", "succeeded": "Complete", "failed": "Failed"}


@define
class GptGe(VisualApi):
    """gpt.ge; the data object has a `state_detail`, the envelope no `message`."""

    name: ClassVar[str] = "gptge"
    calls: ClassVar[tuple[VisualCall, ...]] = (
        VisualCall("/task/pic/watermark_auto", "/task", callbacks=True),
        # which field of its answer has the result is documented nowhere
        VisualCall(
            "/task/pic/watermark", "/task", "image_file", "image_url", result="image", mask=True, callbacks=True
        ),
    )

    def credential(self, request: web.Request) -> str | None:
        """Return the bearer token."""
        return bearer_token(request)

    def envelope(self, data: Mapping[str, object]) -> dict[str, object]:
        """Return the envelope of the documents' response example."""
        return {"status": 200, "data": data}

    def data_of(self, call: VisualCall, task: EmulatedTask) -> dict[str, object]:
        """Return the data object of the documents' response example."""
        return {**VisualApi.data_of(self, call, task), "state_detail": _DETAILS[task.state]}
