"""Every error of the package, split by what the caller can do next.

::

    WatermarkError
    ├── InvalidInput (ValueError)        mend the call; nothing was sent
    ├── Unsupported                      this provider cannot do it; choose another
    ├── AuthenticationError              mend the key
    ├── InsufficientCredits              top the account up
    ├── RateLimited                      come back after `.retry_after` seconds
    ├── Rejected                         the provider refused the job; nothing was paid
    ├── SubmissionInDoubt                it may have been paid: look at `.token` before sending again
    ├── JobFailed                        the provider took the job and failed; see `.snapshot`
    ├── DeadlineExceeded (TimeoutError)  the job goes on at the provider: `client.resume(error.token)`
    ├── ProviderUnavailable              try later; nothing was lost
    ├── UnexpectedAnswer                 the provider said something no document explains; see `.answer`
    ├── TransferFailed                   bytes could not be moved; try the transfer again
    ├── ResultExpired                    the result is gone at the provider
    └── StoreError                       the store cannot be used; nothing new is paid
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from .jobs import Snapshot


class WatermarkError(Exception):
    """The root of the tree; every error names its provider and job where there is one.

    `answer` is the provider's raw answer, redacted and shortened; `token` resumes the job it is about.
    """

    provider: str | None = None
    key: str | None = None
    token: str | None = None
    answer: str | None = None

    def __init__(self, message: str, *, answer: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.answer = answer

    def about(self, *, provider: str | None, key: str | None, token: str | None) -> Self:
        """Name the provider and job this is about; what is already named stays."""
        self.provider = self.provider or provider
        self.key = self.key or key
        self.token = self.token or token
        return self

    def __str__(self) -> str:
        """Say what happened, where, and what the provider answered."""
        where = ", ".join(part for part in (self.provider, self.key and f"job {self.key}") if part)
        text = f"{self.message} [{where}]" if where else self.message
        return f"{text} (answer: {self.answer})" if self.answer else text


class InvalidInput(WatermarkError, ValueError):
    """The call cannot be right; nothing was submitted and nothing is lost."""


class Unsupported(WatermarkError):
    """This provider has no such call or takes no such input."""


class AuthenticationError(WatermarkError):
    """The provider does not accept the API key."""


class InsufficientCredits(WatermarkError):
    """The account has no money left for this job; nothing was paid."""


class RateLimited(WatermarkError):
    """The provider wants fewer requests; `retry_after` is its hint in seconds, if it gave one."""

    retry_after: float | None = None


class Rejected(WatermarkError):
    """The provider refused the request; no job was made and nothing was paid."""


class SubmissionInDoubt(WatermarkError):
    """The paid request left and no usable answer came back: it may have been taken.

    It is not sent again by itself. `token` names the job; look at the account before submitting anew.
    """


class JobFailed(WatermarkError):
    """The provider took the job and could not do it; `snapshot` is its last word."""

    snapshot: Snapshot | None = None


class DeadlineExceeded(WatermarkError, TimeoutError):
    """The job did not end in time; it goes on at the provider and `token` resumes it."""


class ProviderUnavailable(WatermarkError):
    """The provider could not be reached, or says that it is out of order.

    `sent` is False where provably no byte of the request was taken, so that sending again is safe.
    """

    sent: bool = True
    retry_after: float | None = None


class UnexpectedAnswer(WatermarkError):
    """The provider's answer is of no shape its documents or common sense explain."""


class TransferFailed(WatermarkError):
    """Bytes could not be read, sent, fetched or written."""


class ResultExpired(WatermarkError):
    """The result's link has expired and the provider gives no new one."""


class StoreError(WatermarkError):
    """The store cannot be used: it is damaged, full, newer than this version, or away; nothing new is paid.

    A job that was submitted before goes on at the provider.
    """
