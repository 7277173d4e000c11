"""Advice: what an operator runs to settle a job in doubt, complete, so that it works as it is printed."""

from __future__ import annotations

import shlex

from attrs import frozen

from ..jobs import Record
from ..redaction import redact_url

_URL_VARIABLE = '"$STORE_URL"'


@frozen
class SettleAdvice:
    """Where the jobs of a client are settled from.

    `location` is what `--store` of the command line takes, None for a store that it cannot open: then the advice is
    Python. `base_url` is the provider's, if it is not the usual one.
    """

    location: str | None = None
    base_url: str | None = None

    def about(self, record: Record) -> str:
        """Return the three ways to settle the doubt about a job, of which the operator chooses one."""
        if self.location is None:
            choices = ("task_id='ID'", "paid=True", "paid=False")
            return "; ".join(f"await client.settle({record.key!r}, {choice})" for choice in choices)
        asked = f"--task-id ID --provider {shlex.quote(record.provider)}{self._base_url_option}"
        commands = (_command(record.key, f"{choice} --store {self._store}") for choice in (asked, "--paid", "--unpaid"))
        return "; ".join(commands) + self._note

    @property
    def _store(self) -> str:
        location = self.location or ""
        return _URL_VARIABLE if _is_secret(location) else shlex.quote(location)

    @property
    def _note(self) -> str:
        if not self.location or not _is_secret(self.location):
            return ""
        return f" (set STORE_URL to {redact_url(self.location)} with its user, password and options)"

    @property
    def _base_url_option(self) -> str:
        if self.base_url is None:
            return ""
        return " --base-url URL" if _is_secret(self.base_url) else f" --base-url {shlex.quote(self.base_url)}"


def _is_secret(location: str) -> bool:
    """Whether a URL holds what must not be shown; the path of a file never does."""
    return "://" in location and redact_url(location) != location


def _command(key: str, options: str) -> str:
    # what begins with a hyphen would be taken for an option
    words = f"{options} -- {shlex.quote(key)}" if key.startswith("-") else f"{shlex.quote(key)} {options}"
    return f"aiowatermark jobs settle {words}"
