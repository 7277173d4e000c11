"""What the emulator says back, described and not yet sent: answers, and refusals with the reason for them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import Enum
from pathlib import Path

from attrs import field, frozen

JSON = "application/json"


@frozen
class FilePart:
    """The bytes of a file from `start` up to, but not with, `stop`."""

    path: Path
    start: int
    stop: int


@frozen
class ApiResponse:
    """One HTTP answer: status, body (bytes, or a part of a file), content type and further headers."""

    status: int = 200
    body: bytes | FilePart = field(default=b"", repr=False)
    content_type: str = JSON
    headers: Mapping[str, str] = field(factory=dict)

    @classmethod
    def json(cls, value: object, status: int = 200) -> ApiResponse:
        """An answer whose body is the value as JSON."""
        return cls(status, json.dumps(value).encode())

    @property
    def size(self) -> int:
        """How many bytes the body has."""
        return len(self.body) if isinstance(self.body, bytes) else self.body.stop - self.body.start


class ErrorReason(Enum):
    """Why a request is refused; each API has its own table from these to an HTTP status and a code."""

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
    """A request that is not served, with the reason and a sentence for whoever sent it."""

    def __init__(self, reason: ErrorReason, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason
        self.message = sentence


def parameter_error(sentence: str) -> ApiError:
    """The refusal of a parameter that the documents do not allow."""
    return ApiError(ErrorReason.PARAMETER, sentence)
