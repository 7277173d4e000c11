"""Photo Eraser (Wondershare AILab): up to 20 images by URL per job, with one mask for all of them."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar
from urllib.parse import quote

from attrs import Attribute, evolve, field, frozen

from ..capabilities import Capabilities, ImageLimits
from ..codec import parse
from ..errors import (
    AuthenticationError,
    InsufficientCredits,
    InvalidInput,
    JobFailed,
    ProviderUnavailable,
    Rejected,
    UnexpectedAnswer,
    Unsupported,
    WatermarkError,
)
from ..http_errors import is_redirect, raise_unexpected, refusal
from ..introspection import documented
from ..jobs import Job, Output, Record, Snapshot, Status
from ..media.base import Media
from ..media.memory import Link
from ..provider import Flow, Polling, api_key_field
from ..redaction import clean_text, redact_url
from ..wire import Base64, Json, Request, Response
from ._link_matching import match_by_link
from ._parsing import first_items, first_text, json_or_empty, parse_task_id, to_int, to_link, to_task_id, to_wait
from ._regions import RegionalProvider

_RUNNING, _DONE = 2, 3
# 4 to 6: «Result Acquisition»; 7 and 8: inferred from documents of sibling APIs
_FAILURES: Mapping[int, str] = {
    4: "the task failed",
    5: "the task was closed",
    6: "the task timed out",
    **{status: f"the task failed with status {status}, perhaps for an insufficient balance" for status in (7, 8)},
}
_TIMED_OUT = 6
# other pages of the vendor and its own code for sibling APIs; the document of this API names no codes
_ERROR_BY_CODE: Mapping[int, type[WatermarkError]] = {
    374004: AuthenticationError,
    490027: InsufficientCredits,
    490505: InsufficientCredits,
}
# by what codes of six digits begin with; 68: errors of the task, of which nothing runs
_ERROR_BY_FAMILY: Mapping[str, type[WatermarkError]] = {"68": Rejected, "4": Rejected, "5": ProviderUnavailable}


def _validate_priority(_: Any, __: Attribute[int], value: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value not in range(10):
        raise InvalidInput(f"priority must be a whole number from 0 to 9, not {value!r}")


@frozen
class PhotoEraserOptions:
    """Options: `priority`, 0 to 9."""

    priority: int = field(default=1, validator=_validate_priority)


@documented
@frozen(slots=False)
class PhotoEraser(RegionalProvider):
    """A Wondershare AILab account: up to 20 images by URL per job, with one mask for all of them.

    Jobs have one option: `priority`, a whole number from 0 to 9. `snapshot.details["trace_id"]` is what the vendor's
    support asks for; refusals have it in their message.

    Args:
        app_key: the application's key; `PhotoEraser.from_env()` takes it from PHOTOERASER_APP_KEY.
        app_secret: the application's secret; `PhotoEraser.from_env()` takes it from PHOTOERASER_APP_SECRET.
        base_url: the origin of the API; the default is the host of the region.
        region: "global", or "cn" for the host in China.
        polling: the schedule of queries for a job's state.
        requests_per_second: the limit for submissions and queries together; None: no limit is documented.
        account: a stable name for the account, which keeps its jobs when the API key changes; the default is a digest
            of the credentials. Accounts of two regions need two names.

    Raises InvalidInput for an invalid key, base_url or region.
    Source: «Photo Eraser-API Integration».
    """

    CHINA: ClassVar[str] = "https://wsai-api.wondershare.cn"
    name = "photoeraser"
    display_name = "Photo Eraser"
    default_base_url = "https://wsai-api.wondershare.com"
    env = {"app_key": "PHOTOERASER_APP_KEY", "app_secret": "PHOTOERASER_APP_SECRET"}
    # «Input File Restriction»: greater than 256x256, less than 5000x5000
    capabilities = Capabilities(
        images=ImageLimits(
            frozenset({"png", "jpeg", "bmp"}), min_side=257, max_side=4999, max_aspect=4.0, max_bytes=50_000_000
        ),
        files=False,
        batch=20,
        mask="required",
        mask_links=True,
    )
    Options = PhotoEraserOptions

    app_key: str = api_key_field()
    app_secret: str = api_key_field()
    polling: Polling = field(default=Polling(first=3.0), kw_only=True)

    @property
    def headers(self) -> Mapping[str, str]:
        """Basic credentials, and the Content-Type that the document requires for queries too."""
        basic = b64encode(f"{self.app_key}:{self.app_secret}".encode()).decode()
        return {"Authorization": f"Basic {basic}", "Content-Type": "application/json"}

    def submit(self, job: Job, callback_url: str | None) -> Flow:  # noqa: ARG002 - Photo Eraser has no callbacks
        """POST the URLs, the mask and the priority."""
        mask = job.mask.url if isinstance(job.mask, Link) else job.mask and Base64(job.mask)
        images = [_link_url(media) for media in job.inputs]
        body = Json({"images": images, "mask": mask, "priority": job.options["priority"]})
        reply = yield Request("POST", "/v3/pic/rw/batch", body)
        payload = self.check(reply)
        return Snapshot(parse_task_id(payload.get("data"), reply), Status.QUEUED, details=_trace(payload))

    def query(self, record: Record) -> Flow:
        """GET the task."""
        task_id = record.snapshot.task_id or ""
        reply = yield Request("GET", f"/v3/pic/rw/result/{quote(task_id, safe='')}", repeatable=True)
        payload = self.check(reply)
        snapshot = parse_task(task_id, payload.get("data"), record.inputs, reply)
        return evolve(snapshot, details={**snapshot.details, **_trace(payload)})

    def problem(self, reply: Response) -> WatermarkError | None:
        """Return the error by the body's `code`, which must be 0; other codes count by their first digits."""
        error = super().problem(reply)
        payload = {} if is_redirect(reply) else json_or_empty(reply)
        code = payload.get("code")
        number = to_int(code) or 0
        # with an HTTP error, only a code that is known says more
        if code is None or to_int(code) == 0 or (error is not None and number not in _ERROR_BY_CODE):
            return error
        trace = "".join(f", trace_id {trace_id}" for trace_id in _trace(payload).values())
        return refusal(self._class_of_code(number, reply), self.display_name, reply, number, trace)

    def _class_of_code(self, code: int, reply: Response) -> type[WatermarkError]:
        # codes of three digits are HTTP statuses
        if code in range(400, 600):
            return self._kind(Response(code, reply.headers, reply.body))
        family = str(code) if 100_000 <= code < 1_000_000 else ""
        found = (kind for begin, kind in _ERROR_BY_FAMILY.items() if family.startswith(begin))
        return _ERROR_BY_CODE.get(code) or next(found, UnexpectedAnswer)


