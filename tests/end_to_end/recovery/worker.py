"""One worker: asks for jobs of all six flows on a shared store; kills or stops itself at a chosen store transition.

A worker is a forked child of `fork_server`. It opens a client for each provider on one store, recovers, asks for every
job by its key until the job has ended, and reports what it got for each:

    an integer            the job finished; its result has so many bytes
    "in doubt"            the client raised SubmissionInDoubt
    "never ended: …"      neither, within the time the worker had; with the last error
    "wrong: …"            an error that must not occur here

Each write to the store has two transitions: before it reaches the real store (the write is lost if the process dies
here) and after it (the write is durable, but the caller never learns of it). `at` counts them: at the n-th one the
process sends `signal` to itself, SIGKILL or SIGSTOP. It can neither catch nor prepare for that.

Where `stay_until` names a file, the worker keeps its clients open until that exists: it is then a living replica.
"""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Self

from attrs import define

import aiowatermark as aw
from aiowatermark.providers import provider_class
from tests.support.images import make_jpeg_of_size, make_mask
from tests.support.stores import ObservedStore
from tests.support.videos import make_mp4

FLOWS = ("gptge", "picwish", "kaze", "photoeraser", "dewatermark", "dewatermark video")
"""The six ways in which jobs are submitted: one per provider, and Dewatermark's videos."""
POLLING = aw.Polling(0.01, 1.2, 0.1)
MASK = make_mask(300, 300)


@define(eq=False)
class SignallingStore(ObservedStore):
    """A store that sends its process `signal` at the transition `at`: before a write, or right after it."""

    at: int | None
    signal: int

    async def __aenter__(self) -> Self:
        while True:
            try:
                return await super().__aenter__()
            except aw.StoreError:  # its server is being restarted
                await asyncio.sleep(0.02)

    async def observe(self, method: str) -> None:
        # reads change nothing, so there is nothing to interrupt
        if self.at is None or method not in {"open", "put", "forget", "acknowledge"}:
            return
        self.at -= 1
        if self.at < 0:
            self.at = None
            os.kill(os.getpid(), self.signal)


def open_store(store: dict[str, Any]) -> aw.SQLiteStore | aw.RedisStore:
    """The store that a task describes: {"path"}, or {"url", "prefix", "lease"}."""
    if "path" in store:
        return aw.SQLiteStore(Path(store["path"]))
    return aw.RedisStore(store["url"], prefix=store["prefix"], lease=store["lease"])


async def run(task: dict[str, Any]) -> dict[str, int | str]:
    """Recover, ask for all jobs until they end, and report the outcome of each by its key."""
    store = SignallingStore(open_store(task["store"]), at=task["at"], signal=task["signal"])
    async with AsyncExitStack() as stack:
        clients = {name: await stack.enter_async_context(_client(name, task, store)) for name in task["keys"]}
        waiting = {asyncio.create_task(_recover(client)) for client in clients.values()}
        outcomes = await asyncio.gather(
            *(_end_of(clients[job["flow"].split()[0]], job, task["patience"]) for job in task["jobs"])
        )
        await asyncio.gather(*waiting)
        # another process creates the file: there is no event to wait for
        while task["stay_until"] is not None and not Path(task["stay_until"]).exists():  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    return {job["key"]: outcome for job, outcome in zip(task["jobs"], outcomes, strict=True)}


def _client(name: str, task: dict[str, Any], store: SignallingStore) -> aw.Client:
    key = task["keys"][name]
    credentials = (key,) if isinstance(key, str) else key
    provider = provider_class(name)(*credentials, base_url=task["base_url"], polling=POLLING, requests_per_second=None)
    return aw.Client(provider, store=store, deadline=60, drain=0.0)


async def _recover(client: aw.Client) -> None:
    while True:
        try:
            await client.recover()
        except aw.StoreError:
            await asyncio.sleep(0.05)
        else:
            return


async def _end_of(client: aw.Client, job: dict[str, Any], patience: float) -> int | str:
    """Ask for a job from its time on until it has ended, for `patience` seconds at most."""
    problem: BaseException | None = None
    await asyncio.sleep(job["begin"] - time.monotonic())
    try:
        async with asyncio.timeout(patience):
            while True:
                try:
                    result = await client.remove(_media(job), key=job["key"], mask=_mask(job))
                    return len(await result.read())
                except (aw.InvalidInput, aw.JobFailed) as error:
                    return f"wrong: {error!r}"
                except aw.SubmissionInDoubt:
                    return "in doubt"
                except aw.WatermarkError as error:
                    problem = error
                await asyncio.sleep(0.05)
    except TimeoutError:
        return f"never ended: {problem!r}"


def _media(job: dict[str, Any]) -> Any:
    match job["flow"]:
        case "photoeraser":
            return job["urls"]
        case "dewatermark video":
            return make_mp4(job["size"])
        case _:
            return make_jpeg_of_size(job["size"])


def _mask(job: dict[str, Any]) -> bytes | None:
    return MASK if job["flow"] == "photoeraser" else None
