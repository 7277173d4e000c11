"""What the user asked for: the settings that reports and suggested commands repeat."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from attrs import frozen

from ..console.texts import mask_password
from ..options.providers import base_url_is_from_environment

_MAX_COMMAND = 1000
_HIDDEN = re.compile(r"://\S*[@?]")


@frozen
class BatchRequest:
    """What `remove` or `resume` was asked for. `title` is the provider's display name.

    `store` is the store's location, None without one; `default_store` tells whether it is the one in the output
    folder. `arguments` are those of the command line, without the program's name. `account` is the name that was given
    to the account, if any.
    """

    provider: str
    title: str
    folder: Path
    base_url: str | None
    as_json: bool
    store: str | None = None
    default_store: bool = False
    arguments: Sequence[str] = ()
    account: str | None = None

    @property
    def store_words(self) -> list[str]:
        """The options by which other commands find the store; a password is left out."""
        if self.default_store or self.store is None:
            return ["-o", str(self.folder)]
        return ["--store", mask_password(self.store)]

    def same_command(self) -> str:
        """Return the command that was given; a short form if it is too long, or holds what must not be shown.

        Without --again: what that paid for is found by the command without it, too.
        """
        command = shlex.join(["aiowatermark", *(word for word in self.arguments if word != "--again")])
        if len(command) <= _MAX_COMMAND and not _HIDDEN.search(command):
            return command
        return f"aiowatermark {self.arguments[0] if self.arguments else ''} …"

    def resume_command(self, words: Sequence[str]) -> str:
        """Return the command that fetches the results of these keys or tokens."""
        command = ["aiowatermark", "resume", "--provider", self.provider, "-o", str(self.folder)]
        if self.base_url:
            command += ["--base-url", self.base_url]
        if self.store and not self.default_store:
            command += self.store_words
        return shlex.join([*command, *words])

    @property
    def settle_words(self) -> list[str]:
        """The provider, and the address that was given for it, as `jobs settle --provider` needs them."""
        if self.base_url and not base_url_is_from_environment():
            return [self.provider, "--base-url", self.base_url]
        return [self.provider]

    def jobs_command(self, action: str, words: Sequence[str]) -> str:
        """Return a subcommand of `jobs` for these keys and options."""
        return shlex.join(["aiowatermark", "jobs", action, *self.store_words, *words])
