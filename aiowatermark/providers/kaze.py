"""Kaze: pictures by link or base64, with a coloured smear for a mask."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from ..capabilities import Capabilities
from ..codec import Numeric, parse
from ..errors import (
    AuthenticationError,
    InsufficientCredits,
    InvalidInput,
    ProviderUnavailable,
    Rejected,
    UnexpectedAnswer,
    WatermarkError,
)
from ..http_errors import refusal, unexpected
from ..jobs import Job, Output, Record, Snapshot, Status
from ..media import optional_media
from ..media.base import Media
from ..media.memory import Link
from ..media.stroke_mask import Smear
from ..provider import Credits, Dialogue, Flow, Polling, Provider, secret
from ..wire import Base64, Json, Request, Response
from ._parsing import link, number, ticket, told, whole, words

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

    @property
    def headers(self) -> Mapping[str, str]:
        """The bearer token."""
        return {"Authorization": f"Bearer {self.api_key}"}

    def submit(self, job: Job, callback_url: str | None) -> Flow:  # noqa: ARG002 - Kaze calls nobody
        """POST the picture and the smear."""
        smear = job.options["smear"]
        if smear is not None and job.mask is not None:
            raise InvalidInput("give a mask or a smear of your own, not both")
        if job.mask is not None:
            smear = Smear(job.mask)
        body = _part("image", job.media) | (_part("smear", smear) if smear is not None else {})
        reply = yield Request("POST", "/api/ext/v1/submit_watermark_removal", Json(body))
        return Snapshot(ticket(self.check(reply).get("data"), reply), Status.QUEUED)

    def query(self, record: Record) -> Flow:
        """POST the task's id; asking costs nothing."""
        task_id = record.snapshot.task_id
        reply = yield Request("POST", "/api/ext/v1/get_task_result", Json({"task_id": task_id}), repeatable=True)
        return snapshot_of(task_id, self.check(reply), reply)

    def credits(self) -> Dialogue[Credits]:
        """POST an empty object for the quota."""
        reply = yield Request("POST", "/api/ext/v1/get_quota", Json({}), repeatable=True)
        return credits_of(self.check(reply).get("data"), reply)

    def problem(self, reply: Response) -> WatermarkError | None:
        """HTTP 200 is no proof: `code` must be 0; absent, as in the documented result, means 0."""
        error = super().problem(reply)
        code = told(reply).get("code")
        if code is None or whole(code) == 0 or reply.status == 429 or reply.status >= 500:
            return error
        number = whole(code) or 0
        kind = ProviderUnavailable if number // 100 == 11 else _CODES.get(number)
        if kind is None:
            return error or refusal(UnexpectedAnswer, f"{self.title} gave a code no document explains", reply)
        return refusal(kind, f"{self.title} refused with code {number}", reply)


def _part(name: str, media: Media) -> dict[str, Any]:
    return {f"{name}_url": media.url} if isinstance(media, Link) else {f"{name}_base64": Base64(media)}


@frozen
class _Image:
    url: Any = None


_Images = tuple[_Image, ...]


@frozen
class _Task:
    status: str
    images: Any = None
    err_msg: Any = None


@frozen
class _Quota:
    remaining: Numeric
    limit: Any = None
    usage: Any = None


def snapshot_of(task_id: str | None, payload: Mapping[str, Any], reply: Response) -> Snapshot:
    """What the answer to a look says of a task."""
    task = parse(payload.get("data"), _Task, reply)
    status = task.status.lower()
    if status in {"failed", "timeout"}:
        # where err_msg stands is not documented
        return Snapshot(task_id, Status.FAILED, reason=words(task.err_msg, payload.get("err_msg"), status))
    if status != "success":
        return Snapshot(task_id, Status.RUNNING)
    images = parse(task.images or (), _Images, reply)
    outputs = tuple(Output(found) for image in images if (found := link(image.url)))
    if not outputs:
        unexpected("the task is done and names no image", reply)
    return Snapshot(task_id, Status.SUCCEEDED, 1.0, outputs)


def credits_of(data: Any, reply: Response) -> Credits:
    """What the account holds."""
    quota = parse(data, _Quota, reply)
    return Credits(quota.remaining, number(quota.usage), number(quota.limit))
