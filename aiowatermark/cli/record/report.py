"""Report: what a run would cost, how its paths ended, and which unknowns of the provider are known now."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ... import Provider, Record
from .paths import RecordingPath

_WIDTH = 14


def cost_lines(kind: type[Provider], paths: Sequence[RecordingPath]) -> list[str]:
    """Return what each path does and costs, and the sum."""
    lines = [f"  {path.name:<{_WIDTH}}{path.summary}: {path.cost}" for path in paths]
    submissions = sum(path.submissions for path in paths)
    return [*lines, f"In all {submissions} submissions, charged by {kind.display_name}."]


def report_lines(document: Mapping[str, Any]) -> list[str]:
    """Return the report of a finished cassette, without anything that the cassette does not hold."""
    head = document["recorded"]
    lines = [f"{head['provider']}, recorded {head['at']}", ""]
    for name, path in head.get("paths", {}).items():
        lines.append(f"  {name:<{_WIDTH}}{path['outcome']}, {path['seconds']} s  {path.get('error', '')}".rstrip())
    playable, unplayed = len(document["cassettes"]), len(document["unplayed"])
    lines += ["", f"{playable} entries that tests can play, {unplayed} that they cannot."]
    for title, known in (("Known now", True), ("Still unknown", False)):
        findings = [each for each in document["unknowns"] if each["known"] is known]
        lines += ["", f"{title} ({len(findings)}):"]
        lines += [f"  {each['question']}\n      {each['evidence']}" for each in findings]
    return lines


def resume_lines(records: Sequence[Record], provider: str, store: Path, base_url: str | None) -> list[str]:
    """Return the commands that fetch the results of jobs that have not ended; empty without any."""
    if not records:
        return []
    base = ["--base-url", base_url] if base_url else []
    command = ["aiowatermark", "resume", "--provider", provider, "--store", str(store), "--all", *base]
    lines = [f"{len(records)} paid or perhaps paid jobs have not ended. Fetch their results with:"]
    lines.append(f"  {shlex.join([*command, '-o', str(store.parent)])}")
    return [*lines, *(f"  token: {record.token}" for record in records)]
