"""A provider as a model: it counts charges, forgets nothing, and loses answers when it is told to."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Self

from attrs import define, field

import aiowatermark as aw
from aiowatermark.errors import ProviderUnavailable
from aiowatermark.jobs import Record
from aiowatermark.wire import Multipart, Request, Response


@define
class Task:
    """A job as the provider sees it."""

    task_id: str
    link: str
    callback_key: str | None
    state: int = 0


@define
class World:
    """What outlives every process: the provider, its books, and the store's content."""

    charges: Counter[str] = field(factory=Counter)
    tasks: dict[str, Task] = field(factory=dict)
    memory: aw.MemoryStore = field(factory=aw.MemoryStore)
    history: dict[str, list[aw.Status]] = field(factory=dict)

    def accept(self, form: Multipart) -> Task:
        link = form.fields["url"]
        assert isinstance(link, str)
        url = form.fields.get("callback_url")
        key = url.rsplit("/", 1)[1] if isinstance(url, str) else None
        task = Task(f"task-{len(self.tasks)}", link, key)
        self.charges[link] += 1
        self.tasks[task.task_id] = task
        return task

    def told(self, task: Task) -> dict[str, Any]:
        data: dict[str, Any] = {"task_id": task.task_id, "state": task.state}
        return data | ({"file": "https://x.example/" + task.task_id} if task.state == 1 else {})

    def delivery(self, task: Task) -> aw.Delivery:
        return aw.Delivery(json.dumps({"status": 200, "data": self.told(task)}).encode(), "application/json")


def answer(status: int = 200, **payload: Any) -> Response:
    return Response(status, {}, json.dumps(payload).encode())


class Died(BaseException):
    """The process is gone: nothing it does has an effect any more."""


@define(eq=False)
class Process:
    """One process of a user's: its transport and its view of the store, both dead once it crashed."""

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
        """One moment at which a process may die."""
        if self.crash_at is not None:
            self.crash_at -= 1
            self.dead = self.dead or self.crash_at < 0
        if self.dead:
            raise Died

    # the transport

    async def perform(self, request: Request, *, timeout: float, progress: object = None) -> Response:  # noqa: ASYNC109
        self.step()
        await asyncio.sleep(0.01)
        self.step()
        if request.repeatable:
            return self._look(request)
        reply = await self._submit(request)
        await asyncio.sleep(0.01)
        self.step()
        return reply

    def _look(self, request: Request) -> Response:
        task = self.world.tasks.get(request.target.rsplit("/", 1)[1])
        return answer(404) if task is None else answer(status=200, data=self.world.told(task))

    async def _submit(self, request: Request) -> Response:
        fault, self.fault = self.fault, "none"
        if fault == "never left":
            raise _lost(sent=False)
        if fault == "refused":
            return answer(400, message="no")
        if fault == "lost before":
            raise _lost(sent=True)
        assert isinstance(request.body, Multipart)
        task = self.world.accept(request.body)
        if self.early and self.receiver is not None and task.callback_key is not None:
            task.state = 1
            await self.receiver.receive(task.callback_key, self.world.delivery(task))
        if fault == "lost after":
            raise _lost(sent=True)
        return answer(500) if fault == "broken after" else answer(status=200, data={"task_id": task.task_id})

    async def download(self, url: str, target: Path, max_bytes: int | None, progress: Any = None) -> None:
        raise AssertionError(url)

    async def read(self, url: str, max_bytes: int | None) -> bytes:
        raise AssertionError(url)

    # the store

    async def open(self, record: Record) -> Record | None:
        self.step()
        known = await self.world.memory.open(record)
        self._seen(record if known is None else known)
        self.step()
        return known

    async def put(self, record: Record) -> Record:
        self.step()
        stored = await self.world.memory.put(record)
        self._seen(stored)
        self.step()
        return stored

    async def forget(self, key: str) -> None:
        self.step()
        self.world.history.pop(key, None)
        await self.world.memory.forget(key)

    async def get(self, key: str) -> Record | None:
        self.step()
        return await self.world.memory.get(key)

    async def by_callback(self, callback: str) -> Record | None:
        self.step()
        return await self.world.memory.by_callback(callback)

    async def unfinished(self) -> AsyncIterator[Record]:
        async for record in self.world.memory.unfinished():
            self.step()
            yield record

    def _seen(self, record: Record) -> None:
        self.world.history.setdefault(record.key, []).append(record.snapshot.status)


def _lost(*, sent: bool) -> ProviderUnavailable:
    error = ProviderUnavailable("no answer came")
    error.sent = sent
    return error


def number(link: str) -> str:
    found = re.search(r"(\d+)", link)
    assert found is not None
    return found[1]
