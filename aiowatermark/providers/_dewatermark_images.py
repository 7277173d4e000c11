"""Dewatermark's image calls: the form to send, and the result and session in the answer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from attrs import Attribute, field, frozen

from ..charges import Charge
from ..codec import parse
from ..errors import InvalidInput
from ..http_errors import raise_unexpected
from ..jobs import Job, Output, Session, Snapshot, Status
from ..media import optional_media
from ..media.base import Media
from ..media.memory import Base64Text, Bytes
from ..wire import FieldValue, LongText, Multipart, Response
from ._parsing import content_types, to_bool, to_task_id

# by the version of the API, the default first; v3: another page of the vendor
_MODES: Mapping[str, tuple[str, ...]] = {"v2": ("3.0", "2.0", "old"), "v3": ("4.0", "3.0", "2.0", "old")}
# credits a call, refinements too; PRO: another page of the vendor
_PRICE, _PRO_PRICE = 1.0, 3.0
_NOT_WITH_PRO = ("remove_text", "predict_mode", "session_id", "mask_base")
MAX_ANSWER = 160 << 20
"""Bytes of the largest answer: an image of 6000 x 6000 pixels without compression, as base64, and its masks."""
_DATA_URL = re.compile(r"\s*data:[^,]{0,200},", re.IGNORECASE)
_STANDARD_ALPHABET = str.maketrans("-_", "+/")
# the API accepts only JPEG, and a file name may have another suffix
_TYPES: Mapping[str, str] = {"original_preview_image": "image/jpeg"}


def _validate_session_id(_: Any, __: Attribute[str | None], value: Any) -> None:
    if value is not None and (not isinstance(value, str) or not value.strip()):
        raise InvalidInput("session_id must be the text from an earlier answer")


def _to_pro(value: Any) -> bool | None:
    return None if value is None else to_bool(value) or None


@frozen
class DewatermarkOptions:
    """Options of image jobs.

    `remove_text=True` removes all text. `predict_mode` is "4.0" (version v3 only, its default), "3.0" (the default of
    v2), or "2.0" (also called "old") for emoji. `session_id`, from an earlier answer, is sent in place of the image;
    `mask_base` is the mask of everything removed before. `pro=True` uses the PRO call, which costs 3 credits and takes
    the image alone: no mask and none of these options.
    """

    remove_text: bool = field(default=False, converter=to_bool)
    predict_mode: Literal["4.0", "3.0", "2.0", "old"] | None = None
    session_id: str | None = field(default=None, validator=_validate_session_id, repr=False)
    mask_base: Media | None = field(default=None, converter=optional_media)
    # False becomes None, which is left out of fingerprints: those of earlier versions stay valid
    pro: bool | None = field(default=None, converter=_to_pro)


def complete_options(options: Mapping[str, Any], version: str) -> Mapping[str, Any]:
    """Return the options with the version's predict_mode; raises InvalidInput for what the call does not take."""
    mode, modes = options["predict_mode"], _MODES[version]
    if mode is not None and mode not in modes:
        given = f"{mode!r} ({type(mode).__name__} given)"
        raise InvalidInput(f"predict_mode must be one of {', '.join(modes)}, not {given}, with version={version!r}")
    if not options["pro"]:
        return {**options, "predict_mode": mode or modes[0]}
    if excluded := [name for name in _NOT_WITH_PRO if options[name]]:
        raise InvalidInput(f"pro=True takes the image alone: omit {', '.join(excluded)}")
    return options


@frozen
class _Edited:
    image: Any
    mask: Any = None
    watermark_mask: Any = None


@frozen
class _Answer:
    edited_image: _Edited
    session_id: Any = None
    event_id: Any = None


def build_form(job: Job) -> Multipart:
    """Return the form with the image or session id, the masks and the options.

    Raises InvalidInput if the job has both an image and a session id, or neither.
    """
    if job.options["pro"]:
        return Multipart({"original_preview_image": job.media}, _TYPES)
    session_id, mask_base = job.options["session_id"], job.options["mask_base"]
    if job.session is not None:
        if session_id or mask_base is not None:
            raise InvalidInput("a refinement takes session_id and mask_base from its result: omit these options")
        session_id, mask_base = job.session.id, job.session.mask
    elif bool(session_id) == bool(job.inputs):
        raise InvalidInput("pass either an image or session_id, not both: the session replaces its image")
    fields: dict[str, FieldValue] = {"original_preview_image": job.media} if job.inputs else {"session_id": session_id}
    fields |= {name: mask for name, mask in (("mask_base", mask_base), ("mask_brush", job.mask)) if mask is not None}
    fields |= {"remove_text": str(job.options["remove_text"]).lower(), "predict_mode": job.options["predict_mode"]}
    return Multipart(fields, {**content_types(fields), **_TYPES})


def price_of(options: Mapping[str, Any]) -> float:
    """Return the price of an image with these options, in credits."""
    return _PRO_PRICE if options.get("pro") else _PRICE


def parse_result(job: Job, payload: Any, reply: Response) -> Snapshot:
    """Return the image and the session to refine it in; the answer's `mask` is the session's next `mask_base`."""
    answer = parse(payload, _Answer, reply)
    image = _base64_image(answer.edited_image.image, "picture.jpg")
    if image is None:
        raise_unexpected("the answer has no image", reply)
    session, session_id = None, to_task_id(answer.session_id)
    if session_id:
        masks = (
            _base64_image(each, "mask.png") for each in (answer.edited_image.mask, answer.edited_image.watermark_mask)
        )
        refinements = job.session.refinements + 1 if job.session else 0
        session = Session(session_id, next(filter(None, masks), None), refinements)
    charged = Charge(price_of(job.options), "price list")
    task_id = to_task_id(answer.event_id)
    return Snapshot(task_id, Status.SUCCEEDED, 1.0, (Output(image),), session=session, charged=charged)


def _base64_image(value: Any, name: str) -> Media | None:
    """Return the image in an answer; None if there is none.

    A `data:` prefix, the url-safe alphabet, white space and missing padding are repaired: the result was paid for.
    """
    if isinstance(value, LongText):
        # a text that cannot be decoded is still a result that was paid for: reading it raises TransferFailed
        return Base64Text("*", name=name) if value.data is None else Bytes(value.data, name=name)
    if not isinstance(value, str):
        return None
    text = "".join(_DATA_URL.sub("", value, count=1).split()).translate(_STANDARD_ALPHABET).rstrip("=")
    return Base64Text(text + "=" * (-len(text) % 4), name=name) if text else None
