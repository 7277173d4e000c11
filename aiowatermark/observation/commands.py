"""Commands of the command line that texts name: each is complete, so that it works as it is printed.

All of them are composed here: for log lines, errors, reports and the command line itself. Left to the reader are the
id of a task, which only the provider's console shows, and what is secret: in place of a store's URL with a password
stands a variable of the shell, and an address that may hold a secret is left to AIOWATERMARK_BASE_URL. `note` says what
to set then.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

from attrs import frozen

from ..jobs import Record
from ..redaction import mask_password, redact_url

_SETTLEMENTS = (
    (("--unpaid",), "If it is not there", "Those that are not there"),
    (("--task-id", "ID"), "If it has a task id there", "One that has a task id there, each by itself"),
    (("--paid",), "If it was paid and has no task id", "Those that were paid and have no task id"),
)
"""What to do about a job in doubt, and about several, by what the account at the provider shows."""
RESULTS = "results"
"""The folder for results in commands for a store that was not one of an output folder."""
_STORE_VARIABLE, _BASE_URL_VARIABLE = "STORE_URL", "AIOWATERMARK_BASE_URL"
_BASE_URL = "base_url"
_CUT = "…"


@frozen
class AccountOptions:
    """What leads to the account of a job: `name` is empty if the API key does, `base_url` None for the usual one."""

    provider: str
    name: str = ""
    base_url: str | None = None

    @property
    def words(self) -> list[str]:
        """The options that name the account, besides --provider."""
        return [*(["--account", quote(self.name)] if self.name else []), *self.address_words]

    @property
    def address_words(self) -> list[str]:
        """The option --base-url, if one is needed that can be shown."""
        return [] if self.base_url is None or _is_secret(self.base_url) else ["--base-url", quote(self.base_url)]

    @property
    def note(self) -> str:
        """What to set before a command that asks the provider; empty if nothing."""
        if self.base_url is None or not _is_secret(self.base_url):
            return ""
        return f"set {_BASE_URL_VARIABLE} to the address that it was sent to, {redact_url(self.base_url)} in full"


@frozen
class Commands:
    """Composes commands for the jobs of a store; each method returns a line for a shell.

    `store` is what --store takes, None for the store of the output folder `folder`. Without a folder, results go to
    one of the name RESULTS.
    """

    store: str | None = None
    folder: str | None = None

    @property
    def place(self) -> list[str]:
        """The options of `jobs` that lead to the store."""
        if self.store is None:
            return ["-o", quote(self.folder or RESULTS)]
        hidden = mask_password(self.store) != self.store
        return ["--store", f'"${_STORE_VARIABLE}"' if hidden else quote(self.store)]

    @property
    def note(self) -> str:
        """What to set before these commands run; empty if nothing."""
        if self.store is None or (shown := mask_password(self.store)) == self.store:
            return ""
        return f"set {_STORE_VARIABLE} to the store's URL, {shown} in full"

    @property
    def remark(self) -> str:
        """The note in brackets, for the end of a sentence; empty if there is none."""
        return f" ({self.note})" if self.note else ""

    @property
    def destination(self) -> str:
        """What a sentence about `resume` says of the folder for the results, if none was given; else empty."""
        return "" if self.folder else f" into the folder `{RESULTS}` (-o names another one)"

    def list_jobs(self, *options: str) -> str:
        """Return the command that lists the jobs."""
        return _line("jobs", *self.place, *options)

    def settle(self, keys: Sequence[str], choice: Sequence[str], account: AccountOptions | None = None) -> str:
        """Return the command that settles jobs in doubt; the address is that of `account` if the provider is asked."""
        address = account.address_words if account is not None and "--task-id" in choice else []
        return _line("jobs settle", *self.place, *_with_keys(keys, [*choice, *address]))

    def settlements(self, keys: Sequence[str], account: AccountOptions) -> dict[str, str]:
        """Return the commands that settle jobs in doubt, by what the account shows; a task is of the first job only."""
        return {
            several if len(keys) > 1 else one: self.settle(keys[:1] if "--task-id" in choice else keys, choice, account)
            for choice, one, several in _SETTLEMENTS
        }

    def forget(self, keys: Sequence[str], *options: str) -> str:
        """Return the command that deletes jobs."""
        return _line("jobs forget", *self.place, *_with_keys(keys, options))

    def resume(self, account: AccountOptions, keys: Sequence[str]) -> str:
        """Return the command that fetches the results of jobs, given by their keys or tokens; of all without any."""
        where = ["--provider", quote(account.provider), "-o", quote(self.folder or RESULTS), *account.words]
        where += [] if self.store is None else self.place
        return _line("resume", *where, *_with_keys(keys)) if keys else _line("resume", "--all", *where)


def preparation_lines(*notes: str) -> list[str]:
    """Return the lines that say what to set before a command runs, each once; empty notes say nothing."""
    return [f"Before that, {note}." for note in dict.fromkeys(notes) if note]


def quote(word: str) -> str:
    """Return a text as one word of a shell, in printable characters only."""
    if word.isprintable():
        return shlex.quote(word)
    return f"$'{''.join(map(_escape, os.fsencode(word)))}'"


def _escape(byte: int) -> str:
    char = chr(byte)
    if not 0x20 <= byte < 0x7F:
        return f"\\x{byte:02x}"
    return f"\\{char}" if char in "'\\" else char


def _with_keys(keys: Sequence[str], options: Iterable[str] = ()) -> list[str]:
    """Return keys, each once, and options in an order in which no key is taken for an option."""
    quoted = [quote(key) for key in dict.fromkeys(keys)]
    return [*options, "--", *quoted] if any(key.startswith("-") for key in keys) else [*quoted, *options]


def _line(command: str, *words: str) -> str:
    return " ".join(["aiowatermark", command, *words])


def _is_secret(base_url: str) -> bool:
    """Whether an address must not be shown as it is, or was shortened in the record because of that."""
    return _CUT in base_url or redact_url(base_url) != base_url


@lru_cache
def labels_of_address(base_url: str, usual: str | None) -> Mapping[str, str]:
    """Return what a record keeps of the address that its job is sent to; empty for the provider's usual one."""
    return {} if base_url == usual else {_BASE_URL: redact_url(base_url)}


def address_of(record: Record) -> str | None:
    """Return the address that a job was sent to; None for the usual one, and if it is not known."""
    return record.labels.get(_BASE_URL)
