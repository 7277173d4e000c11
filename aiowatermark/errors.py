"""Error tree of the package, split by what the caller can do next.

::

    WatermarkError
    ├── InvalidInput (ValueError)        correct the call; nothing was sent
    │   └── Unsupported                  choose another provider; this one cannot do it
    ├── AuthenticationError              correct the API key
    ├── InsufficientCredits              add credits to the account
    ├── RateLimited                      retry after `.retry_after` seconds
    ├── Rejected                         the provider refused the job; nothing was paid
    ├── SubmissionInDoubt                it may have been paid: check the account before submitting again; see `.token`
    ├── JobFailed                        the provider accepted the job and could not do it; see `.snapshot`
    ├── DeadlineExceeded (TimeoutError)  the job continues at the provider: `client.resume(error.token)`
    ├── JobNotFound                      the provider does not know a job that it had accepted; see `.token`
    ├── ProviderUnavailable              retry later; nothing was lost
    ├── UnexpectedAnswer                 the answer does not match the provider's documents; see `.answer`
    ├── TransferFailed                   an upload or download failed; retry the transfer
    ├── ResultExpired                    the provider no longer has the result
    └── StoreError                       the store is unusable; no new job is paid for
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    # for type checkers only: jobs stands above errors and imports it
    from .jobs import Snapshot, Status


class WatermarkError(Exception):
    """Root of the tree. Every error names the provider and the job it is about, where there is one.

    Args:
        message: what happened; `str(error)` adds the provider, the job and the answer.
        answer: the provider's raw answer, redacted and shortened.
        provider: the provider's name.
        key: the job's key.
        token: the text that resumes the job.

    `status` is the status of the answer, HTTP's or that in its body; None if there was no answer. `request_id` is the
    provider's name for the request, which its support asks for; None if it gave none.

    Each argument is an attribute of the error, None if unknown.
    """

    def __init__(
        self,
        message: str,
        *,
        answer: str | None = None,
        provider: str | None = None,
        key: str | None = None,
        token: str | None = None,
    ) -> None:
        # args is (message,) only: pickle and copy call the class with args and then restore all attributes
        super().__init__(message)
        self.message = message
        self.answer = answer
        self.provider = provider
        self.key = key
        self.token = token
        self.status: int | None = None
        self.request_id: str | None = None

    def about(self, *, provider: str | None, key: str | None, token: str | None) -> Self:
        """Set the provider and job this error is about, where not set yet, and return the error."""
        self.provider = self.provider or provider
        self.key = self.key or key
        self.token = self.token or token
        return self

    def __str__(self) -> str:
        """Return the message, the provider, job and request in brackets, and the provider's answer, all on one line."""
        request = self.request_id and f"request {self.request_id}"
        context = ", ".join(part for part in (self.provider, self.key and f"job {self.key}", request) if part)
        text = f"{self.message} [{context}]" if context else self.message
        text = f"{text} (answer: {self.answer})" if self.answer else text
        # a message may quote the name of a file: it must not control a terminal or pass for another line of a log
        return text if text.isprintable() else "".join(each if each.isprintable() else "\ufffd" for each in text)


class InvalidInput(WatermarkError, ValueError):
    """The call is wrong: an argument, a file or a setting. Nothing was submitted."""


class Unsupported(InvalidInput):
    """This provider does not offer the call or does not accept the input. Nothing was submitted."""


class AuthenticationError(WatermarkError):
    """The provider does not accept the API key."""


class InsufficientCredits(WatermarkError):
    """The account does not have enough credits for the job; nothing was paid."""


class RateLimited(WatermarkError):
    """The provider received too many requests, or the account's rate limit left no slot before the deadline.

    Args:
        message: as in `WatermarkError`, like `answer`, `provider`, `key` and `token`.
        retry_after: seconds after which to try again; None if unknown.
    """

    def __init__(
        self,
        message: str,
        *,
        retry_after: float | None = None,
        answer: str | None = None,
        provider: str | None = None,
        key: str | None = None,
        token: str | None = None,
    ) -> None:
        super().__init__(message, answer=answer, provider=provider, key=key, token=token)
        self.retry_after = retry_after


