"""Settlements: the lines that say how a job in doubt is settled, the same wherever one is reported."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ...observation.commands import AccountOptions, Commands


def settlement_lines(
    jobs: Sequence[tuple[str, str]], account: AccountOptions, commands: Commands, total: int | None = None
) -> Iterator[str]:
    """Yield what the user can do about jobs in doubt, each a name and a key; `total` is their number, if not all given.

    Each is settled by itself: one may have been paid and another not. So the commands are those of the first job, and
    work as they are; the others differ in their keys.
    """
    (name, key), others = jobs[0], (total or len(jobs)) - 1
    if others:
        yield f"For {name}:"
    for case, command in commands.settlements(key, account).items():
        yield f"{case}:"
        yield f"  {command}"
    if others:
        yield f"The other{'' if others == 1 else f' {others}'} likewise, each with its own key; this lists the keys:"
        yield f"  {commands.list_jobs('-v')}"
