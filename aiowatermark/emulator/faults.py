"""Faults: the failures that a test can inject between a client and an emulated provider."""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import Enum

from attrs import field, frozen

STEPS = frozenset({"submit", "query", "result", "ticket", "upload", "start", "credits"})
PAID_STEPS = frozenset({"submit", "start"})
_UPLOAD_STEPS = frozenset({"submit", "upload"})


class FaultKind(Enum):
    """What goes wrong: the response to one request, or (FAILED) the job itself."""

    STATUS = "status"
    DROPPED = "dropped"
    STALLED = "stalled"
    GARBAGE = "garbage"
    SLOW = "slow"
    CUT = "cut"
    UPLOAD_CUT = "upload cut"
    EXPIRED = "expired"
    FORGOTTEN = "forgotten"
    FAILED = "failed"


@frozen
class Fault:
    """One failure to inject; use the constructors below.

    `after_work`: the request is processed, and charged, before its response goes wrong. `steps`: the steps at which
    this fault can occur. `amount`: seconds for STALLED, bytes per second for SLOW, bytes for CUT and UPLOAD_CUT.
    """

    kind: FaultKind
    after_work: bool = False
    steps: frozenset[str] = field(default=STEPS, repr=False)
    code: int = 200
    headers: Mapping[str, str] = field(factory=dict)
    body: bytes | None = field(default=None, repr=False)
    amount: float | None = None
    reason: str = ""
    state: str | None = None
    refund: bool | None = None

    @classmethod
    def status(
        cls,
        code: int,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | str | Mapping[str, object] | None = None,
        after_work: bool = False,
    ) -> Fault:
        """Answer with this HTTP status; without `body`, in the shape of the provider's own errors."""
        return cls(FaultKind.STATUS, after_work, code=code, headers=headers or {}, body=_encode(body))

    @classmethod
    def dropped_before(cls) -> Fault:
        """Close the connection without a response; the request was not processed and nothing was charged."""
        return cls(FaultKind.DROPPED)

    @classmethod
    def dropped_after(cls) -> Fault:
        """Process the request, charge for it, then close the connection without a response."""
        return cls(FaultKind.DROPPED, after_work=True)

    @classmethod
    def stalled(cls, seconds: float | None = None, *, after_work: bool = False) -> Fault:
        """Send nothing for `seconds`, then the usual response; with None, until the client disconnects."""
        return cls(FaultKind.STALLED, after_work, amount=seconds)

    @classmethod
    def garbage(cls, body: bytes = b"<html>") -> Fault:
        """Process the request, charge for it, then answer 200 with a body that is not valid JSON."""
        return cls(FaultKind.GARBAGE, after_work=True, body=body)

    @classmethod
    def slow(cls, bytes_per_second: float) -> Fault:
        """Send the response body at this rate. Raises ValueError unless it is positive."""
        return cls(FaultKind.SLOW, after_work=True, amount=_positive(bytes_per_second))

    @classmethod
    def cut(cls, after_bytes: int) -> Fault:
        """Announce the whole length, send `after_bytes` bytes of the body, then close the connection."""
        return cls(FaultKind.CUT, after_work=True, amount=max(0, after_bytes))

    @classmethod
    def upload_cut(cls, at_byte: int = 0) -> Fault:
        """Read `at_byte` bytes of the request's body, then close the connection; nothing is processed or charged."""
        return cls(FaultKind.UPLOAD_CUT, steps=_UPLOAD_STEPS, amount=max(0, at_byte))

    @classmethod
    def expired(cls) -> Fault:
        """Answer as if the signed URL of a result or of an upload had expired."""
        return cls(FaultKind.EXPIRED, steps=frozenset({"result", "upload"}))

    @classmethod
    def forgotten(cls) -> Fault:
        """Answer a query of an existing task as if the task did not exist."""
        return cls(FaultKind.FORGOTTEN, steps=frozenset({"query"}))

    @classmethod
    def failed(
        cls, reason: str = "The job failed.", *, state: str | int | None = None, refund: bool | None = None
    ) -> Fault:
        """Accept and charge the job, then let it fail, with the provider's own `state` if one is given.

        `refund=None` refunds where the documents say so: for Dewatermark's videos.
        """
        state_text = None if state is None else str(state)
        # a job can fail only where it is created and charged
        return cls(FaultKind.FAILED, steps=PAID_STEPS, reason=reason, state=state_text, refund=refund)

    @property
    def affects_job(self) -> bool:
        """Whether the job fails; the response to the request is then the usual one."""
        return self.kind is FaultKind.FAILED

    @property
    def affects_response(self) -> bool:
        """Whether the response to the request goes wrong; the job itself is then as usual."""
        return self.kind is not FaultKind.FAILED


def _encode(body: bytes | str | Mapping[str, object] | None) -> bytes | None:
    if body is None or isinstance(body, bytes):
        return body
    return body.encode() if isinstance(body, str) else json.dumps(body).encode()


def _positive(bytes_per_second: float) -> float:
    if bytes_per_second <= 0:
        raise ValueError(f"bytes_per_second must be a positive number, not {bytes_per_second}.")
    return bytes_per_second
