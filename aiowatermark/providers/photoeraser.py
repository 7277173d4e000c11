"""Photo Eraser: up to 20 linked pictures a job, one mask for all of them."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar
from urllib.parse import quote

from attrs import Attribute, field, frozen

from ..capabilities import Capabilities, ImageLimits
from ..codec import parse
from ..errors import (
    InsufficientCredits,
    InvalidInput,
    JobFailed,
    ProviderUnavailable,
    Rejected,
    UnexpectedAnswer,
    Unsupported,
    WatermarkError,
)
from ..http_errors import error_from_response, raise_unexpected
from ..jobs import Job, Output, Record, Snapshot, Status
from ..media.base import Media
from ..media.memory import Link
from ..provider import Flow, Polling, Provider, api_key_field
from ..redaction import redact_url
from ..wire import Base64, Json, Request, Response
from ._parsing import first_text, json_or_empty, parse_task_id, to_float, to_int, to_link


def _validate_priority(_: Any, __: Attribute[int], value: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value not in range(10):
        raise InvalidInput(f"priority is a whole number from 0 to 9, not {value!r}")


@frozen
class PhotoEraserOptions:
    """`priority`: 0 to 9."""

    priority: int = field(default=1, validator=_validate_priority)


@frozen(slots=False)
class PhotoEraser(Provider):
    """The Wondershare AILab account of `app_key` and `app_secret`. Options: `priority`.

    `base_url=PhotoEraser.CHINA` is the host for China. Source: «Photo Eraser-API Integration».
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
        """Basic credentials; the document wants a Content-Type on queries too."""
        basic = b64encode(f"{self.app_key}:{self.app_secret}".encode()).decode()
        return {"Authorization": f"Basic {basic}", "Content-Type": "application/json"}

    def submit(self, job: Job, callback_url: str | None) -> Flow:  # noqa: ARG002 - Photo Eraser calls nobody
        """POST the links, the mask and the priority."""
        mask = job.mask.url if isinstance(job.mask, Link) else job.mask and Base64(job.mask)
        images = [_link_url(media) for media in job.inputs]
        body = Json({"images": images, "mask": mask, "priority": job.options["priority"]})
        reply = yield Request("POST", "/v3/pic/rw/batch", body)
        return Snapshot(parse_task_id(self.check(reply).get("data"), reply), Status.QUEUED)

    def query(self, record: Record) -> Flow:
        """GET the task; a pending one says how long to wait."""
        task_id = record.snapshot.task_id or ""
        reply = yield Request("GET", f"/v3/pic/rw/result/{quote(task_id, safe='')}", repeatable=True)
        return parse_task(task_id, self.check(reply).get("data"), record.inputs, reply)

    def problem(self, reply: Response) -> WatermarkError | None:
        """`code` must be 0; 490027 is «insufficient balance»; the others are read by their first digits."""
        error = super().problem(reply)
        code = json_or_empty(reply).get("code")
        if to_int(code) == 490027:
            return error_from_response(InsufficientCredits, f"{self.display_name}: the balance is insufficient", reply)
        if error is not None or code is None or to_int(code) == 0:
            return error
        return error_from_response(self._kind_of(to_int(code) or 0, reply), f"{self.display_name} refused", reply)

    def _kind_of(self, code: int, reply: Response) -> type[WatermarkError]:
        if code in range(400, 600):
            return self._kind(Response(code, reply.headers, reply.body))
        return {4: Rejected, 5: ProviderUnavailable}.get(code // 100_000, UnexpectedAnswer)


def _link_url(media: Media) -> str:
    if not isinstance(media, Link):
        raise Unsupported(f"Photo Eraser takes links only: {media.name} is none")
    return media.url


_FAILURES: Mapping[int, str] = {4: "the task failed", 5: "the task was closed", 6: "the task timed out"}


@frozen
class _Item:
    image_result: Any = None
    status: Any = None
    reason: Any = None
    image_url: Any = None

    @property
    def source_identity(self) -> str | None:
        """The identity of the picture it is about, where it says so."""
        source = to_link(self.image_url)
        return source.identity if source else None

    def output(self) -> Output:
        result = to_link(self.image_result)
        if result is not None and to_int(self.status) not in _FAILURES:
            return Output(result)
        return _failed_output(f"this picture failed: {first_text(self.reason, 'no reason given')}")


@frozen
class _Task:
    status: Any = None
    wait_time: Any = None
    list: Any = None


def parse_task(task_id: str, data: Any, inputs: Sequence[str], reply: Response) -> Snapshot:
    """What the answer to a look says of a task."""
    task = parse(data, _Task, reply)
    status = to_int(task.status)
    if status is None:
        raise_unexpected("the task's status is no number", reply)
    if status in _FAILURES or status == 3:
        return _parse_terminal(task_id, status, parse(task.list or (), tuple[_Item, ...], reply), inputs)
    wait = to_float(task.wait_time) or 0.0
    return Snapshot(task_id, Status.RUNNING if status == 2 else Status.QUEUED, retry_after=wait if wait > 0 else None)


def _parse_terminal(task_id: str, status: int, items: Sequence[_Item], inputs: Sequence[str]) -> Snapshot:
    """A finished task succeeded if any of its pictures did; what a failed one did before is kept."""
    outputs = _match_outputs(items, inputs) if items or status == 3 else ()
    if status == 3 and any(output.media for output in outputs):
        return Snapshot(task_id, Status.SUCCEEDED, 1.0, outputs)
    reason = first_text(*(item.reason for item in items), _FAILURES.get(status, "the task is done without a result"))
    return Snapshot(task_id, Status.FAILED, None, outputs, reason)


def _match_outputs(items: Sequence[_Item], inputs: Sequence[str]) -> tuple[Output, ...]:
    """One output per input: by the echoed link where there is one, else by order where nothing speaks against it."""
    if not inputs:
        return tuple(item.output() for item in items)
    places, left = _match_by_link(items, inputs)
    if (
        left
        and len(items) == len(inputs)
        and all(mine in (None, item) for mine, item in zip(places, items, strict=True))
    ):
        places, left = list(items), []
    return tuple(item.output() if item else _fill_unmatched(left, len(items), len(inputs)) for item in places)


def _match_by_link(items: Sequence[_Item], inputs: Sequence[str]) -> tuple[list[_Item | None], list[_Item]]:
    """The items that say whose they are, in the inputs' places, and the others; a picture given twice may have one."""
    left = list(items)
    found: dict[str, _Item] = {}
    places: list[_Item | None] = []
    for identity in inputs:
        item = next((item for item in left if item.source_identity == identity), None)
        if item is not None:
            left.remove(item)
            found[identity] = item
        places.append(found.get(identity))
    return places, left


def _fill_unmatched(left: Sequence[_Item], results: int, pictures: int) -> Output:
    if not left:
        return _failed_output("the provider gave no result for this picture")
    links = ", ".join(redact_url(result.url) for item in left if (result := to_link(item.image_result)))
    return _failed_output(
        f"the provider gave {results} results for {pictures} pictures and not whose they are: {links}"
    )


def _failed_output(message: str) -> Output:
    return Output(error=JobFailed(message))
