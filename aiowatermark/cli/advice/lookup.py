"""Look-up of jobs by what users type: a key or a token; the one text for what is neither."""

from __future__ import annotations

from ... import InvalidInput, JobStore
from ...jobs import Record
from ...observation.commands import Commands
from ...tokens import PREFIXES
from ..console.texts import MAX_NAME, printable


def unknown_job(word: str, commands: Commands | None) -> InvalidInput:
    """Return the error for a key or token that names no job; `commands` are those of the store, None without one."""
    shown = printable(word, MAX_NAME)
    if word.startswith(PREFIXES):
        return InvalidInput(f"{shown!r} is not a whole token: give it unchanged, as it was printed")
    if commands is None:
        return InvalidInput(
            f"{shown!r} is not a token, and keys need a store: give -o with the output folder of "
            "`aiowatermark remove`, or the --store that was given to it"
        )
    listed = f"`{commands.list_jobs('-v')}` lists the keys of unfinished jobs"
    return InvalidInput(f"the store contains no job with the key {shown!r}: {listed}{commands.remark}")


async def find_job(store: JobStore, key: str, commands: Commands) -> Record:
    """Return the record of a job; raises InvalidInput, with what to do, if the store has none under this key."""
    if (record := await store.get(key)) is None:
        raise unknown_job(key, commands)
    return record
