"""Results that cannot be written: what and why, in plain words, and who keeps the result of the paid job."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ... import InvalidInput, Result, StoreError, TransferFailed, provider_class
from ..console.problems import os_error_text


class NotSaved(TransferFailed):
    """The job is paid and done, and its result could not be written; `kept` says where the result is."""

    def __init__(self, folder: Path, reason: str, kept: str) -> None:
        super().__init__(f"its result could not be written in {folder}: {reason}")
        self.kept = kept


@contextmanager
def saving_errors(folder: Path, kept: str, temporary: str = "") -> Iterator[None]:
    """Raise what keeps a result from being written in `folder` as NotSaved, and errors of the download as they are.

    `temporary` is the name under which it is downloaded: an error that begins with it is one of this machine.
    """
    try:
        yield
    except OSError as error:
        raise NotSaved(folder, os_error_text(error), kept) from error
    except StoreError as error:  # the manifest is on the same disk
        raise NotSaved(folder, error.message, kept) from error
    except (InvalidInput, TransferFailed) as error:
        if not temporary or temporary not in error.message or isinstance(error, NotSaved):
            raise
        cause = error.__context__
        reason = os_error_text(cause) if isinstance(cause, OSError) else error.message.rpartition(": ")[2]
        raise NotSaved(folder, reason, kept) from error


def keeper_of(result: Result, *, is_remembered: bool) -> str:
    """Return who keeps the result of a job that could not be written, as a sentence without its end."""
    if result.url is not None:
        return f"{provider_class(result.provider).display_name} keeps the result for now"
    if is_remembered:  # it came as bytes, which the store keeps
        return "the store of jobs keeps the result"
    return "the result is lost: it came only once, and --no-store remembers nothing"