def _trace(payload: Mapping[str, Any]) -> dict[str, str]:
    """Return the `trace_id` that the answers of this vendor carry; empty if it is missing or cannot be one."""
    data = payload.get("data")
    found = (to_task_id(each.get("trace_id")) for each in (payload, data) if isinstance(each, dict))
    trace_id = next(filter(None, found), None)
    return {} if trace_id is None else {"trace_id": trace_id}


def _link_url(media: Media) -> str:
    if not isinstance(media, Link):
        raise Unsupported(f"Photo Eraser accepts URLs only: {media.name} is not a URL")
    return media.url


@frozen
class _Item:
    image_result: Any = None
    status: Any = None
    reason: Any = None
    image_url: Any = None

    @property
    def source_identity(self) -> str | None:
        """The identity of the URL the item repeats; None if it repeats none."""
        source = to_link(self.image_url)
        return source.identity if source else None

    def output(self) -> Output:
        result = to_link(self.image_result)
        if result is not None and to_int(self.status) not in _FAILURES:
            return Output(result)
        return _failed_output(f"this image failed: {first_text(self.reason, 'no reason given')}")


@frozen
class _Task:
    status: Any = None
    wait_time: Any = None
    list: Any = None


def parse_task(task_id: str, data: Any, inputs: Sequence[str], reply: Response) -> Snapshot:
    """Return the state of a task in the answer to a query; `inputs` are the identities of the job's inputs."""
    task = parse(data, _Task, reply)
    status = to_int(task.status)
    if status is None:
        raise_unexpected("the task's status is not a number", reply)
    if status in _FAILURES or status == _DONE:
        return _parse_terminal(task_id, status, parse(first_items(task.list), tuple[_Item, ...], reply), inputs)
    state = Status.RUNNING if status == _RUNNING else Status.QUEUED
    # wait_time is given in seconds; it is ignored on a finished task
    return Snapshot(task_id, state, retry_after=to_wait(task.wait_time))


def _parse_terminal(task_id: str, status: int, items: Sequence[_Item], inputs: Sequence[str]) -> Snapshot:
    """Return the final state: success if any image succeeded; a failed task keeps the images done before."""
    outputs = _match_outputs(items, inputs) if items or status == _DONE else ()
    if status == _DONE and any(output.media for output in outputs):
        return Snapshot(task_id, Status.SUCCEEDED, 1.0, outputs)
    reason = first_text(*(item.reason for item in items), _FAILURES.get(status, "the task is done without a result"))
    details = {"retryable": True} if status == _TIMED_OUT else {}
    return Snapshot(task_id, Status.FAILED, None, outputs, reason, details=details)


def _match_outputs(items: Sequence[_Item], inputs: Sequence[str]) -> tuple[Output, ...]:
    """Return one output per input, matched by the repeated URL or, if no URL contradicts it, by position.

    An item that cannot be matched is reported in an error, never assigned to a wrong input.
    """
    if not inputs:
        # a record without the inputs' identities: there is nothing to match with
        return tuple(item.output() for item in items)
    match = match_by_link([item.source_identity for item in items], inputs)
    matched: Sequence[_Item | None] = [None if index is None else items[index] for index in match.items]
    unmatched = [items[index] for index in match.unmatched]
    # by position only if every item that was matched by URL is at its input's position
    in_order = all(item in (None, position) for position, item in enumerate(match.items))
    if unmatched and in_order and not match.ambiguous and len(items) == len(inputs):
        matched, unmatched = items, []
    return tuple(item.output() if item else _missing_output(unmatched, len(items), len(inputs)) for item in matched)


def _missing_output(unmatched: Sequence[_Item], results: int, images: int) -> Output:
    if not unmatched:
        return _failed_output("the provider returned no result for this image")
    urls = ", ".join(redact_url(result.url) for item in unmatched if (result := to_link(item.image_result)))
    return _failed_output(
        f"the provider returned {results} results for {images} images and does not say which belongs to which: {urls}"
    )


def _failed_output(message: str) -> Output:
    return Output(error=JobFailed(clean_text(message)))
