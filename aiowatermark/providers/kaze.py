"""Kaze: pictures by link or base64, with a coloured smear for a mask."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from attrs import field, frozen

from ..capabilities import Capabilities
from ..codec import Numeric, Text, parse
from ..errors import AuthenticationError, InsufficientCredits, ProviderUnavailable, Rejected, WatermarkError
from ..jobs import Job, Output, Record, Snapshot, Status
from ..media import optional_media
from ..media.base import Media
from ..media.memory import Link
from ..media.smear import Smear
from ..provider import Credits, Dialogue, Flow, Polling, Provider, refusal, secret, unexpected
from ..wire import Base64, Json, Request, Response

# «Status Codes»; 11xx are the server's own and leave a submit in doubt
_CODES: Mapping[int, type[WatermarkError]] = {
    1000: Rejected,
    1001: Rejected,
    1002: AuthenticationError,
    1003: InsufficientCredits,
}


@frozen
class KazeOptions:
    """`smear`: a smear of your own, in Kaze's colours, in place of `mask`; sent as it is, by link or as base64."""

    smear: Media | None = field(default=None, converter=optional_media)


@frozen
class _Ticket:
    task_id: Text


@frozen
class _Image:
    url: str


@frozen
class _Task:
    status: str
    images: list[_Image] | None = None
    err_msg: Text | None = None


@frozen
class _Quota:
    remaining: Numeric
    limit: Numeric | None = None
    usage: Numeric | None = None


@frozen(slots=False)
class Kaze(Provider):
    """The Kaze account of `api_key`. Options: `smear`. Source: «Watermark Removal», «Task Result Query»."""

    name = "kaze"
    title = "Kaze"
    home = "https://backend.kaze.ai"
    env = {"api_key": "KAZE_API_KEY"}
    capabilities = Capabilities(mask="optional")
    Options = KazeOptions

    api_key: str = secret()
    polling: Polling = field(default=Polling(first=3.0), kw_only=True)

    @cached_property
    def headers(self) -> Mapping[str, str]:
        """The bearer token."""
        return {"Authorization": f"Bearer {self.api_key}"}

    def submit(self, job: Job, callback_url: str | None) -> Flow:  # noqa: ARG002 - Kaze calls nobody
        """POST the picture and the smear."""
        body = _part("image", job.media)
        smear = job.options["smear"] or (Smear(job.mask) if job.mask else None)
        if smear is not None:
            body |= _part("smear", smear)
        reply = yield Request("POST", "/api/ext/v1/submit_watermark_removal", Json(body))
        ticket = parse(self.check(reply).get("data"), _Ticket, reply)
        return Snapshot(ticket.task_id, Status.QUEUED)

    def query(self, record: Record) -> Flow:
        """POST the task's id; asking costs nothing."""
        body = Json({"task_id": record.snapshot.task_id})
        reply = yield Request("POST", "/api/ext/v1/get_task_result", body, repeatable=True)
        payload = self.check(reply)
        task = parse(payload.get("data"), _Task, reply)
        task_id = record.snapshot.task_id
        if task.status in {"failed", "timeout"}:
            # where err_msg stands is not documented
            reason = task.err_msg or payload.get("err_msg") or task.status
            return Snapshot(task_id, Status.FAILED, reason=str(reason))
        if task.status != "success":
            return Snapshot(task_id, Status.RUNNING)
        if not task.images:
            unexpected("the task is done and names no image", reply)
        return Snapshot(task_id, Status.SUCCEEDED, 1.0, tuple(Output(Link(image.url)) for image in task.images))

    def credits(self) -> Dialogue[Credits]:
        """POST an empty object for the quota."""
        reply = yield Request("POST", "/api/ext/v1/get_quota", Json({}), repeatable=True)
        quota = parse(self.check(reply).get("data"), _Quota, reply)
        return Credits(quota.remaining, quota.usage, quota.limit)

    def problem(self, reply: Response) -> WatermarkError | None:
        """HTTP 200 is no proof: `code` must be 0; absent, as in the documented result, means 0."""
        if (error := super().problem(reply)) is not None:
            return error
        code = reply.json().get("code", 0)
        if code in {0, "0"}:
            return None
        number = int(code) if str(code).isdecimal() else 1000
        kind = ProviderUnavailable if number // 100 == 11 else _CODES.get(number, Rejected)
        return refusal(kind, f"{self.title} refused with code {code}", reply)


def _part(name: str, media: Media) -> dict[str, Any]:
    return {f"{name}_url": media.url} if isinstance(media, Link) else {f"{name}_base64": Base64(media)}