class Rejected(WatermarkError):
    """The provider refused the request; no job was created and nothing was paid."""


class SubmissionInDoubt(WatermarkError):
    """The paid request was sent and no usable answer arrived, so it may have been charged.

    The SDK does not send it again. `token` names the job; check the account before submitting again. `advice` has the
    commands that settle the doubt (Python calls if the command line cannot open the store); None if there are none.
    """

    advice: str | None = None

    def __str__(self) -> str:
        """Return the text of any error, and what settles the doubt."""
        if self.advice is None:
            return super().__str__()
        where = f"your account at {self.provider}" if self.provider else "your account"
        return f"{super().__str__()}. Look for it in {where}, then run one of: {self.advice}"


class JobFailed(WatermarkError):
    """The provider accepted the job and could not do it.

    Args:
        message: as in `WatermarkError`, like `answer`, `provider`, `key` and `token`.
        snapshot: the last observation of the job; None in the error of a single output.
        retryable: True if the same input may succeed later, False if it takes another one, None if the provider does
            not tell. A new attempt is a new charge.
    """

    def __init__(
        self,
        message: str,
        *,
        snapshot: Snapshot | None = None,
        retryable: bool | None = None,
        answer: str | None = None,
        provider: str | None = None,
        key: str | None = None,
        token: str | None = None,
    ) -> None:
        super().__init__(message, answer=answer, provider=provider, key=key, token=token)
        self.snapshot = snapshot
        self.retryable = retryable


class DeadlineExceeded(WatermarkError, TimeoutError):
    """The job did not end before its deadline. It continues at the provider, and `token` resumes it.

    Args:
        message: as in `WatermarkError`, like `answer`, `provider`, `key` and `token`.
        seconds: the deadline that passed, counted from the start of the job.
        last_status: the last status of the job that is known.
    """

    def __init__(
        self,
        message: str,
        *,
        seconds: float | None = None,
        last_status: Status | None = None,
        answer: str | None = None,
        provider: str | None = None,
        key: str | None = None,
        token: str | None = None,
    ) -> None:
        super().__init__(message, answer=answer, provider=provider, key=key, token=token)
        self.seconds = seconds
        self.last_status = last_status

    def __str__(self) -> str:
        """Return the text of any error, and the call that continues the job."""
        advice = f": continue it with client.resume({self.token!r})" if self.token else ""
        return f"{super().__str__()}{advice}"


class JobNotFound(WatermarkError):
    """The provider does not know a job that it had accepted, and that may have been paid.

    Its key stays used, and `token` names the job: ask the provider's support for the task.
    """


class ProviderUnavailable(WatermarkError):
    """The provider could not be reached or reports a server error.

    Args:
        message: as in `WatermarkError`, like `answer`, `provider`, `key` and `token`.
        sent: False only if provably no byte of the request reached the provider, so that sending it again is safe.
        retry_after: the provider's hint in seconds; None if it gave none.
    """

    def __init__(
        self,
        message: str,
        *,
        sent: bool = True,
        retry_after: float | None = None,
        answer: str | None = None,
        provider: str | None = None,
        key: str | None = None,
        token: str | None = None,
    ) -> None:
        super().__init__(message, answer=answer, provider=provider, key=key, token=token)
        self.sent = sent
        self.retry_after = retry_after


class UnexpectedAnswer(WatermarkError):
    """The provider's answer does not match its documents and cannot be interpreted safely."""


class TransferFailed(WatermarkError):
    """Media could not be read, uploaded, downloaded or written to disk."""


class ResultExpired(WatermarkError):
    """The result's URL has expired and the provider does not issue a new one."""


class StoreError(WatermarkError):
    """The store is unusable: damaged, full, unreachable or written by a newer version. No new job is paid for.

    A job that was submitted before continues at the provider.
    """
