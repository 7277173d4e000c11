"""Request bodies read whole: multipart forms, with and without a boundary, and JSON objects."""

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
    """One field of a form: its bytes, and the file name if it came with one."""

    data: bytes = field(repr=False)
    filename: str | None = None

    @property
    def text(self) -> str:
        """The bytes as UTF-8 text. Raises Refusal when they are none."""
        try:
            return self.data.decode()
        except UnicodeDecodeError:
            raise parameter_error("A text field is not UTF-8.") from None


Form = Mapping[str, FormPart]


async def read_form(request: web.Request, allowed: Collection[str], *, boundless: bool = False) -> Form:
    """The fields of a multipart form, each allowed and none twice.

    `boundless` also takes what the documents' video samples send: the content type without a boundary, over an
    urlencoded body or none. Raises Refusal.
    """
    if request.content_type != MULTIPART:
        raise parameter_error(f"Content-Type has to be {MULTIPART}, not {request.content_type}.")
    found = _BOUNDARY.search(request.headers["Content-Type"])
    if found is None and not boundless:
        raise parameter_error(f"Content-Type {MULTIPART} has no boundary.")
    body = await request.read()
    pairs = _split(body, (found[1] or found[2]).encode()) if found else _urlencoded(body)
    return _collect(pairs, allowed)


async def read_json(request: web.Request, allowed: Collection[str]) -> dict[str, object]:
    """The JSON object in the body, with no key but the allowed ones. Raises Refusal."""
    if request.content_type != "application/json":
        raise parameter_error(f"Content-Type has to be application/json, not {request.content_type}.")
    try:
        value = json.loads(await request.read())
    except (ValueError, RecursionError):
        raise parameter_error("The body is not JSON.") from None
    if not isinstance(value, dict):
        raise parameter_error("The body is not a JSON object.")
    if unknown := value.keys() - set(allowed):
        raise parameter_error(f"Unknown fields: {', '.join(sorted(unknown))}.")
    return value


def text_of(form: Form, name: str, choices: Collection[str], default: str) -> str:
    """The field's text, which has to be one of the choices. Raises Refusal."""
    text = form[name].text if name in form else default
    if text not in choices:
        raise parameter_error(f"{name} has to be one of {', '.join(choices)}.")
    return text


def _collect(pairs: Iterator[tuple[str, FormPart]], allowed: Collection[str]) -> Form:
    form: dict[str, FormPart] = {}
    for name, part in pairs:
        if name not in allowed:
            raise parameter_error(f"Unknown field: {name}; there are {', '.join(allowed)}.")
        if name in form:
            raise parameter_error(f"The field {name} is given twice.")
        form[name] = part
    return form


def _urlencoded(body: bytes) -> Iterator[tuple[str, FormPart]]:
    for name, value in parse_qsl(body.decode("ascii", "replace"), keep_blank_values=True):
        yield name, FormPart(value.encode())


def _split(body: bytes, boundary: bytes) -> Iterator[tuple[str, FormPart]]:
    """The parts between the boundaries (RFC 2046, section 5.1.1)."""
    pieces = (b"\r\n" + body).split(b"\r\n--" + boundary)
    if len(pieces) < 2 or not pieces[-1].startswith(b"--"):
        raise parameter_error("The multipart body does not end with its boundary.")
    for piece in pieces[1:-1]:
        head, separator, data = piece.lstrip(b" \t").removeprefix(b"\r\n").partition(b"\r\n\r\n")
        if not separator:
            raise parameter_error("A part of the multipart body has no head.")
        yield _field_name(head, data)


def _field_name(head: bytes, data: bytes) -> tuple[str, FormPart]:
    for line in head.decode("utf-8", "replace").split("\r\n"):
        header, _, value = line.partition(":")
        if header.strip().lower() == "content-disposition":
            _, parameters = parse_content_disposition(value.strip())
            if name := parameters.get("name"):
                return name, FormPart(data, content_disposition_filename(parameters))
    raise parameter_error("A part of the multipart body has no name.")
