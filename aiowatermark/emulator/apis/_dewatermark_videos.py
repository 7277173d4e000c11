"""Dewatermark's videos: a ticket, an upload to the storage host, a paid start, and queries with progress."""

from __future__ import annotations

import secrets
import string
from collections.abc import Mapping
from typing import ClassVar

from attrs import define, field

from ..backend.jobs import Desk
from ..backend.limits import Failure, examine
from ..backend.tasks import Task
from ..storage.objects import Upload
from ..web.forms import Form
from ..web.responses import Answer, wrong

_LETTERS = string.ascii_letters + string.digits
_BUCKET = "dewatermark-videos-emulator"
_STATUSES: Mapping[str, str] = {
    "created": "CREATED",
    "processing": "PROCESSING",
    "succeeded": "COMPLETED",
    "failed": "FAILED",
}


@define
class Footage:
    """The four steps of the video API of one provider."""

    name: str
    desk: Desk
    _uploads: dict[str, Upload] = field(init=False, factory=dict)

    price: ClassVar[float] = 0.2  # credits a second

    def ticket(self) -> Answer:
        """Step 1: an id and a place for the file; costs nothing."""
        task = self.desk.opened(self.name, "".join(secrets.choice(_LETTERS) for _ in range(20)))
        upload = self._uploads[task.task_id] = self.desk.shelf.expect(self.name, task.task_id)
        return Answer.json(
            {
                "task_id": task.task_id,
                "upload_signed_url": upload.link,
                "file_path": f"{_BUCKET}/{task.task_id}",
                "status": "CREATED",
                "push_notification_token": None,
                "created_at": int(task.created_at),
            }
        )

    def start(self, form: Form) -> Answer:
        """Step 3: the job is charged for, every time this is called, and begun once. Raises Refusal."""
        if "task_id" not in form:
            raise wrong("task_id has to be given.")
        task = self.desk.tasks.find(self.name, form["task_id"].text)
        upload = self._uploads.get(task.task_id)
        if upload is None:
            raise wrong("The task is none of a video.")
        if not upload.complete:
            raise wrong("The video has not been uploaded.")
        mask = _mask(form)
        begun = task.started
        self.desk.pay(task)
        if not begun:
            self.desk.produce(task, upload.target, mask, self.price)
        return Answer.json({**self._object(task), "status": "CREATED"})

    def query(self, task_id: str) -> Answer:
        """Step 4: how the job stands. Raises Refusal."""
        task = self.desk.tasks.find(self.name, task_id)
        task.queries += 1
        return Answer.json(self._object(task))

    def _object(self, task: Task) -> dict[str, object]:
        """The task as in the documents' example; null where nothing is known yet."""
        upload = self._uploads.get(task.task_id)
        started = None if task.started_at is None else int(task.started_at)
        return {
            "created_at": int(task.created_at),
            "task_id": task.task_id,
            "instance_name": "aiowatermark-emulator" if started else None,
            "progress": 1 if task.state == "succeeded" else round(task.progress, 3),
            "file_path": f"{_BUCKET}/{task.task_id}",
            "completed_at": None if task.pending else int(task.completed_at),
            "upload_signed_url": upload.link if upload else None,
            "push_notification_token": None,
            "status": "CREATED" if task.pending and not task.progress else _STATUSES[task.state],
            "started_at": started,
            **self._outcome(task),
        }

    def _outcome(self, task: Task) -> dict[str, object]:
        if task.state != "succeeded" or task.made[0].stored is None:
            return {"has_watermark": None, "duration": None, "download_signed_url": None}
        made = task.made[0]
        link = self.desk.shelf.link(task.made[0].stored)
        return {"has_watermark": made.found, "duration": round(made.duration, 2), "download_signed_url": link}


def _mask(form: Form) -> bytes | None:
    """The PNG that newer documents allow."""
    if "mask_brush" not in form:
        return None
    try:
        return examine(form["mask_brush"].data).data
    except Failure as failure:
        raise wrong(f"mask_brush: {failure.reason}") from None
