"""Dewatermark's videos: a ticket, a PUT to a signed link, the paid submit, and looks until it is done."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from attrs import frozen

from ..codec import TextLike, parse
from ..errors import TransferFailed
from ..http_errors import raise_unexpected
from ..jobs import Job, Output, Record, Snapshot, Status
from ..provider import Exchange, Flow, Provider
from ..wire import Multipart, Request, Response, Value
from ._parsing import parse_task_id, to_float, to_fraction, to_link

_MAX_UPLOAD_LINKS = 3
_LINK_DAYS = 2 * 86_400
_CODE = re.compile(rb"<Code>(\w{1,64})</Code>")


_FAILURES: Mapping[str, str] = {
    "FAILED": "the video failed; the provider refunds its credits",
    "TIMEOUT": "the video timed out; the provider refunds its credits",
}


@frozen
class _Task:
    status: TextLike
    progress: Any = None
    has_watermark: Any = None
    duration: Any = None
    completed_at: Any = None
    download_signed_url: Any = None


def submit_video(provider: Provider, job: Job) -> Flow:
    """Ticket and upload, anew where the link has expired, then the paid request, once."""
    task_id = None
    for left in reversed(range(_MAX_UPLOAD_LINKS)):
        task_id = yield from _upload(provider, job, last=not left)
        if task_id is not None:
            break
    form: dict[str, Value] = {"task_id": task_id or ""}
    if job.mask is not None:
        form["mask_brush"] = job.mask
    reply = yield Request("POST", "/api/video/v1/tasks", Multipart(form))
    # what a good answer holds is not documented: its status is enough
    if (error := provider.problem(reply)) is not None:
        raise error
    return Snapshot(task_id, Status.QUEUED)


def _upload(provider: Provider, job: Job, *, last: bool) -> Exchange[str | None]:
    """The id of the task whose video the storage host has; None where its link has expired."""
    reply = yield Request("POST", "/api/video/v1/upload", repeatable=True)
    payload = provider.check(reply)
    task_id, upload = parse_task_id(payload, reply), to_link(payload.get("upload_signed_url"))
    if upload is None:
        raise_unexpected("the ticket holds no link to upload to", reply)
    yield Snapshot(task_id, Status.UPLOADING)
    reply = yield Request("PUT", upload.url, job.media, signed=True, repeatable=True)
    return task_id if _check_upload(reply, last=last) else None


def query_video(provider: Provider, record: Record, price: float) -> Flow:
    """CREATED and PROCESSING are pending; COMPLETED carries the link; FAILED is refunded."""
    task_id = record.snapshot.task_id or ""
    reply = yield Request("GET", f"/api/video/v1/tasks/{quote(task_id, safe='')}", repeatable=True)
    task = parse(provider.check(reply), _Task, reply)
    status = task.status.upper()
    if status in _FAILURES:
        return Snapshot(task_id, Status.FAILED, reason=_FAILURES[status])
    if status != "COMPLETED":
        return Snapshot(task_id, Status.QUEUED if status == "CREATED" else Status.RUNNING, to_fraction(task.progress))
    result = to_link(task.download_signed_url)
    if result is None:
        raise_unexpected("the video is done and has no link", reply)
    return Snapshot(task_id, Status.SUCCEEDED, 1.0, (Output(result),), details=_details(task, price))


def _details(task: _Task, price: float) -> dict[str, float | bool]:
    duration, completed = to_float(task.duration), to_float(task.completed_at)
    facts = {
        "has_watermark": task.has_watermark if isinstance(task.has_watermark, bool) else None,
        "duration": duration,
        "cost": None if duration is None else round(duration * price, 6),
        "expires_at": None if completed is None else completed + _LINK_DAYS,
    }
    return {name: value for name, value in facts.items() if value is not None}


def _check_upload(reply: Response, *, last: bool) -> bool:
    """Whether the storage host has the file; False where the link has expired and another may be asked for."""
    if reply.status in range(200, 300):
        return True
    found = _CODE.search(reply.body)
    code = found[1].decode() if found else ""
    expired = code == "ExpiredToken" or (reply.status == 403 and code != "SignatureDoesNotMatch")
    if expired and not last:
        return False
    raise TransferFailed(f"the storage host refused the upload: HTTP {reply.status} {code}".rstrip())
