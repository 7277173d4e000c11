"""Kaze: images by URL or base64, with coloured brush strokes as the mask."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from ..capabilities import Capabilities
from ..codec import NumberLike, parse
from ..errors import (
    AuthenticationError,
    InsufficientCredits,
    InvalidInput,
    ProviderUnavailable,
    Rejected,
    UnexpectedAnswer,
    WatermarkError,
)
from ..http_errors import is_redirect, raise_unexpected, refusal
from ..introspection import documented
from ..jobs import Job, Output, Record, Snapshot, Status
from ..media import optional_media
from ..media.base import Media
from ..media.masks.strokes import StrokeMask
from ..media.memory import Link
from ..provider import Credits, Exchange, Flow, Polling, Provider, api_key_field
from ..wire import Base64, Json, Request, Response
from ._parsing import first_items, first_text, json_or_empty, parse_task_id, to_float, to_int, to_link

# «Status Codes». 11xx are server errors, which leave a submission in doubt.
_ERROR_BY_CODE: Mapping[int, type[WatermarkError]] = {
    1000: Rejected,
    1001: Rejected,
    1002: AuthenticationError,
    1003: InsufficientCredits,
}


@frozen
class KazeOptions:
    """Options: `smear` is a mask in Kaze's own colours, used in place of `mask` and sent unchanged.

    The brush has any colour except pure black and pure white; everything else is one of the two.
    """

    smear: Media | None = field(default=None, converter=optional_media)


@documented
@frozen(slots=False)
class Kaze(Provider):
    """A Kaze account: images by file or URL, with an optional mask.

    Jobs have one option: `smear`, a mask in Kaze's own colours, in place of `mask`; see `KazeOptions`.

    Args:
        api_key: the key shown in Kaze's console; `Kaze.from_env()` takes it from KAZE_API_KEY.
        base_url: the origin of the API.
        polling: the schedule of queries for a job's state.
        requests_per_second: the limit for submissions and queries together; None: no limit is documented.
        account: a stable name for the account, which keeps its jobs when the API key changes; the default is a digest
            of the credentials.

    Raises InvalidInput for an invalid key or base_url.
    Source: «Watermark Removal», «Task Result Query».
    """

    name = "kaze"
    display_name = "Kaze"
    default_base_url = "https://backend.kaze.ai"
    env = {"api_key": "KAZE_API_KEY"}
    capabilities = Capabilities(mask="optional", stroke_option="smear")
    Options = KazeOptions

    api_key: str = api_key_field()
    polling: Polling = field(default=Polling(first=3.0), kw_only=True)

    @property
    def headers(self) -> Mapping[str, str]:
        """The bearer token."""
        return {"Authorization": f"Bearer {self.api_key}"}

    def submit(self, job: Job, callback_url: str | None) -> Flow:  # noqa: ARG002 - Kaze has no callbacks
        """POST the image and the smear."""
        smear = job.options["smear"]
        if smear is not None and job.mask is not None:
            raise InvalidInput("pass either a mask or the option smear, not both")
        if job.mask is not None:
            smear = StrokeMask(job.mask)
        body = _media_field("image", job.media) | (_media_field("smear", smear) if smear is not None else {})
        reply = yield Request("POST", "/api/ext/v1/submit_watermark_removal", Json(body))
        return Snapshot(parse_task_id(self.check(reply).get("data"), reply), Status.QUEUED)

    def query(self, record: Record) -> Flow:
        """POST the task id."""
        task_id = record.snapshot.task_id
        reply = yield Request("POST", "/api/ext/v1/get_task_result", Json({"task_id": task_id}), repeatable=True)
        return parse_task(task_id, self.check(reply), reply)

    def credits(self) -> Exchange[Credits]:
        """POST an empty object."""
        reply = yield Request("POST", "/api/ext/v1/get_quota", Json({}), repeatable=True)
        return parse_credits(self.check(reply).get("data"), reply)

    def problem(self, reply: Response) -> WatermarkError | None:
        """Return the error by the body's `code`, also where the HTTP status is 200: only 0 is a success.

        A missing code counts as 0, because the documented answer to a query has none.
        """
        error = super().problem(reply)
        if is_redirect(reply):
            return error
        code = json_or_empty(reply).get("code")
        # with these statuses the HTTP status says more than the code
        if code is None or to_int(code) == 0 or reply.status == 429 or reply.status >= 500:
            return error
        number = to_int(code) or 0
        error_class = ProviderUnavailable if number // 100 == 11 else _ERROR_BY_CODE.get(number)
        if error_class is None:
            return error or refusal(UnexpectedAnswer, self.display_name, reply, number)
        return refusal(error_class, self.display_name, reply, number)


def _media_field(name: str, media: Media) -> dict[str, Any]:
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
    remaining: NumberLike
    limit: Any = None
    usage: Any = None


def parse_task(task_id: str | None, payload: Mapping[str, Any], reply: Response) -> Snapshot:
    """Return the state of a task in the answer to a query."""
    task = parse(payload.get("data"), _Task, reply)
    status = task.status.lower()
    if status in {"failed", "timeout"}:
        # the documents do not say whether err_msg is in `data` or beside it
        reason = first_text(task.err_msg, payload.get("err_msg"), status)
        details = {"retryable": True} if status == "timeout" else {}
        return Snapshot(task_id, Status.FAILED, reason=reason, details=details)
    if status != "success":
        return Snapshot(task_id, Status.RUNNING)
    images = parse(first_items(task.images), _Images, reply)
    outputs = tuple(Output(link) for image in images if (link := to_link(image.url)))
    if not outputs:
        raise_unexpected("the task is done and has no image", reply)
    return Snapshot(task_id, Status.SUCCEEDED, 1.0, outputs)


def parse_credits(data: Any, reply: Response) -> Credits:
    """Return the balance in the answer to `get_quota`."""
    quota = parse(data, _Quota, reply)
    return Credits(quota.remaining, to_float(quota.usage), to_float(quota.limit))
