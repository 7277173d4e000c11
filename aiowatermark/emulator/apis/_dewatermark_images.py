"""Dewatermark's pictures: one call answers with the picture itself; a session remembers it for refinements."""

from __future__ import annotations

import base64
import uuid
from collections.abc import Callable

from attrs import define, field, frozen

from ..backend.image_worker import RestoredImage
from ..backend.jobs import JobService
from ..backend.limits import ImageInfo, ImageRules, JobFailure, check_mask, examine, from_base64
from ..backend.tasks import EmulatedTask, TaskOutput
from ..web.forms import Form, text_of
from ..web.responses import ApiError, ApiResponse, ErrorReason, parameter_error

FIELDS = ("original_preview_image", "session_id", "mask_base", "mask_brush", "remove_text", "predict_mode")
# "a JPEG image and the largest dimension is not greater than 6000 px", and when refining "not greater than 1920"
_FIRST = ImageRules(("jpeg",), max_side=6000)
_REFINED = ImageRules(("jpeg",), max_side=1920)


@define
class EmulatedSession:
    """The picture as it is now, and the mask of everything removed from it so far."""

    session_id: str
    picture: ImageInfo
    mask: bytes | None = field(default=None, repr=False)


@frozen
class _Call:
    session: EmulatedSession
    picture: ImageInfo
    brush: bytes | None = field(repr=False)
    base: bytes | None = field(repr=False)


@define
class ImageEndpoints:
    """Answers the erase_watermark calls of one provider."""

    name: str
    jobs: JobService
    sessions: dict[str, EmulatedSession] = field(init=False, factory=dict)

    async def erase(self, form: Form) -> ApiResponse:
        """The picture with its marks, or what lies under the brush, removed. Raises Refusal."""
        text_of(form, "remove_text", ("true", "false"), "false")
        text_of(form, "predict_mode", ("old", "2.0", "3.0"), "3.0")
        call = _as_api_error(lambda: self._call(form))
        task = self.jobs.create_charged(self.name)
        if task.failure is None:
            restored, mask = await self._restore(task, call)
            call.session.picture, call.session.mask = examine(restored.picture), mask
            self.sessions[call.session.session_id] = call.session
            task.finish([TaskOutput(found=restored.found)])
        await task.done()
        if task.failure is not None:
            raise ApiError(ErrorReason.INTERNAL, task.failure.reason)
        return ApiResponse.json(_result(call.session, task.task_id))

    def _call(self, form: Form) -> _Call:
        """What is asked for. Raises Failure for pictures that are not as the documents want them."""
        brush = form["mask_brush"].data if "mask_brush" in form else None
        base = _mask_base(form)
        session = self._session(form, _FIRST if brush is None else _REFINED)
        for mask in (brush, base):
            if mask is not None:
                check_mask(session.picture, mask)
        return _Call(session, session.picture, brush, base)

    def _session(self, form: Form, limits: ImageRules) -> EmulatedSession:
        """The session that is named, with the picture that is sent, if one is.

        The documents' curl example sends a picture with a session that was never opened: that opens a new one.
        """
        named = form["session_id"].text if "session_id" in form else None
        known = self.sessions.get(named or "")
        if "original_preview_image" in form:
            picture = limits.check(form["original_preview_image"].data)
            return EmulatedSession(known.session_id if known else str(uuid.uuid4()), picture, None)
        if named is None:
            raise parameter_error("Either original_preview_image or session_id has to be given.")
        if known is None:
            raise ApiError(ErrorReason.UNKNOWN_TASK, "There is no such session.")
        return EmulatedSession(known.session_id, known.picture, known.mask)

    async def _restore(self, task: EmulatedTask, call: _Call) -> tuple[RestoredImage, bytes]:
        try:
            restored = await self.jobs.image_worker.restore(call.picture, call.brush)
        except JobFailure as failure:
            self.jobs.fail(task, failure)
            raise parameter_error(failure.reason) from None
        before = call.base or call.session.mask
        return restored, await self.jobs.image_worker.union(before, restored.mask) if before else restored.mask


def _as_api_error(step: Callable[[], _Call]) -> _Call:
    try:
        return step()
    except JobFailure as failure:
        raise parameter_error(failure.reason) from None


def _mask_base(form: Form) -> bytes | None:
    """A file, as in every example, or base64 text, as in the table of fields."""
    if "mask_base" not in form:
        return None
    part = form["mask_base"]
    try:
        return examine(part.data).data
    except JobFailure:
        return from_base64(part.text)


def _result(session: EmulatedSession, event_id: str) -> dict[str, object]:
    image, mask = (base64.b64encode(data).decode() for data in (session.picture.data, session.mask or b""))
    edited = {"image": image, "image_id": uuid.uuid4().hex, "mask": mask, "watermark_mask": mask}
    return {"edited_image": edited, "event_id": event_id, "session_id": session.session_id}
