"""Settlements: the lines that say how jobs in doubt are settled, the same wherever they are reported."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ...observation.commands import AccountOptions, Commands
from .other_accounts import MAX_KEYS


def settlement_lines(
    jobs: Sequence[tuple[str, str]], account: AccountOptions, commands: Commands, total: int | None = None
) -> Iterator[str]:
    """Yield what the user can do about jobs in doubt, each a name and a key; `total` is their number, if not all given.

    One of several may have been paid and another not: so the commands name all keys, and the text says to check each.
    Inputs of one content are one job.
    """
    all_keys = list(dict.fromkeys(key for _, key in jobs))
    keys, count = all_keys[:MAX_KEYS], total or len(all_keys)
    if count > 1:
        yield "One may have been paid and another not: check each, and leave out the keys of those that differ."
    for case, command in commands.settlements(keys, account).items():
        yield f"{case}{f' (here {jobs[0][0]})' if count > 1 and '--task-id' in command else ''}:"
        yield f"  {command}"
    if count > len(keys):
        yield f"These are the first {len(keys)} of {count}; this lists the keys of all:"
        yield f"  {commands.list_jobs('-v')}"
