"""Faults on demand: what can go wrong between a client and a provider, each kind a value with its own constructor."""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import Enum

from attrs import field, frozen

STEPS = frozenset({"submit", "query", "result", "ticket", "upload", "start", "credits"})
_PAID_STEPS = frozenset({"submit", "start"})


class FaultKind(Enum):
    """How the answer, or the job itself, goes wrong."""

    STATUS = "status"
    DROPPED = "dropped"
    STALLED = "stalled"
    GARBAGE = "garbage"
    SLOW = "slow"
    CUT = "cut"
    EXPIRED = "expired"
    FORGOTTEN = "forgotten"
    FAILED = "failed"


@frozen
class Fault:
    """One thing that goes wrong. `after_work`: the work was done, and billed, before the answer went wrong."""

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
        """An HTTP status; without a body, the provider's own shape of an error."""
        return cls(FaultKind.STATUS, after_work, code=code, headers=headers or {}, body=_encode(body))

    @classmethod
    def dropped_before(cls) -> Fault:
        """The connection is closed without an answer; no work was done and nothing was charged."""
        return cls(FaultKind.DROPPED)

    @classmethod
    def dropped_after(cls) -> Fault:
        """The work was done and billed, and then the connection is closed without an answer."""
        return cls(FaultKind.DROPPED, after_work=True)

    @classmethod
    def stalled(cls, seconds: float | None = None, *, after_work: bool = False) -> Fault:
        """No answer, for some seconds (then it comes as usual) or until the client leaves."""
        return cls(FaultKind.STALLED, after_work, amount=seconds)

    @classmethod
    def garbage(cls, body: bytes = b"<html>") -> Fault:
        """The work was done and billed; the answer is a 200 that no parser understands."""
        return cls(FaultKind.GARBAGE, after_work=True, body=body)

    @classmethod
    def slow(cls, bytes_per_second: float) -> Fault:
        """The answer drips."""
        return cls(FaultKind.SLOW, after_work=True, amount=_positive(bytes_per_second))

    @classmethod
    def cut(cls, after_bytes: int) -> Fault:
        """The answer's head promises the whole length, and the connection ends after so many bytes of it."""
        return cls(FaultKind.CUT, after_work=True, amount=max(0, after_bytes))

    @classmethod
    def expired(cls) -> Fault:
        """The signed link of a result or of an upload is no longer valid."""
        return cls(FaultKind.EXPIRED, steps=frozenset({"result", "upload"}))

    @classmethod
    def forgotten(cls) -> Fault:
        """A query of a task that exists is answered as if it did not."""
        return cls(FaultKind.FORGOTTEN, steps=frozenset({"query"}))

    @classmethod
    def failed(
        cls, reason: str = "The job failed.", *, state: str | int | None = None, refund: bool | None = None
    ) -> Fault:
        """The job is accepted and billed and then fails, with the provider's own state if one is given.

        `refund=None` gives the money back where the documents say so: for Dewatermark's videos.
        """
        told = None if state is None else str(state)
        return cls(FaultKind.FAILED, steps=_PAID_STEPS, reason=reason, state=told, refund=refund)

    @property
    def spoils_the_job(self) -> bool:
        """Whether the job goes wrong and not an answer."""
        return self.kind is FaultKind.FAILED

    @property
    def spoils_the_answer(self) -> bool:
        """Whether an answer goes wrong and not the job."""
        return self.kind is not FaultKind.FAILED


def _encode(body: bytes | str | Mapping[str, object] | None) -> bytes | None:
    if body is None or isinstance(body, bytes):
        return body
    return body.encode() if isinstance(body, str) else json.dumps(body).encode()


def _positive(rate: float) -> float:
    if rate <= 0:
        raise ValueError(f"{rate} bytes a second: a positive number.")
    return rate
