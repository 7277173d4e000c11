"""Results of checks, as lines for people and as JSON for programs."""

from __future__ import annotations

import json
import sys

import click
from attrs import frozen

from ..console.texts import shown_on

_MARGIN = " " * 8
JSON_VERSION = 1
"""Version of the JSON lines; it is raised when a field changes its meaning or goes."""


@frozen
class CheckResult:
    """Result of one check: `ok` is None for a remark, which is not a failure; `advice` is what to do, in one sentence.

    `check` is the group of checks that it is of, if that is not the one it was found in.
    """

    ok: bool | None
    text: str
    advice: str = ""
    check: str = ""

    @property
    def line(self) -> str:
        """The result as one line, and a second one with the advice; broken at words on a terminal."""
        label, colour = {True: ("ok", "green"), False: ("failed", "red"), None: ("-", None)}[self.ok]
        text, advice = (shown_on(sys.stdout, f"{_MARGIN}{each}") for each in (self.text, self.advice))
        line = f"{click.style(f'{label:<6}', fg=colour)}  {text.removeprefix(_MARGIN)}"
        return f"{line}\n{advice}" if self.advice else line

    def json_line(self, check: str) -> str:
        """The result as a JSON object; `check` names the group of checks in which it was found."""
        fields = {"ok": self.ok, "text": self.text, "advice": self.advice or None}
        return json.dumps({"v": JSON_VERSION, "check": self.check or check, **fields})


def passed(text: str) -> CheckResult:
    """Return the result of a check that passed."""
    return CheckResult(ok=True, text=text)


def failed(text: str, advice: str) -> CheckResult:
    """Return the result of a check that failed."""
    return CheckResult(ok=False, text=text, advice=advice)


def remark(text: str, advice: str = "") -> CheckResult:
    """Return what is worth knowing and is not a failure: something optional is missing, or could be safer."""
    return CheckResult(ok=None, text=text, advice=advice)
