"""Errors for people: what happened and what to do, without class names and without the raw answers of providers.

The whole text, with the answer, is in the lines of --json.
"""

from __future__ import annotations

import errno
import json
import os
import re

from ... import AuthenticationError, InsufficientCredits, InvalidInput, JobFailed, WatermarkError, provider_class
from ...connection_errors import connection_problem
from .wording import in_command_words

_STATUS = re.compile(r"HTTP \d{3} (?=[{\[<])")
_MESSAGE_FIELDS = ("message", "msg", "error", "detail")
_NO_REASONS = {None, "", "the task failed"}
"""Reasons of a failure that say no more than that it failed."""
_OS_REASONS = {
    errno.EACCES: "this user has no permission there",
    errno.EPERM: "this user has no permission there",
    errno.EROFS: "the disk can only be read",
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the space that this user may take on the disk is used up",
    errno.EFBIG: "the file is larger than the disk or a limit allows",
    errno.EMFILE: "too many files are open",
}
_FILE_FOR_FOLDER = (errno.EEXIST, errno.ENOTDIR)


def problem_text(error: BaseException) -> str:
    """Return what a person in front of a terminal should read of an error, on one line."""
    if isinstance(error, JobFailed):
        return _failure_text(error)
    text = plain_text(error)
    if isinstance(error, AuthenticationError):
        return f"{text}: check {key_variables(error.provider, otherwise='the API key')}"
    if isinstance(error, InsufficientCredits):
        return f"{text}: after topping up, the same command continues"
    said = _said_in(error.answer) if isinstance(error, WatermarkError) and error.answer else ""
    return f"{text} (it says: {said})" if said and said not in text else text


def error_text(error: BaseException) -> str:
    """Return an error for programs and logs: its whole message, and what the provider answered."""
    text = plain_text(error)
    return f"{text} (answer: {error.answer})" if isinstance(error, WatermarkError) and error.answer else text


def plain_text(error: BaseException) -> str:
    """Return the message of an error, without class names and numbers of the operating system."""
    if isinstance(error, JobFailed) and _reason_of(error) in _NO_REASONS:
        return _failure_text(error)
    if isinstance(error, WatermarkError):
        return in_command_words(error.message)
    if isinstance(error, OSError):
        return os_error_text(error)
    return str(error) or f"an unexpected error ({type(error).__name__})"


def os_error_text(error: OSError) -> str:
    """Return why the system refused to read or write a file, in plain words."""
    if error.errno in _FILE_FOR_FOLDER and error.filename is not None:
        return f"{error.filename} is a file, where a folder is needed"
    if error.errno is not None and error.strerror == os.strerror(error.errno) and error.errno in _OS_REASONS:
        return _OS_REASONS[error.errno]
    return error.strerror or str(error) or connection_problem(error)


def _failure_text(error: JobFailed) -> str:
    """Return the failure of a job as one sentence: what failed is said once."""
    title = provider_title(error.provider, otherwise="the provider")
    reason = _reason_of(error)
    if reason in _NO_REASONS:
        return f"{title} could not do it and gives no reason"
    return f"{title} could not do it: {reason}"


def _reason_of(error: JobFailed) -> str | None:
    return error.message if error.snapshot is None else error.snapshot.reason


def key_variables(name: str | None, *, otherwise: str = "the environment") -> str:
    """Return the environment variables that hold the API key of a provider; `otherwise` if it is not known."""
    try:
        return " and ".join(provider_class(name or "").env.values())
    except InvalidInput:
        return otherwise


def provider_title(name: str | None, *, otherwise: str) -> str:
    """Return how people call a provider; `otherwise` if it is not known."""
    try:
        return provider_class(name or "").display_name
    except InvalidInput:
        return otherwise


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
