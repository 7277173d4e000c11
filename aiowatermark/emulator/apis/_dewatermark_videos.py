"""Dewatermark's videos: an upload URL, an upload to the storage host, a paid start, and queries with progress."""

from __future__ import annotations

import secrets
import string
from collections.abc import Mapping
from typing import ClassVar

from attrs import define, field

from ..backend.jobs import JobService
from ..backend.limits import JobFailure, inspect_image
from ..backend.tasks import EmulatedTask
from ..storage.objects import Upload
from ..web.forms import Form
from ..web.responses import ApiResponse, parameter_error

_ID_CHARACTERS = string.ascii_letters + string.digits
_BUCKET = "dewatermark-videos-emulator"
_STATUSES: Mapping[str, str] = {
    "created": "CREATED",
    "processing": "PROCESSING",
    "succeeded": "COMPLETED",
    "failed": "FAILED",
}


@define
class VideoEndpoints:
    """Answers the video calls of one provider."""

    name: str
    jobs: JobService
    _uploads: dict[str, Upload] = field(init=False, factory=dict)

    price: ClassVar[float] = 0.2  # credits per second

    def create_upload(self) -> ApiResponse:
        """Step 1: answer with a task id and an upload URL; not charged."""
        task = self.jobs.create(self.name, "".join(secrets.choice(_ID_CHARACTERS) for _ in range(20)))
        upload = self._uploads[task.task_id] = self.jobs.objects.create_upload(self.name, task.task_id)
        return ApiResponse.json(
            {
                "task_id": task.task_id,
                "upload_signed_url": upload.link,
                "file_path": f"{_BUCKET}/{task.task_id}",
                "status": "CREATED",
                "push_notification_token": None,
                "created_at": int(task.created_at),
            }
        )

    def start(self, form: Form) -> ApiResponse:
        """Step 3: charge the task at every call, and start the work at the first one. Raises ApiError."""
        if "task_id" not in form:
            raise parameter_error("task_id must be given.")
        task = self.jobs.tasks.find(self.name, form["task_id"].text)
        upload = self._uploads.get(task.task_id)
        if upload is None:
            raise parameter_error("The task is not a video task.")
        if not upload.complete:
            raise parameter_error("The video has not been uploaded.")
        mask = _parse_mask(form)
        already_started = task.started
        self.jobs.charge(task)
        if not already_started:
            self.jobs.submit_video(task, upload.target, mask, self.price)
        return ApiResponse.json({**self._task_object(task), "status": "CREATED"})

    def query(self, task_id: str) -> ApiResponse:
        """Step 4: answer with the state of the task. Raises ApiError."""
        task = self.jobs.tasks.find(self.name, task_id)
        task.queries += 1
        return ApiResponse.json(self._task_object(task))

    def _task_object(self, task: EmulatedTask) -> dict[str, object]:
        """Return the task as in the documents' example; null for what is not known yet."""
        upload = self._uploads.get(task.task_id)
        started_at = None if task.started_at is None else int(task.started_at)
        return {
            "created_at": int(task.created_at),
            "task_id": task.task_id,
            "instance_name": "aiowatermark-emulator" if started_at else None,
            "progress": 1 if task.state == "succeeded" else round(task.progress, 3),
            "file_path": f"{_BUCKET}/{task.task_id}",
            "completed_at": None if task.pending else int(task.completed_at),
            "upload_signed_url": upload.link if upload else None,
            "push_notification_token": None,
            # "CREATED" also follows a start: the status changes when the work makes progress
            "status": "CREATED" if task.pending and not task.progress else _STATUSES[task.state],
            "started_at": started_at,
            **self._result_fields(task),
        }

    def _result_fields(self, task: EmulatedTask) -> dict[str, object]:
        if task.state != "succeeded" or task.outputs[0].stored is None:
            return {"has_watermark": None, "duration": None, "download_signed_url": None}
        output = task.outputs[0]
        link = self.jobs.objects.create_link(task.outputs[0].stored)
        return {"has_watermark": output.found, "duration": round(output.duration, 2), "download_signed_url": link}


def _parse_mask(form: Form) -> bytes | None:
    """Return the PNG that newer documents allow as `mask_brush`."""
    if "mask_brush" not in form:
        return None
    try:
        return inspect_image(form["mask_brush"].data).data
    except JobFailure as failure:
        raise parameter_error(f"mask_brush: {failure.reason}") from None
