"""What the user asked for: the settings that reports and suggested commands repeat."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from attrs import frozen

from ...observation.commands import AccountOptions, Commands, quote

_MAX_COMMAND = 1000
_HIDDEN = re.compile(r"://\S*[@?]")


@frozen
class BatchRequest:
    """What `remove` or `resume` was asked for. `title` is the provider's display name.

    `account` leads to the account from this shell. `store` is the store's location, None without one; `default_store`
    tells whether it is the one in the output folder. `arguments` are those of the command line, without the program's
    name; `reads_stdin`: one of them stands for the lines of stdin.
    """

    account: AccountOptions
    title: str
    folder: Path
    as_json: bool
    store: str | None = None
    default_store: bool = False
    arguments: Sequence[str] = ()
    reads_stdin: bool = False

    @property
    def pays_anew(self) -> bool:
        """Whether --again would pay anew: `resume` submits nothing."""
        return self.arguments[:1] == ["remove"]

    @property
    def commands(self) -> Commands:
        """The commands for the jobs of this store and folder."""
        return Commands(None if self.default_store else self.store, str(self.folder))

    @property
    def notes(self) -> list[str]:
        """What to set before these commands run."""
        return [note for note in (self.commands.note, self.account.note) if note]

    def same_command(self) -> str:
        """Return the command that was given; empty if it is too long, or holds what must not be shown.

        Without --again: what that paid for is found by the command without it, too.
        """
        words = [self._shown_word(word) for word in self.arguments if word != "--again"]
        command = " ".join(["aiowatermark", *words])
        return "" if len(command) > _MAX_COMMAND or _HIDDEN.search(command) else command

    def _shown_word(self, word: str) -> str:
        """Return an argument for a shell; in place of a store's URL with a password, what the other commands have."""
        option, equals, value = word.partition("=")
        if self.store is not None and self.commands.note and self.store in {word, value}:
            return f"{option}={self.commands.place[1]}" if option == "--store" and equals else self.commands.place[1]
        return quote(word)
