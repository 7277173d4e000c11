"""Forks children that submit jobs with a store and die of SIGKILL where they are told to; one JSON line a child.

A fresh interpreter for each of hundreds of kills would cost more than the kills: everything is imported here once.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Self

import aiowatermark as aw
from aiowatermark.jobs import Record
from aiowatermark.stores.sqlite.store import SQLiteStore


def picture(size: int) -> bytes:
    """A picture known by its size."""
    head = b"\xff\xd8\xff\xc0\x00\x11\x08\x00\x18\x00\x20\x03" + b"\x01\x11\x00" * 3
    return head + b"\x00" * (size - len(head))


class MortalStore:
    """A store whose process dies at its n-th transition: before it is written, or right after."""

    def __init__(self, inner: aw.JobStore, die_at: int | None) -> None:
        self.inner = inner
        self.left = die_at

    def pass_by(self) -> None:
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    @property
    def coordinator(self) -> None:
        return None

    async def __aenter__(self) -> Self:
        await self.inner.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.inner.__aexit__(*exc)

    async def open(self, record: Record) -> Record | None:
        self.pass_by()
        known = await self.inner.open(record)
        self.pass_by()
        return known

    async def put(self, record: Record) -> Record:
        self.pass_by()
        stored = await self.inner.put(record)
        self.pass_by()
        return stored

    async def forget(self, key: str) -> None:
        self.pass_by()
        await self.inner.forget(key)
        self.pass_by()

    async def get(self, key: str) -> Record | None:
        return await self.inner.get(key)

    async def by_callback(self, callback: str) -> Record | None:
        return await self.inner.by_callback(callback)

    def unfinished(self) -> AsyncIterator[Record]:
        return self.inner.unfinished()


async def work(task: dict[str, Any]) -> dict[str, Any]:
    """One child's life: look what there is, then have all jobs done that are not in doubt."""
    provider = aw.GptGe(task["key"], base_url=task["base_url"], polling=aw.Polling(0.01, 1.2, 0.1))
    store = MortalStore(SQLiteStore(task["store"]), task["die_at"])
    async with aw.Client(provider, store=store, deadline=60, drain=0.0) as client:
        recovery = await client.recover()
        doubted = {record.key for record in recovery.in_doubt}
        sizes = {name: size for name, size in task["jobs"].items() if name not in doubted}
        jobs = (client.remove(picture(size), key=name) for name, size in sizes.items())
        results = await asyncio.gather(*jobs, return_exceptions=True)
        lengths = [len(await result.read()) if isinstance(result, aw.Result) else repr(result) for result in results]
    return {"finished": dict(zip(sizes, lengths, strict=True)), "in_doubt": sorted(doubted)}


def child(task: dict[str, Any], out: int) -> None:
    """Do the work, or die of it."""
    if task["die_after"] is not None:
        signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        signal.setitimer(signal.ITIMER_REAL, task["die_after"])
    os.write(out, json.dumps(asyncio.run(work(task))).encode())
    os._exit(0)


def main() -> None:
    """One task a line in, one answer a line out: what the child said, or null where it was killed."""
    for line in sys.stdin:
        ours, theirs = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(ours)
            try:
                child(json.loads(line), theirs)
            finally:
                os._exit(3)
        os.close(theirs)
        with os.fdopen(ours, "rb") as pipe:
            said = pipe.read()
        _, status = os.waitpid(pid, 0)
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        exited = os.waitstatus_to_exitcode(status)
        print(json.dumps({"killed": killed, "exit": exited, "said": json.loads(said or b"null")}), flush=True)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[3]))
    main()
