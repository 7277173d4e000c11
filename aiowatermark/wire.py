"""HTTP described, never done: requests, their bodies, answers and deliveries."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import Any, TypeAlias

from attrs import define, field, frozen

from .errors import UnexpectedAnswer
from .media.base import Media
from .redaction import redacted_excerpt

Value: TypeAlias = str | Media
"""A form field: text, or a file."""


@frozen
class Base64:
    """Media that travels as base64 text inside JSON, encoded while it is sent; without a `data:` header."""

    media: Media


@frozen
class Json:
    """A JSON object; values may be Base64."""

    value: Mapping[str, Any]


@frozen
class Multipart:
    """A multipart/form-data body. `types` gives a file field's Content-Type where it matters."""

    fields: Mapping[str, Value]
    types: Mapping[str, str] = field(factory=dict)


Body: TypeAlias = Json | Multipart | Media | None


@frozen
class Request:
    """One request. `target` is a path at the provider's origin, or a whole signed link.

    `signed`: the link carries its own credentials: it travels byte for byte, without the API key.
    `repeatable`: sending it twice costs nothing. Everything else is paid, and sent once.
    """

    method: str
    target: str = field(repr=lambda target: target.partition("?")[0])
    body: Body = field(default=None, repr=False)
    signed: bool = False
    repeatable: bool = False


@define
class Response:
    """An answer, read whole; header names are lower-case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=lambda body: f"<{len(body)} bytes>")
    _payload: Any = field(default=None, init=False, repr=False)

    def json(self) -> dict[str, Any]:
        """The JSON object in the body, parsed once; raises UnexpectedAnswer for anything else."""
        if self._payload is None:
            self._payload = parse_json(self.body)
        if not isinstance(self._payload, dict):
            raise UnexpectedAnswer("the answer is no JSON object", answer=self.excerpt)
        return self._payload

    def parse_in_advance(self) -> None:
        """Parse a large body beforehand, in a worker thread."""
        self._payload = parse_json(self.body)

    @property
    def excerpt(self) -> str:
        """The answer, fit for an error text."""
        return f"HTTP {self.status} {redacted_excerpt(self.body)}".rstrip()

    @property
    def retry_after(self) -> float | None:
        """The Retry-After header in seconds; a date counts from the answer's own Date."""
        return _seconds(self.headers.get("retry-after"), self.headers.get("date"))


@frozen
class Delivery:
    """One POST to a callback address, as it came."""

    body: bytes = field(repr=lambda body: f"<{len(body)} bytes>")
    content_type: str = ""


def parse_json(body: bytes) -> Any:
    """The JSON value in `body`, or None where it holds none; NaN and Infinity are none."""
    try:
        return _DECODER.decode(body.decode(json.detect_encoding(body), "surrogatepass"))
    except (ValueError, RecursionError):
        return None


def _refuse_constant(name: str) -> Any:
    raise ValueError(name)


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


def _seconds(text: str | None, date: str | None) -> float | None:
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        return _seconds_until(text, date)
    return max(0.0, seconds) if isfinite(seconds) else None


def _seconds_until(text: str, date: str | None) -> float | None:
    try:
        return max(0.0, (parsedate_to_datetime(text) - parsedate_to_datetime(date or "")).total_seconds())
    except (ValueError, TypeError):
        return None


def join_sorted(fields: Iterable[str]) -> str:
    """Words in a row, for error texts."""
    return ", ".join(sorted(fields))
