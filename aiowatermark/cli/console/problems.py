"""Errors for people: what happened and what to do, without class names and without the raw answers of providers.

The whole text, with the answer, is in the lines of --json.
"""

from __future__ import annotations

import json
import re

from ... import AuthenticationError, InsufficientCredits, InvalidInput, WatermarkError, provider_class
from ...connection_errors import connection_problem

_STATUS = re.compile(r"HTTP \d{3} (?=[{\[<])")
_MESSAGE_FIELDS = ("message", "msg", "error", "detail")
_IN_CODE, _IN_COMMAND = "give the client `callbacks=` so that it can serve", "give --callback-url so that it can fetch"


def problem_text(error: BaseException) -> str:
    """Return what a person in front of a terminal should read of an error, on one line."""
    text = plain_text(error).replace(_IN_CODE, _IN_COMMAND)
    if isinstance(error, AuthenticationError):
        return f"{text}: check {_variables_of(error)}"
    if isinstance(error, InsufficientCredits):
        return f"{text}: after topping up, the same command continues"
    said = _said_in(error.answer) if isinstance(error, WatermarkError) and error.answer else ""
    return f"{text} (it says: {said})" if said and said not in text else text


def plain_text(error: BaseException) -> str:
    """Return the message of an error, without class names and numbers of the operating system."""
    if isinstance(error, WatermarkError):
        return error.message
    if isinstance(error, OSError):
        return os_error_text(error)
    return str(error) or f"an unexpected error ({type(error).__name__})"


def os_error_text(error: OSError) -> str:
    """Return why the system refused to read or write, or why a connection failed, without the number of the error."""
    if error.strerror is None:
        return str(error) or connection_problem(error)
    return f"{error.filename}: {error.strerror}" if error.filename else error.strerror


def _variables_of(error: AuthenticationError) -> str:
    """Return the environment variables with the keys of the provider that refused them."""
    try:
        return " and ".join(provider_class(error.provider or "").env.values())
    except InvalidInput:
        return "the API key"


def _said_in(answer: str) -> str:
    """Return the message in an answer, empty if there is none that a person can read."""
    answer = _STATUS.sub("", answer)
    if answer.lstrip()[:1] not in {"{", "[", "<"}:
        return answer
    try:
        fields = json.loads(answer)
    except ValueError:
        return ""  # it was shortened, or is a page
    values = [fields.get(name) for name in _MESSAGE_FIELDS] if isinstance(fields, dict) else []
    return next((value for value in values if isinstance(value, str)), "")
