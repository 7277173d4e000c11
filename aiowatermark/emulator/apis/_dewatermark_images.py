"""Dewatermark's images: each call answers with the restored image; a session stores it for refinements."""

from __future__ import annotations

import base64
import uuid
from collections.abc import Mapping

from attrs import define, field, frozen

from ..backend.image_worker import RestoredImage
from ..backend.jobs import JobService
from ..backend.limits import ImageInfo, ImageRules, JobFailure, check_mask, decode_base64, inspect_image
from ..backend.tasks import EmulatedTask, TaskOutput
from ..web.forms import Form, read_choice
from ..web.responses import ApiError, ApiResponse, ErrorReason, parameter_error

FIELDS = ("original_preview_image", "session_id", "mask_base", "mask_brush", "remove_text", "predict_mode")
PRO_FIELDS = ("original_preview_image",)
# by version, the default first; "You can choose between "old" (2.0) or "3.0"" is of version 2
_MODES: Mapping[str, tuple[str, ...]] = {"v2": ("3.0", "2.0", "old"), "v3": ("4.0", "3.0", "2.0", "old")}
_PRO_PRICE = 3
# "a JPEG image and the largest dimension is not greater than 6000 px", and when refining "not greater than 1920"
_FIRST_CALL = ImageRules(("jpeg",), max_side=6000)
_REFINEMENT = ImageRules(("jpeg",), max_side=1920)


@define
class EmulatedSession:
    """The current image of a session, and the mask (PNG) of everything removed from it so far."""

    session_id: str
    image: ImageInfo
    mask: bytes | None = field(default=None, repr=False)


@frozen
class _EraseCall:
    session: EmulatedSession
    image: ImageInfo
    brush: bytes | None = field(repr=False)
    base: bytes | None = field(repr=False)


@define
class ImageEndpoints:
    """Answers the erase_watermark calls of one provider."""

    name: str
    jobs: JobService
    sessions: dict[str, EmulatedSession] = field(init=False, factory=dict)

    async def erase(self, form: Form, version: str) -> ApiResponse:
        """Answer with the image without its watermark, or without what is under the brush. Raises ApiError."""
        # checked and then ignored: there is no text detection and only one way to restore
        read_choice(form, "remove_text", ("true", "false"), "false")
        read_choice(form, "predict_mode", _MODES[version], _MODES[version][0])
        task, session = await self._run(form, price=1)
        return ApiResponse.json(_response_body(session, task.task_id))

    async def erase_pro(self, form: Form) -> ApiResponse:
        """Answer with the image without its watermark, and without its mask. Raises ApiError."""
        task, session = await self._run(form, price=_PRO_PRICE)
        session.mask = None
        body = _response_body(session, task.task_id)
        body["edited_image"] = {"image": base64.b64encode(session.image.data).decode(), "image_id": uuid.uuid4().hex}
        return ApiResponse.json(body)

    async def _run(self, form: Form, price: float) -> tuple[EmulatedTask, EmulatedSession]:
        """Charge for the call and process it; raises ApiError."""
        call = self._parse_or_refuse(form)
        task = self.jobs.create_charged(self.name, price)
        if task.failure is None:
            restored, mask = await self._restore(task, call)
            call.session.image, call.session.mask = inspect_image(restored.image), mask
            # only now, so that a failed call leaves an existing session as it was
            self.sessions[call.session.session_id] = call.session
            task.finish([TaskOutput(found=restored.found, answered=len(restored.image))])
        await task.done()
        if task.failure is not None:
            raise ApiError(ErrorReason.INTERNAL, task.failure.reason)
        return task, call.session

    def _parse_or_refuse(self, form: Form) -> _EraseCall:
        try:
            return self._parse(form)
        except JobFailure as failure:
            raise parameter_error(failure.reason) from None

    def _parse(self, form: Form) -> _EraseCall:
        """Return the parameters of the call. Raises JobFailure for images that the documents do not allow."""
        brush = form["mask_brush"].data if "mask_brush" in form else None
        base = _parse_mask_base(form)
        session = self._open_session(form, _FIRST_CALL if brush is None else _REFINEMENT)
        for mask in (brush, base):
            if mask is not None:
                check_mask(session.image, mask)
        return _EraseCall(session, session.image, brush, base)

    def _open_session(self, form: Form, limits: ImageRules) -> EmulatedSession:
        """Return a copy of the session that the form names, or a new session, with the image of the form if it has one.

        The documents' curl sample sends an image with a session that does not exist: that opens a new one.
        """
        session_id = form["session_id"].text if "session_id" in form else None
        existing = self.sessions.get(session_id or "")
        if "original_preview_image" in form:
            image = limits.check(form["original_preview_image"].data)
            return EmulatedSession(existing.session_id if existing else str(uuid.uuid4()), image, None)
        if session_id is None:
            raise parameter_error("Either original_preview_image or session_id must be provided.")
        if existing is None:
            raise ApiError(ErrorReason.UNKNOWN_TASK, "There is no such session.")
        return EmulatedSession(existing.session_id, existing.image, existing.mask)

    async def _restore(self, task: EmulatedTask, call: _EraseCall) -> tuple[RestoredImage, bytes]:
        """Return the restored image and the mask of everything removed from it so far."""
        try:
            restored = await self.jobs.image_worker.restore(call.image, call.brush)
        except JobFailure as failure:
            self.jobs.fail(task, failure)
            raise parameter_error(failure.reason) from None
        previous = call.base or call.session.mask
        if not previous:
            return restored, restored.mask
        return restored, await self.jobs.image_worker.union(previous, restored.mask)


def _parse_mask_base(form: Form) -> bytes | None:
    """Return the mask from a file, as in every sample, or from base64 text, as in the table of fields."""
    if "mask_base" not in form:
        return None
    part = form["mask_base"]
    try:
        return inspect_image(part.data).data
    except JobFailure:
        # an invalid mask fails here, as invalid base64
        return decode_base64(part.text)


def _response_body(session: EmulatedSession, event_id: str) -> dict[str, object]:
    image, mask = (base64.b64encode(data).decode() for data in (session.image.data, session.mask or b""))
    edited = {"image": image, "image_id": uuid.uuid4().hex, "mask": mask, "watermark_mask": mask}
    return {"edited_image": edited, "event_id": event_id, "session_id": session.session_id}
