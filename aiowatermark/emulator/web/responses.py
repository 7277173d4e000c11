"""Responses: what the emulator answers, described before it is sent, and the errors that refuse a request."""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import Enum
from pathlib import Path

from attrs import field, frozen

JSON = "application/json"


@frozen
class FilePart:
    """The bytes of a file from `start` up to, but not including, `stop`."""

    path: Path
    start: int
    stop: int


@frozen
class ApiResponse:
    """One HTTP response: status, body (bytes, or a part of a file), content type and further headers."""

    status: int = 200
    body: bytes | FilePart = field(default=b"", repr=False)
    content_type: str = JSON
    headers: Mapping[str, str] = field(factory=dict)

    @classmethod
    def json(cls, value: object, status: int = 200) -> ApiResponse:
        """Return a response whose body is the value as JSON."""
        return cls(status, json.dumps(value).encode())

    @property
    def size(self) -> int:
        """Return the length of the body in bytes."""
        return len(self.body) if isinstance(self.body, bytes) else self.body.stop - self.body.start


class ErrorReason(Enum):
    """Why a request is refused; each API maps these to an HTTP status and a code of its own."""

    METHOD = "method"
    KEY = "key"
    PARAMETER = "parameter"
    TOO_LARGE = "too large"
    UNKNOWN_TASK = "unknown task"
    CREDITS = "credits"
    INTERNAL = "internal"
    EXPIRED = "expired"
    SIGNATURE = "signature"
    LENGTH = "length"


class ApiError(Exception):
    """A refused request: the reason, and a message for the client."""

    def __init__(self, reason: ErrorReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


def parameter_error(message: str) -> ApiError:
    """Return the error for a parameter that the documents do not allow."""
    return ApiError(ErrorReason.PARAMETER, message)
