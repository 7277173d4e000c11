"""HTTP errors: maps the status and text of a refusal to an error of the package."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NoReturn

from .errors import (
    AuthenticationError,
    InsufficientCredits,
    ProviderUnavailable,
    RateLimited,
    Rejected,
    UnexpectedAnswer,
    WatermarkError,
)
from .wire import Response

ERROR_BY_STATUS: Mapping[int, type[WatermarkError]] = {
    401: AuthenticationError,
    402: InsufficientCredits,
    403: AuthenticationError,
    408: ProviderUnavailable,
    429: RateLimited,
}
STATUS_TEXT = {
    400: "refused the parameters",
    401: "does not accept the API key",
    403: "denies access",
    404: "does not know this task or path",
    405: "does not support this call",
    413: "refused the file as too large",
    429: "received too many requests",
    500: "reports an internal error",
    502: "is unavailable",
    503: "is unavailable",
    504: "is unavailable",
}
"""What to say of a status, as the rest of a sentence that begins with the provider's name."""
_WORDS: Mapping[type[WatermarkError], str] = {
    AuthenticationError: "{} does not accept the API key",
    InsufficientCredits: "No credits left at {}",
    RateLimited: "{} received too many requests",
}
_OTHER_WORDS: Mapping[type[WatermarkError], str] = {
    ProviderUnavailable: "{} reports an internal error",
    UnexpectedAnswer: "{} answered in an undocumented way",
}
_BILLING_WORDS = ("credit", "balance", "insufficient", "quota", "payment", "recharge", "top up", "余额", "额度")
_RATE_LIMIT_WORDS = (
    "rate limit",
    "rate_limit",
    "request rate",
    "too many",
    "qps",
    "frequen",
    "slow down",
    "per sec",
    "per min",
)


def mentions_billing(text: str) -> bool:
    """Whether a refusal is about credits and not about the request rate."""
    text = text.lower()
    # "request quota per minute exceeded" has a word of both lists and is about the rate
    return any(word in text for word in _BILLING_WORDS) and not any(word in text for word in _RATE_LIMIT_WORDS)


def error_class_for(reply: Response) -> type[WatermarkError]:
    """Return the error class for a refusal, by its HTTP status and, where that is ambiguous, its text."""
    # providers use 403 and 429 for a wrong key or too many requests as well as for missing credits
    if reply.status in {402, 403, 429} and mentions_billing(reply.excerpt):
        return InsufficientCredits
    if reply.status in ERROR_BY_STATUS:
        return ERROR_BY_STATUS[reply.status]
    if reply.status in range(400, 500):
        return Rejected
    return ProviderUnavailable if reply.status >= 500 else UnexpectedAnswer


def is_redirect(reply: Response) -> bool:
    """Whether an answer sends the request elsewhere; requests to an API never follow it."""
    return 300 <= reply.status < 400


def redirect_error(name: str, reply: Response) -> WatermarkError:
    """Return the error for a redirect; `name` is the provider's.

    After 301, 307 and 308 a client must repeat the request elsewhere, so this one had no effect: it is rejected. Any
    other status may be the answer to a request that was carried out. A query that is redirected says nothing about its
    job, so it is never a refusal.
    """
    origin = reply.redirect_origin
    if origin is None:
        message = f"{name} redirected the request (HTTP {reply.status}), which was not followed: check base_url"
    else:
        message = (
            f"{name} redirected the request (HTTP {reply.status}) to {origin}, which was not followed: verify that "
            "this host is the vendor's before you set it as base_url="
        )
    not_taken = reply.status in {301, 307, 308} and not reply.repeatable
    return (Rejected if not_taken else UnexpectedAnswer)(message, answer=reply.excerpt)


def refusal(
    error_class: type[WatermarkError], name: str, reply: Response, code: int | None = None, details: str = ""
) -> WatermarkError:
    """Return the error for a provider's refusal, in plain words with the provider's own code or, without one, HTTP's.

    `name` is the provider's, `code` the one in the body, `details` follow it in the brackets.
    """
    words = _in_words(error_class, name, reply, code)
    return error_from_response(error_class, f"{words} ({_number(reply, code)}{details})", reply)


def _number(reply: Response, code: int | None) -> str:
    if code is None:
        return f"HTTP {reply.status}"
    return f"status {code}" if code in range(100, 600) else f"code {code}"


def _in_words(error_class: type[WatermarkError], name: str, reply: Response, code: int | None) -> str:
    status = code if code in STATUS_TEXT else reply.status
    if error_class in _WORDS and status != 403:
        return _WORDS[error_class].format(name)
    if status in STATUS_TEXT and error_class is not InsufficientCredits:
        return f"{name} {STATUS_TEXT[status]}"
    return {**_WORDS, **_OTHER_WORDS}.get(error_class, "{} refused the request").format(name)


def error_from_response(error_class: type[WatermarkError], message: str, reply: Response) -> WatermarkError:
    """Return an error with the redacted answer and, where the class has one, the provider's `retry_after`."""
    if issubclass(error_class, RateLimited | ProviderUnavailable):
        error: WatermarkError = error_class(message, answer=reply.excerpt, retry_after=reply.retry_after)
    else:
        error = error_class(message, answer=reply.excerpt)
    error.status = reply.status
    return error


def raise_unexpected(message: str, reply: Response) -> NoReturn:
    """Raise UnexpectedAnswer with the redacted answer."""
    raise UnexpectedAnswer(message, answer=reply.excerpt)
