"""Request bodies: strict readers of multipart forms and JSON objects.

They share no code with the SDK's encoders, so that a mistake there is not repeated here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from urllib.parse import parse_qsl

from aiohttp import content_disposition_filename, parse_content_disposition, web
from attrs import field, frozen

from .responses import parameter_error

MULTIPART = "multipart/form-data"
_BOUNDARY = re.compile(r'boundary=(?:"([^"]+)"|([^\s;,"]+))', re.IGNORECASE)


@frozen
class FormPart:
    """One field of a form: its bytes, and its file name if it has one."""

    data: bytes = field(repr=False)
    filename: str | None = None

    @property
    def text(self) -> str:
        """Return the bytes as UTF-8 text. Raises ApiError when they are not valid UTF-8."""
        try:
            return self.data.decode()
        except UnicodeDecodeError:
            raise parameter_error("A text field is not UTF-8.") from None


Form = Mapping[str, FormPart]


async def read_form(request: web.Request, allowed: Collection[str], *, boundary_optional: bool = False) -> Form:
    """Return the fields of a multipart form, only allowed ones, each at most once.

    `boundary_optional` also accepts what the documents' video samples send: the content type without a boundary, with
    a urlencoded body or an empty one. Raises ApiError.
    """
    if request.content_type != MULTIPART:
        raise parameter_error(f"Content-Type must be {MULTIPART}, not {request.content_type}.")
    boundary = _BOUNDARY.search(request.headers["Content-Type"])
    if boundary is None and not boundary_optional:
        raise parameter_error(f"Content-Type {MULTIPART} has no boundary.")
    body = await request.read()
    fields = _parse_multipart(body, (boundary[1] or boundary[2]).encode()) if boundary else _parse_urlencoded(body)
    return _collect(fields, allowed)


async def read_json(request: web.Request, allowed: Collection[str]) -> dict[str, object]:
    """Return the JSON object in the body, which must have no keys but the allowed ones. Raises ApiError."""
    if request.content_type != "application/json":
        raise parameter_error(f"Content-Type must be application/json, not {request.content_type}.")
    try:
        value = json.loads(await request.read())
    # deeply nested JSON exhausts the recursion limit of the parser
    except (ValueError, RecursionError):
        raise parameter_error("The body is not valid JSON.") from None
    if not isinstance(value, dict):
        raise parameter_error("The body is not a JSON object.")
    if unknown := value.keys() - set(allowed):
        raise parameter_error(f"Unknown fields: {', '.join(sorted(unknown))}.")
    return value


def read_choice(form: Form, name: str, choices: Collection[str], default: str) -> str:
    """Return the text of a field, which must be one of `choices`. Raises ApiError."""
    text = form[name].text if name in form else default
    if text not in choices:
        raise parameter_error(f"{name} must be one of {', '.join(choices)}.")
    return text


def _collect(fields: Iterator[tuple[str, FormPart]], allowed: Collection[str]) -> Form:
    form: dict[str, FormPart] = {}
    for name, part in fields:
        if name not in allowed:
            raise parameter_error(f"Unknown field: {name}; valid fields are {', '.join(allowed)}.")
        if name in form:
            raise parameter_error(f"The field {name} is given twice.")
        form[name] = part
    return form


def _parse_urlencoded(body: bytes) -> Iterator[tuple[str, FormPart]]:
    for name, value in parse_qsl(body.decode("ascii", "replace"), keep_blank_values=True):
        yield name, FormPart(value.encode())


def _parse_multipart(body: bytes, boundary: bytes) -> Iterator[tuple[str, FormPart]]:
    """Yield the parts between the boundaries (RFC 2046, section 5.1.1)."""
    # the first boundary may begin the body, without the line break that belongs to every other one
    sections = (b"\r\n" + body).split(b"\r\n--" + boundary)
    if len(sections) < 2 or not sections[-1].startswith(b"--"):
        raise parameter_error("The multipart body does not end with its boundary.")
    for section in sections[1:-1]:
        # spaces and tabs may follow the boundary on its line (RFC 2046: transport padding)
        headers, separator, data = section.lstrip(b" \t").removeprefix(b"\r\n").partition(b"\r\n\r\n")
        if not separator:
            raise parameter_error("A part of the multipart body has no headers.")
        yield _parse_part(headers, data)


def _parse_part(headers: bytes, data: bytes) -> tuple[str, FormPart]:
    for line in headers.decode("utf-8", "replace").split("\r\n"):
        header, _, value = line.partition(":")
        if header.strip().lower() == "content-disposition":
            _, parameters = parse_content_disposition(value.strip())
            if name := parameters.get("name"):
                return name, FormPart(data, content_disposition_filename(parameters))
    raise parameter_error("A part of the multipart body has no name.")
