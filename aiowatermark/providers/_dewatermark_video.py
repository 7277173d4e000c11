"""Dewatermark's videos: a ticket, a PUT to a signed link, the paid submit, and looks until it is done."""

from __future__ import annotations

import re
from urllib.parse import quote

from attrs import frozen

from ..codec import Numeric, Text, parse
from ..errors import TransferFailed
from ..jobs import Job, Output, Record, Snapshot, Status
from ..media.memory import Link
from ..provider import Flow, Provider, unexpected
from ..wire import Multipart, Request, Response, Value

_TICKETS = 3
_LINK_DAYS = 2 * 86_400
_CODE = re.compile(rb"<Code>(\w{1,64})</Code>")


@frozen
class _Ticket:
    task_id: Text
    upload_signed_url: str


@frozen
class _Task:
    status: str
    progress: Numeric | None = None
    has_watermark: bool | None = None
    duration: Numeric | None = None
    completed_at: Numeric | None = None
    download_signed_url: str | None = None


def submit_video(provider: Provider, job: Job) -> Flow:
    """Ticket and upload, anew where the link has expired, then the paid request, once."""
    for attempt in range(_TICKETS):
        reply = yield Request("POST", "/api/video/v1/upload", repeatable=True)
        ticket = parse(provider.check(reply), _Ticket, reply)
        yield Snapshot(ticket.task_id, Status.UPLOADING)
        put = Request("PUT", ticket.upload_signed_url, job.media, signed=True, repeatable=True)
        if _stored((yield put), last=attempt == _TICKETS - 1):
            break
    form: dict[str, Value] = {"task_id": ticket.task_id}
    if job.mask is not None:
        form["mask_brush"] = job.mask
    reply = yield Request("POST", "/api/video/v1/tasks", Multipart(form))
    provider.check(reply)
    return Snapshot(ticket.task_id, Status.QUEUED)


def query_video(provider: Provider, record: Record, price: float) -> Flow:
    """CREATED and PROCESSING are pending; COMPLETED carries the link; FAILED is refunded."""
    task_id = record.snapshot.task_id or ""
    reply = yield Request("GET", f"/api/video/v1/tasks/{quote(task_id, safe='')}", repeatable=True)
    task = parse(provider.check(reply), _Task, reply)
    if task.status == "FAILED":
        return Snapshot(task_id, Status.FAILED, reason="the video failed; the provider refunds its credits")
    if task.status != "COMPLETED":
        status = Status.QUEUED if task.status == "CREATED" else Status.RUNNING
        return Snapshot(task_id, status, task.progress)
    if not task.download_signed_url:
        unexpected("the video is done and has no link", reply)
    return Snapshot(
        task_id, Status.SUCCEEDED, 1.0, (Output(Link(task.download_signed_url)),), details=_details(task, price)
    )


def _details(task: _Task, price: float) -> dict[str, float | bool]:
    expires = task.completed_at + _LINK_DAYS if task.completed_at is not None else None
    cost = round(task.duration * price, 6) if task.duration is not None else None
    facts = {"has_watermark": task.has_watermark, "duration": task.duration, "cost": cost, "expires_at": expires}
    return {name: value for name, value in facts.items() if value is not None}


def _stored(reply: Response, *, last: bool) -> bool:
    """Whether the storage host has the file; False where the link has expired and another may be asked for."""
    if reply.status in {200, 201}:
        return True
    found = _CODE.search(reply.body)
    code = found[1].decode() if found else f"HTTP {reply.status}"
    expired = code == "ExpiredToken" or (reply.status == 403 and code != "SignatureDoesNotMatch")
    if expired and not last:
        return False
    msg = f"the storage host refused the upload: {code}"
    raise TransferFailed(msg)
