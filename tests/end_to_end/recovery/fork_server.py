"""Fork server: runs each client in a forked child that may be killed with SIGKILL at a given point.

A kill test needs a fresh process for each of hundreds of kills. Starting an interpreter and importing the SDK would
cost far more than the work that is interrupted, so this process imports everything once and then forks:

    stdin    one JSON task per line: store, base_url, key, jobs {key: size}, die_at, die_after
    stdout   one JSON answer per line: {"killed": by SIGKILL, "exit": exit code, "report": the child's, or null}

For each line it forks a child, reads the child's report from a pipe until the child's end of it closes, reaps the
child and prints the answer. It runs one child at a time, and has neither an event loop nor threads of its own, so that
a child starts from a clean state: `asyncio.run` there creates the only loop, and the store the only thread.

A child opens a client on the store, recovers, submits all jobs that are not in doubt and reports what it got. It is
killed in one of two ways, neither of which it can catch or prepare for:

    die_at=n       the store kills the process at its n-th transition. Each write has two: before it reaches the real
                   store (the write is lost), and after it (the write is durable, but the caller never learns of it).
                   Counting n upwards visits every point between two writes.
    die_after=s    an interval timer kills the process after s seconds, wherever it is: in a request, between two polls,
                   in the middle of a file write.

With neither, the child runs to its end. A child that fails in any other way exits with 3 and has no report.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from typing import Any, Self

import aiowatermark as aw
from aiowatermark.jobs import Record
from aiowatermark.stores.owners import Owners
from aiowatermark.stores.sqlite.store import SQLiteStore
from tests.support.images import make_jpeg_of_size


class KillingStore:
    """A store that kills its process at the n-th transition: before a write, or right after it."""

    def __init__(self, inner: SQLiteStore, die_at: int | None) -> None:
        self.inner = inner
        self.remaining = die_at

    def count_transition(self) -> None:
        if self.remaining is not None:
            self.remaining -= 1
            if self.remaining < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    @property
    def coordinator(self) -> None:
        return None

    @property
    def owners(self) -> Owners:
        return self.inner.owners

    async def __aenter__(self) -> Self:
        await self.inner.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.inner.__aexit__(*exc)

    async def open(self, record: Record) -> Record | None:
        self.count_transition()
        existing = await self.inner.open(record)
        self.count_transition()
        return existing

    async def put(self, record: Record) -> Record | None:
        self.count_transition()
        stored = await self.inner.put(record)
        self.count_transition()
        return stored

    async def forget(self, record: Record) -> bool:
        self.count_transition()
        free = await self.inner.forget(record)
        self.count_transition()
        return free

    # reads change nothing, so there is nothing to interrupt

    async def get(self, key: str) -> Record | None:
        return await self.inner.get(key)

    async def by_callback(self, callback: str) -> Record | None:
        return await self.inner.by_callback(callback)

    async def by_task(self, account: str, task_id: str) -> Record | None:
        return await self.inner.by_task(account, task_id)

    def unacknowledged(self) -> AsyncIterator[Record]:
        return self.inner.unacknowledged()

    async def acknowledge(self, records: Sequence[Record]) -> None:
        await self.inner.acknowledge(records)

    def unfinished(self) -> AsyncIterator[Record]:
        return self.inner.unfinished()


async def run_jobs(task: dict[str, Any]) -> dict[str, Any]:
    """Recover, submit all jobs that are not in doubt, and report the size of each result, or its error."""
    provider = aw.GptGe(task["key"], base_url=task["base_url"], polling=aw.Polling(0.01, 1.2, 0.1))
    store = KillingStore(SQLiteStore(task["store"]), task["die_at"])
    async with aw.Client(provider, store=store, deadline=60, drain=0.0) as client:
        recovery = await client.recover()
        in_doubt = {record.key for record in recovery.in_doubt}
        sizes = {key: size for key, size in task["jobs"].items() if key not in in_doubt}
        # the harness recognises a job by the size of its image
        jobs = (client.remove(make_jpeg_of_size(size), key=key) for key, size in sizes.items())
        results = await asyncio.gather(*jobs, return_exceptions=True)
        lengths = [len(await result.read()) if isinstance(result, aw.Result) else repr(result) for result in results]
    return {"finished": dict(zip(sizes, lengths, strict=True)), "in_doubt": sorted(in_doubt)}


def run_child(task: dict[str, Any], pipe: int) -> None:
    """Run the task in the forked child, write the report to the pipe and exit; never returns normally."""
    if task["die_after"] is not None:
        signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        signal.setitimer(signal.ITIMER_REAL, task["die_after"])
    os.write(pipe, json.dumps(asyncio.run(run_jobs(task))).encode())
    # without the cleanup of the interpreter, which belongs to the parent
    os._exit(0)


def main() -> None:
    """Fork a child for each line of stdin and print one answer for each."""
    for line in sys.stdin:
        read_end, write_end = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(read_end)
            try:
                run_child(json.loads(line), write_end)
            finally:
                # also after an exception: a child must never continue this loop
                os._exit(3)
        # the child's copy is then the only one, and its death is the end of the file
        os.close(write_end)
        with os.fdopen(read_end, "rb") as pipe:
            report = pipe.read()
        _, status = os.waitpid(pid, 0)
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        answer = {
            "killed": killed,
            "exit": os.waitstatus_to_exitcode(status),
            "report": json.loads(report or b"null"),
        }
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
