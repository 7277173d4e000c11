"""Model of a provider, a store and processes that can crash, for the state machine test; no sockets, no real time.

    World     what survives a crash: the provider's tasks and charges, the content of the store, and for each key the
              statuses that were written to it
    Process   one process of the user: the transport and the store that its client is given. Every request and every
              store call passes `step`; once the process is dead, `step` raises `ProcessDied`, so that nothing the
              client still does has an effect on the world, as after a SIGKILL. `crash_at` counts the steps until then.

A store write has a step on either side: a process may die before the write, or after it and before the caller knows.
A paid request has steps before it is sent, before it arrives and after its answer was sent. Its `fault`, used once, is

    none            charged        accepted, answered 200
    not sent        not charged    the connection fails before the request was sent; `on_sent` is not called
    refused         not charged    answered 400
    request lost    not charged    sent, but it never arrives
    answer lost     charged        accepted, but the connection fails before the answer
    500 after work  charged        accepted, answered 500

A client cannot tell the last three apart by what was charged: this is what "in doubt" means. With `early`, the task is
completed and its callback delivered before the answer to the submission is sent.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any, Self

from attrs import define, field

import aiowatermark as aw
from aiowatermark.jobs import Record
from aiowatermark.media.base import ProgressCallback
from aiowatermark.media.inspection import ResultCheck
from aiowatermark.testing import connection_lost, json_response
from aiowatermark.wire import Multipart, Request, Response


@define
class FakeTask:
    """A job at the provider; `state` is 0 while it is processed, 1 when done, -1 when failed (PicWish's numbers)."""

    task_id: str
    link: str
    callback_key: str | None
    state: int = 0


@define
class World:
    """What survives every process: the provider's tasks, charges by link, and the content of the store."""

    charges: Counter[str] = field(factory=Counter)
    tasks: dict[str, FakeTask] = field(factory=dict)
    store: aw.MemoryStore = field(factory=aw.MemoryStore)
    history: dict[str, list[aw.Status]] = field(factory=dict)

    def accept(self, form: Multipart) -> FakeTask:
        """Charge for a submission and create its task."""
        link = form.fields["url"]
        assert isinstance(link, str)
        url = form.fields.get("callback_url")
        key = url.rsplit("/", 1)[1] if isinstance(url, str) else None
        task = FakeTask(f"task-{len(self.tasks)}", link, key)
        self.charges[link] += 1
        self.tasks[task.task_id] = task
        return task

    def task_data(self, task: FakeTask) -> dict[str, Any]:
        """The task as the provider describes it, in answers and in callbacks."""
        data: dict[str, Any] = {"task_id": task.task_id, "state": task.state}
        return data | ({"file": "https://x.example/" + task.task_id} if task.state == 1 else {})

    def delivery(self, task: FakeTask) -> aw.Delivery:
        return aw.Delivery(json.dumps({"status": 200, "data": self.task_data(task)}).encode(), "application/json")


class ProcessDied(BaseException):
    """The process is dead; not an Exception, so that no handler of the SDK mistakes it for a failure."""


@define(eq=False)
class Process:
    """One process of the user: its transport and its view of the store, which both stop working when it dies."""

    world: World
    receiver: aw.CallbackReceiver | None = None
    dead: bool = False
    fault: str = "none"
    early: bool = False
    crash_at: int | None = None

    @property
    def coordinator(self) -> None:
        return None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        pass

    def step(self) -> None:
        """A point at which the process may die. Raises ProcessDied if it does, or is dead already."""
        if self.crash_at is not None:
            self.crash_at -= 1
            self.dead = self.dead or self.crash_at < 0
        if self.dead:
            raise ProcessDied

    # the transport

    async def perform(
        self,
        request: Request,
        *,
        timeout: float,  # noqa: ASYNC109
        progress: object = None,
        on_sent: Callable[[], object] | None = None,
    ) -> Response:
        # taken here: the fault of the next submission must not replace it while this one is under way
        fault = "none"
        if not request.repeatable:
            fault, self.fault = self.fault, "none"
        # the first byte may leave from here on, whatever becomes of the process
        if on_sent is not None and fault != "not sent":
            on_sent()
        self.step()
        await asyncio.sleep(0.01)
        self.step()
        if request.repeatable:
            return self._query(request)
        response = await self._submit(request, fault)
        await asyncio.sleep(0.01)
        self.step()
        return response

    def _query(self, request: Request) -> Response:
        task = self.world.tasks.get(request.target.rsplit("/", 1)[1])
        return json_response(404) if task is None else json_response(status=200, data=self.world.task_data(task))

    async def _submit(self, request: Request, fault: str) -> Response:
        if fault == "not sent":
            raise connection_lost(sent=False)
        if fault == "refused":
            return json_response(400, message="no")
        if fault == "request lost":
            raise connection_lost(sent=True)
        assert isinstance(request.body, Multipart)
        task = self.world.accept(request.body)
        if self.early and self.receiver is not None and task.callback_key is not None:
            task.state = 1
            await self.receiver.receive(task.callback_key, self.world.delivery(task))
        if fault == "answer lost":
            raise connection_lost(sent=True)
        if fault == "500 after work":
            return json_response(500)
        return json_response(status=200, data={"task_id": task.task_id})

    async def download(
        self,
        url: str,
        target: Path,
        max_bytes: int | None,
        progress: ProgressCallback | None = None,
        check: ResultCheck | None = None,
    ) -> Path:
        raise AssertionError(url)

    async def read(self, url: str, max_bytes: int | None, check: ResultCheck | None = None) -> bytes:
        raise AssertionError(url)

    # the store

    async def open(self, record: Record) -> Record | None:
        self.step()
        existing = await self.world.store.open(record)
        self._log_status(record if existing is None else existing)
        self.step()
        return existing

    async def put(self, record: Record) -> Record | None:
        self.step()
        stored = await self.world.store.put(record)
        if stored is not None:
            self._log_status(stored)
        self.step()
        return stored

    async def forget(self, record: Record) -> bool:
        self.step()
        free = await self.world.store.forget(record)
        if free:
            self.world.history.pop(record.key, None)
        return free

    async def get(self, key: str) -> Record | None:
        self.step()
        return await self.world.store.get(key)

    async def by_callback(self, callback: str) -> Record | None:
        self.step()
        return await self.world.store.by_callback(callback)

    async def by_task(self, account: str, task_id: str) -> Record | None:
        self.step()
        return await self.world.store.by_task(account, task_id)

    async def unfinished(self) -> AsyncIterator[Record]:
        async for record in self.world.store.unfinished():
            self.step()
            yield record

    async def unacknowledged(self) -> AsyncIterator[Record]:
        async for record in self.world.store.unacknowledged():
            self.step()
            yield record

    async def acknowledge(self, records: Sequence[Record]) -> None:
        self.step()
        await self.world.store.acknowledge(records)

    def _log_status(self, record: Record) -> None:
        self.world.history.setdefault(record.key, []).append(record.snapshot.status)


def number_in(link: str) -> str:
    """The number in a link: that of its job."""
    match = re.search(r"(\d+)", link)
    assert match is not None
    return match[1]
