"""Advice: what an operator runs to settle a job in doubt, complete, so that it works as it is printed."""

from __future__ import annotations

import shlex

from attrs import frozen

from ..jobs import Record
from ..redaction import mask_password, redact_url

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
        option, note = store_option(self.location)
        commands = (_command(record.key, f"{choice} {option}") for choice in (asked, "--paid", "--unpaid"))
        return "; ".join(commands) + (f" ({note})" if note else "")

    @property
    def _base_url_option(self) -> str:
        if self.base_url is None:
            return ""
        # what is shortened here holds a secret, or may
        url = shlex.quote(self.base_url) if redact_url(self.base_url) == self.base_url else "URL"
        return f" --base-url {url}"


def store_option(location: str) -> tuple[str, str]:
    """Return the option `--store` for a command that is printed, and what to set before it runs; empty if nothing.

    In place of a URL with a password, or with options, stands a variable of the shell.
    """
    if (shown := mask_password(location)) == location:
        return f"--store {shlex.quote(location)}", ""
    return f"--store {_URL_VARIABLE}", f"set STORE_URL to the store's URL, {shown} in full"


def _command(key: str, options: str) -> str:
    # what begins with a hyphen would be taken for an option
    words = f"{options} -- {shlex.quote(key)}" if key.startswith("-") else f"{shlex.quote(key)} {options}"
    return f"aiowatermark jobs settle {words}"
