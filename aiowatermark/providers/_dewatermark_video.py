"""Dewatermark's video calls: request an upload URL, PUT the file, submit (paid), and query the task."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from attrs import frozen

from ..charges import Charge
from ..codec import TextLike, parse
from ..errors import TransferFailed, Unsupported
from ..http_errors import raise_unexpected
from ..jobs import Job, Output, Record, Snapshot, Status
from ..media.base import Media
from ..provider import Exchange, Flow, Provider
from ..wire import FieldValue, Multipart, Request, Response
from ._parsing import content_types, parse_task_id, to_charge, to_float, to_fraction, to_link

_MAX_UPLOAD_URLS = 3
_RESULT_URL_SECONDS = 2 * 86_400
# credits per second in the document; a newer copy says 0.5, so it is a guess
_GUESSED_PRICE = 0.2
# error body of the storage host (Google Cloud Storage)
_ERROR_CODE = re.compile(rb"<Code>(\w{1,64})</Code>")
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
    started_at: Any = None
    download_signed_url: Any = None


def submit_video(provider: Provider, job: Job) -> Flow:
    """Upload the video, with a new URL if one has expired, then send the paid request."""
    task_id = None
    for remaining in reversed(range(_MAX_UPLOAD_URLS)):
        task_id = yield from _upload(provider, job, last=not remaining)
        if task_id is not None:
            break
    return (yield from _start(provider, task_id or "", job.mask))


def start_video(provider: Provider, record: Record) -> Flow:
    """Send the paid request for a video that was uploaded; raises Unsupported if its mask is not known any more."""
    if record.masked:
        raise Unsupported("the video was uploaded and not started, nothing was paid: submit it again, with its mask")
    return (yield from _start(provider, record.snapshot.task_id or "", None))


def _start(provider: Provider, task_id: str, mask: Media | None) -> Flow:
    form: dict[str, FieldValue] = {"task_id": task_id}
    if mask is not None:
        form["mask_brush"] = mask
    reply = yield Request("POST", "/api/video/v1/tasks", Multipart(form, content_types(form)))
    # the body of a successful answer is not documented, so only the status counts
    if (error := provider.problem(reply)) is not None:
        raise error
    return Snapshot(task_id, Status.QUEUED)


def _upload(provider: Provider, job: Job, *, last: bool) -> Exchange[str | None]:
    """Upload the video to a new URL; return its task id, or None if the URL has expired and this was not the last."""
    reply = yield Request("POST", "/api/video/v1/upload", repeatable=True)
    payload = provider.check(reply)
    task_id, upload = parse_task_id(payload, reply), to_link(payload.get("upload_signed_url"))
    if upload is None:
        raise_unexpected("the answer has no upload URL", reply)
    # the id is persisted before the upload, so that a crash does not lose it
    yield Snapshot(task_id, Status.UPLOADING)
    reply = yield Request("PUT", upload.url, job.media, signed=True, repeatable=True)
    return task_id if _check_upload(reply, last=last) else None


def query_video(provider: Provider, record: Record, price: float | None) -> Flow:
    """GET the task; `price` is in credits per second, None if it is not known.

    CREATED is "not yet submitted", unless it says when it was started; where our start was accepted, a record that says
    so is ahead of it and stays. COMPLETED has the result's URL, FAILED and TIMEOUT are refunded, the rest is running.
    """
    task_id = record.snapshot.task_id or ""
    reply = yield Request("GET", f"/api/video/v1/tasks/{quote(task_id, safe='')}", repeatable=True)
    task = parse(provider.check(reply), _Task, reply)
    status = task.status.upper()
    if status in _FAILURES:
        hint = {"retryable": True} if status == "TIMEOUT" else {}
        refunded = Charge(0.0, "price list")
        return Snapshot(task_id, Status.FAILED, reason=_FAILURES[status], details=hint, charged=refunded)
    if status != "COMPLETED":
        is_started = status != "CREATED" or task.started_at is not None
        return Snapshot(task_id, Status.RUNNING if is_started else Status.UPLOADING, to_fraction(task.progress))
    result = to_link(task.download_signed_url)
    if result is None:
        raise_unexpected("the video is done and has no download URL", reply)
    details = _details(task, price)
    charged = None if price is None else to_charge(details.get("cost"), "price list")
    return Snapshot(task_id, Status.SUCCEEDED, 1.0, (Output(result),), details=details, charged=charged)


def _details(task: _Task, price: float | None) -> dict[str, float]:
    """Return what the answer tells of a finished video: seconds, credits, and the result's expiry since 1970."""
    duration, completed = to_float(task.duration), to_float(task.completed_at)
    per_second = _GUESSED_PRICE if price is None else price
    details = {
        "has_watermark": task.has_watermark if isinstance(task.has_watermark, bool) else None,
        "duration": duration,
        "cost": None if duration is None else to_float(round(duration * per_second, 6)),
        "cost_is_guess": True if price is None and duration is not None else None,
        "expires_at": None if completed is None else completed + _RESULT_URL_SECONDS,
    }
    return {name: value for name, value in details.items() if value is not None}


def _check_upload(reply: Response, *, last: bool) -> bool:
    """Whether the storage host accepted the file; False if the URL has expired and another may be requested.

    Raises TransferFailed for any other refusal, and for an expired URL if `last`.
    """
    if reply.status in range(200, 300):
        return True
    match = _ERROR_CODE.search(reply.body)
    code = match[1].decode() if match else ""
    # the storage host documents 400 ExpiredToken; 403 may mean the same, but a wrong signature would fail again
    expired = code == "ExpiredToken" or (reply.status == 403 and code != "SignatureDoesNotMatch")
    if expired and not last:
        return False
    raise TransferFailed(f"the storage host refused the upload: HTTP {reply.status} {code}".rstrip())
