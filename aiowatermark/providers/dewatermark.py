"""Dewatermark: images answered immediately and refined in sessions, videos by signed upload, and credits."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import Any, Literal

from attrs import Attribute, evolve, field, frozen

from ..capabilities import Capabilities, ImageLimits, VideoLimits
from ..codec import NumberLike, parse
from ..errors import InsufficientCredits, InvalidInput, Unsupported, WatermarkError
from ..http_errors import mentions_billing
from ..introspection import documented
from ..jobs import Job, Record, Session
from ..media.base import Media
from ..provider import Credits, Exchange, Flow, Polling, Provider, api_key_field
from ..wire import Request, Response
from ._dewatermark_images import MAX_ANSWER, DewatermarkOptions, build_form, complete_options, parse_result, price_of
from ._dewatermark_video import query_video, start_video, submit_video
from ._parsing import first_text, json_or_empty

_IMAGE_LIMITS = ImageLimits(frozenset({"jpeg"}), max_side=6000)
_MAX_SIDE_OF_REFINEMENT = 1920
# «Video Requirements» of the newer documents
_VIDEO_LIMITS = VideoLimits("mp4", fps=24, seconds=540)
# another page of the vendor
_PRO_PATH = "/api/object_removal/v1/erase_watermark_pro"


def _validate_price(_: Any, __: Attribute[Any], value: Any) -> None:
    valid = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < inf
    if value is not None and not valid:
        raise InvalidInput(f"credits_per_second must be a number of at least 0, not {value!r}")


def _validate_version(_: Any, __: Attribute[Any], value: Any) -> None:
    if value not in {"v2", "v3"}:
        raise InvalidInput(f"version must be v2 or v3, not {value!r}")


@frozen
class _Balance:
    available_credit: NumberLike


@documented
@frozen(slots=False)
class Dewatermark(Provider):
    """A Dewatermark account: images by file, results that can be refined, and videos.

    Jobs have the options `remove_text`, `predict_mode`, `session_id`, `mask_base` and `pro`; see `DewatermarkOptions`.

    Args:
        api_key: the key shown in Dewatermark's console; `Dewatermark.from_env()` takes it from DEWATERMARK_API_KEY.
        base_url: the origin of the API.
        polling: the schedule of queries for the state of a video; the answer to an image is its result.
        requests_per_second: the limit for submissions and queries together; None: no limit is documented.
        version: the version of the image API, "v2" or "v3".
        credits_per_second: what your plan charges for a second of video. None: `result.charged` of a video is None, and
            the `cost` in its snapshot's details is a guess, as `cost_is_guess` says: the document names 0.2, a newer
            copy of it 0.5.
        account: a stable name for the account, which keeps its jobs when the API key changes; the default is a digest
            of the credentials.

    Raises InvalidInput for an invalid key, base_url, version or price.
    Source: «Image Processing API», «Video Watermark Removal», «Tracking Credit Balance».
    """

    name = "dewatermark"
    display_name = "Dewatermark"
    default_base_url = "https://platform.dewatermark.ai"
    env = {"api_key": "DEWATERMARK_API_KEY"}
    capabilities = Capabilities(
        images=_IMAGE_LIMITS, links=False, mask="optional", videos=True, video_limits=_VIDEO_LIMITS, refines=True
    )
    Options = DewatermarkOptions

    api_key: str = api_key_field()
    polling: Polling = field(default=Polling(first=5.0), kw_only=True)
    version: Literal["v2", "v3"] = field(default="v2", validator=_validate_version, kw_only=True)
    credits_per_second: float | None = field(default=None, validator=_validate_price, kw_only=True)

    @property
    def headers(self) -> Mapping[str, str]:
        """The API key."""
        return {"X-API-KEY": self.api_key}

    def submit(self, job: Job, callback_url: str | None) -> Flow:  # noqa: ARG002 - Dewatermark has no callbacks
        """POST the image, whose answer is the result, or upload and submit a video."""
        if job.video:
            return (yield from submit_video(self, job))
        path = _PRO_PATH if job.options["pro"] else f"/api/object_removal/{self.version}/erase_watermark"
        reply = yield Request("POST", path, build_form(job), max_answer=MAX_ANSWER)
        return parse_result(job, self.check(reply), reply)

    def start(self, record: Record) -> Flow:
        """POST the task of a video that was uploaded and not started; raises Unsupported for an image."""
        return start_video(self, record) if record.video else super().start(record)

    def query(self, record: Record) -> Flow:
        """GET the task of a video; raises Unsupported for an image."""
        if not record.video:
            return (yield from super().query(record))
        return (yield from query_video(self, record, self.credits_per_second))

    def answer_is_result(self, record: Record) -> bool:
        """Whether the record is of an image."""
        return not record.video

    def image_price(self, options: Mapping[str, Any]) -> float:
        """Return one credit, three with `pro=True`."""
        return price_of(options)

    def credits(self) -> Exchange[Credits]:
        """GET the balance."""
        reply = yield Request("GET", "/api/creditInfo", repeatable=True)
        return Credits(parse(self.check(reply).get("data"), _Balance, reply).available_credit)

    def refinement(self, media: Media, session: Session, brush: Media, options: Mapping[str, Any]) -> Job:
        """Return the job that also removes what `brush` marks.

        The first refinement of a session sends the image, later ones only the session's id.
        """
        resolved = self.resolve_options(options)
        if resolved["pro"]:
            raise InvalidInput("a refinement takes a mask, and pro=True takes none: omit it")
        return Job((media,) if session.refinements == 0 else (), brush, resolved, session)

    def resolve_options(self, options: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the options with defaults, which depend on the version of the API."""
        return complete_options(super().resolve_options(options), self.version)

    def capabilities_for(self, job: Job) -> Capabilities:
        """Return the capabilities for this job: images to refine are smaller, and a session may replace the image."""
        if job.options["pro"]:
            if job.mask is not None:
                raise Unsupported("Dewatermark takes no mask with pro=True: omit one of them, or refine the result")
            return evolve(self.capabilities, videos=False)
        result = evolve(self.capabilities, needs_media=not (job.session or job.options["session_id"]))
        if job.session:
            return evolve(result, images=evolve(_IMAGE_LIMITS, max_side=_MAX_SIDE_OF_REFINEMENT))
        return result

    def _kind(self, reply: Response) -> type[WatermarkError]:
        # observed, not documented: 403 means no credits, and so does a 400 that speaks of them; a wrong key is a 401
        if reply.status == 403 or (reply.status == 400 and mentions_billing(_error_text(reply))):
            return InsufficientCredits
        return super()._kind(reply)


def _error_text(reply: Response) -> str:
    """Return what a refusal says, in `message` or in `error`: a text, or an object with a message."""
    payload = json_or_empty(reply)
    error = payload.get("error")
    nested = error.get("message") if isinstance(error, dict) else error
    return first_text(payload.get("message"), nested) or ""
