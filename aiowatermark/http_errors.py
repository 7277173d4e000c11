"""What refusals mean: by their status, by what they say of money, and as errors."""

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
    """Whether a refusal speaks of money and not of haste."""
    text = text.lower()
    return any(word in text for word in _BILLING_WORDS) and not any(word in text for word in _RATE_LIMIT_WORDS)


def error_class_for(reply: Response) -> type[WatermarkError]:
    """What an answer's HTTP status means, and where it may be about money, its text."""
    if reply.status in {402, 403, 429} and mentions_billing(reply.excerpt):
        return InsufficientCredits
    if reply.status in ERROR_BY_STATUS:
        return ERROR_BY_STATUS[reply.status]
    if reply.status in range(400, 500):
        return Rejected
    return ProviderUnavailable if reply.status >= 500 else UnexpectedAnswer


STATUS_TEXT = {
    400: "refused the parameters",
    401: "does not accept the API key",
    403: "forbids this",
    404: "knows no such task or address",
    405: "knows no such call",
    413: "finds the file too large",
    429: "wants fewer requests",
    500: "has an internal error",
    502: "is out of order",
    503: "is out of order",
    504: "is out of order",
}


def error_from_response(kind: type[WatermarkError], message: str, reply: Response) -> WatermarkError:
    """An error of a kind about an answer, with the redacted answer and the server's hint."""
    error = kind(message, answer=reply.excerpt)
    if isinstance(error, RateLimited | ProviderUnavailable):
        error.retry_after = reply.retry_after
    return error


def raise_unexpected(message: str, reply: Response) -> NoReturn:
    """Raise UnexpectedAnswer about an answer."""
    raise UnexpectedAnswer(message, answer=reply.excerpt)
