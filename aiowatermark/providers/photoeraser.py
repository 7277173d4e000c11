"""Photo Eraser: up to 20 linked pictures a job, one mask for all of them."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import quote

from attrs import Attribute, field, frozen

from ..capabilities import Capabilities, Pictures
from ..errors import (
    InsufficientCredits,
    InvalidInput,
    ProviderUnavailable,
    Rejected,
    UnexpectedAnswer,
    Unsupported,
    WatermarkError,
)
from ..http_errors import refusal
from ..jobs import Job, Record, Snapshot, Status
from ..media.base import Media
from ..media.memory import Link
from ..provider import Flow, Polling, Provider, secret
from ..wire import Base64, Json, Request, Response
from ._parsing import ticket, told, whole
from ._photoeraser_results import snapshot_of


def _priority(_: Any, __: Attribute[int], value: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value not in range(10):
        msg = f"priority is a whole number from 0 to 9, not {value!r}"
        raise InvalidInput(msg)


@frozen
class PhotoEraserOptions:
    """`priority`: 0 to 9."""

    priority: int = field(default=1, validator=_priority)


@frozen(slots=False)
class PhotoEraser(Provider):
    """The Wondershare AILab account of `app_key` and `app_secret`. Options: `priority`.

    `base_url=PhotoEraser.CHINA` is the host for China. Source: «Photo Eraser-API Integration».
    """

    CHINA: ClassVar[str] = "https://wsai-api.wondershare.cn"
    name = "photoeraser"
    title = "Photo Eraser"
    home = "https://wsai-api.wondershare.com"
    env = {"app_key": "PHOTOERASER_APP_KEY", "app_secret": "PHOTOERASER_APP_SECRET"}
    # «Input File Restriction»: greater than 256x256, less than 5000x5000
    capabilities = Capabilities(
        pictures=Pictures(
            frozenset({"png", "jpeg", "bmp"}), shortest=257, longest=4999, aspect=4.0, max_bytes=50_000_000
        ),
        files=False,
        batch=20,
        mask="required",
        mask_links=True,
    )
    Options = PhotoEraserOptions

    app_key: str = secret()
    app_secret: str = secret()
    polling: Polling = field(default=Polling(first=3.0), kw_only=True)

    @property
    def headers(self) -> Mapping[str, str]:
        """Basic credentials; the document wants a Content-Type on queries too."""
        basic = b64encode(f"{self.app_key}:{self.app_secret}".encode()).decode()
        return {"Authorization": f"Basic {basic}", "Content-Type": "application/json"}

    def submit(self, job: Job, callback_url: str | None) -> Flow:  # noqa: ARG002 - Photo Eraser calls nobody
        """POST the links, the mask and the priority."""
        mask = job.mask.url if isinstance(job.mask, Link) else job.mask and Base64(job.mask)
        images = [_url(media) for media in job.inputs]
        body = Json({"images": images, "mask": mask, "priority": job.options["priority"]})
        reply = yield Request("POST", "/v3/pic/rw/batch", body)
        return Snapshot(ticket(self.check(reply).get("data"), reply), Status.QUEUED)

    def query(self, record: Record) -> Flow:
        """GET the task; a pending one says how long to wait."""
        task_id = record.snapshot.task_id or ""
        reply = yield Request("GET", f"/v3/pic/rw/result/{quote(task_id, safe='')}", repeatable=True)
        return snapshot_of(task_id, self.check(reply).get("data"), record.inputs, reply)

    def problem(self, reply: Response) -> WatermarkError | None:
        """`code` must be 0; 490027 is «insufficient balance»; the others are read by their first digits."""
        error = super().problem(reply)
        code = told(reply).get("code")
        if whole(code) == 490027:
            return refusal(InsufficientCredits, f"{self.title}: the balance is insufficient", reply)
        if error is not None or code is None or whole(code) == 0:
            return error
        return refusal(self._kind_of(whole(code) or 0, reply), f"{self.title} refused", reply)

    def _kind_of(self, code: int, reply: Response) -> type[WatermarkError]:
        if code in range(400, 600):
            return self._kind(Response(code, reply.headers, reply.body))
        return {4: Rejected, 5: ProviderUnavailable}.get(code // 100_000, UnexpectedAnswer)


def _url(media: Media) -> str:
    if not isinstance(media, Link):
        msg = f"Photo Eraser takes links only: {media.name} is none"
        raise Unsupported(msg)
    return media.url
