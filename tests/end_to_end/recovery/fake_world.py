"""Model of two providers, a store and processes that can crash, for the state machine test; no sockets, no real time.

    World     what survives a crash: the providers' tasks and charges, the content of the store, and for each key the
              states that were written to it
    Process   one process of the user: the transport and the store that its clients are given. Every request and every
              store call passes `step`; once the process is dead, `step` raises `ProcessDied`, so that nothing its
              clients still do has an effect on the world, as after a SIGKILL. `crash_at` counts the steps until then.

A store write has a step on either side: a process may die before the write, or after it and before the caller knows.
A paid request has steps before it is sent, before it arrives and after its answer was sent. Its `fault`, used once, is

    none            charged        accepted, answered 200
    not sent        not charged    the connection fails before the request was sent; `on_sent` is not called
    busy            not charged    answered 429: the same request is sent again later
    refused         not charged    answered 400
    request lost    not charged    sent, but it never arrives
    answer lost     charged        accepted, but the connection fails before the answer
    500 after work  charged        accepted, answered 500

A client cannot tell the last three apart by what was charged: this is what "in doubt" means. With `early`, the task is
completed and its callback delivered before the answer to the submission is sent.

Images go to PicWish, whose submission creates the task and charges for it. Videos go to Dewatermark: a request for an
upload URL creates the task, the PUT of the file is free, the request that starts the task charges for it, each time it
arrives, and until then queries answer CREATED.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any, Self

from attrs import define, evolve, field, frozen

import aiowatermark as aw
from aiowatermark.jobs import Record, Status
from aiowatermark.media.base import Media, ProgressCallback
from aiowatermark.media.inspection import ResultCheck
from aiowatermark.media.memory import Bytes
from aiowatermark.testing import connection_lost, json_response
from aiowatermark.wire import Multipart, Request, Response

VIDEO_STATES = {0: "RUNNING", 1: "COMPLETED", -1: "FAILED"}


class FakeDewatermark(aw.Dewatermark):
    """Dewatermark without advice on videos, which takes a thread: no virtual clock stands still for threads."""

    capabilities = evolve(aw.Dewatermark.capabilities, video_limits=None)


def link(number: int) -> str:
    """The image of the job with that number."""
    return f"https://images.example/{number}"


def video(number: int) -> bytes:
    """The video of the job with that number."""
    return b"\0\0\0\x18ftypmp42" + number.to_bytes(64)


@define
class FakeTask:
    """A job at a provider; `state` is 0 while it is processed, 1 when done, -1 when failed (PicWish's numbers).

    `key` is that of the job; None for a video whose file has not arrived. `started`: whether it was charged.
    """

    task_id: str
    key: str | None
    callback_key: str | None = None
    state: int = 0
    started: bool = True

    @property
    def is_video(self) -> bool:
        return self.task_id.startswith("video")


@frozen
class State:
    """What a record said at one time."""

    epoch: int
    status: Status
    reason: bool

    @property
    def rank(self) -> int:
        """How far the job is. An attempt without effect is withdrawn, so nothing precedes one that is in doubt."""
        return {
            Status.UPLOADING: 0,
            Status.IN_DOUBT: int(self.reason),
            Status.QUEUED: 2,
            Status.RUNNING: 3,
            Status.SUCCEEDED: 4,
            Status.FAILED: 4,
        }[self.status]


@define
class World:
    """What survives every process: the providers' tasks, charges by key, and the content of the store.

    `renewals` counts, by key, how often a further charge was allowed: the job was forgotten, or its failure was
    replaced because somebody asked for it again. `charges_before` are the charges by then.
    """

    charges: Counter[str] = field(factory=Counter)
    tasks: dict[str, FakeTask] = field(factory=dict)
    store: aw.MemoryStore = field(factory=aw.MemoryStore)
    history: dict[str, list[State]] = field(factory=dict)
    renewals: Counter[str] = field(factory=Counter)
    charges_before: Counter[str] = field(factory=Counter)

    def accept(self, task: FakeTask) -> None:
        """Charge for a submission, or for the start of a video."""
        assert task.key is not None
        task.started = True
        self.charges[task.key] += 1
        self.tasks[task.task_id] = task

    def new_image(self, form: Multipart) -> FakeTask:
        """The task that a submission of an image asks for; it does not exist before it is accepted."""
        source, url = form.fields["url"], form.fields.get("callback_url")
        assert isinstance(source, str)
        callback_key = url.rsplit("/", 1)[1] if isinstance(url, str) else None
        return FakeTask(f"image-{len(self.tasks)}", f"k{number_in(source)}", callback_key)

    def task_data(self, task: FakeTask) -> dict[str, Any]:
        """The task as PicWish describes it, in answers and in callbacks."""
        data: dict[str, Any] = {"task_id": task.task_id, "state": task.state}
        return data | ({"file": "https://x.example/" + task.task_id} if task.state == 1 else {})

    def delivery(self, task: FakeTask) -> aw.Delivery:
        return aw.Delivery(json.dumps({"status": 200, "data": self.task_data(task)}).encode(), "application/json")

    def renew(self, key: str) -> None:
        """Allow one more charge under this key."""
        self.renewals[key] += 1
        self.charges_before[key] = self.charges[key]

    def log_state(self, before: Record | None, record: Record) -> None:
        """Note what the store holds now, and whether that allows a further charge."""
        if before is not None and before.snapshot.status is Status.FAILED and record.unsent:
            self.renew(record.key)
        state = State(record.epoch, record.snapshot.status, record.snapshot.reason is not None)
        self.history.setdefault(record.key, []).append(state)


class ProcessDied(BaseException):
    """The process is dead; not an Exception, so that no handler of the SDK mistakes it for a failure."""


@define(eq=False)
class ProcessOwners:
    """The owners as a process sees them; those of a dead one are gone."""

    process: Process
    registered: set[str] = field(factory=set)

    async def register(self, owner: str) -> None:
        self.process.step()
        self.registered.add(owner)
        await self.process.world.store.owners.register(owner)

    async def unregister(self, owner: str) -> None:
        self.process.step()
        await self.process.world.store.owners.unregister(owner)

    async def is_gone(self, record: Record) -> bool:
        self.process.step()
        return await self.process.world.store.owners.is_gone(record)


@define(eq=False)
class Process:
    """One process of the user: its transport and its view of the store, which both stop working when it dies."""

    world: World
    receiver: aw.CallbackReceiver | None = None
    dead: bool = False
    fault: str = "none"
    early: bool = False
    crash_at: int | None = None
    owners: ProcessOwners = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.owners = ProcessOwners(self)

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

    async def die(self) -> None:
        """Let the process be dead, and its owners with it."""
        self.dead = True
        for owner in self.owners.registered:
            await self.world.store.owners.unregister(owner)

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
            return await self._answer(request)
        response = await self._submit(request, fault)
        await asyncio.sleep(0.01)
        self.step()
        return response

    async def _answer(self, request: Request) -> Response:
        """The answer to a request that costs nothing."""
        name = request.target.rsplit("/", 1)[1]
        if name == "upload":
            task = FakeTask(f"video-{len(self.world.tasks)}", None, started=False)
            self.world.tasks[task.task_id] = task
            return json_response(task_id=task.task_id, upload_signed_url=f"https://x.example/{task.task_id}")
        if isinstance(request.body, Media):
            await asyncio.sleep(2.0)
            self.step()
            assert isinstance(request.body, Bytes)
            self.world.tasks[name].key = f"v{request.body.data[-1]}"
            return json_response()
        return self._query(name)

    def _query(self, name: str) -> Response:
        task = self.world.tasks.get(name)
        if task is None:
            return json_response(404)
        if not task.is_video:
            return json_response(status=200, data=self.world.task_data(task))
        status = VIDEO_STATES[task.state] if task.started else "CREATED"
        return json_response(status=status, download_signed_url=f"https://x.example/{task.task_id}")

    async def _submit(self, request: Request, fault: str) -> Response:
        if fault == "not sent":
            raise connection_lost(sent=False)
        if fault == "busy":
            return json_response(429, {"retry-after": "2"})
        if fault == "refused":
            return json_response(400, message="no")
        if fault == "request lost":
            raise connection_lost(sent=True)
        assert isinstance(request.body, Multipart)
        video_id = request.body.fields.get("task_id")
        task = self.world.tasks[video_id] if isinstance(video_id, str) else self.world.new_image(request.body)
        self.world.accept(task)
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
        if existing is None:
            self.world.log_state(None, record)
        self.step()
        return existing

    async def put(self, record: Record) -> Record | None:
        self.step()
        before = await self.world.store.get(record.key)
        stored = await self.world.store.put(record)
        if stored is not None and stored is record:
            self.world.log_state(before, stored)
        self.step()
        return stored

    async def forget(self, record: Record) -> bool:
        self.step()
        before = await self.world.store.get(record.key)
        free = await self.world.store.forget(record)
        if free and before is not None:
            del self.world.history[record.key]
            if before.snapshot.status.terminal:
                self.world.renew(record.key)
        self.step()
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
        self.step()


def number_in(link: str) -> str:
    """The number in a link: that of its job."""
    match = re.search(r"(\d+)", link)
    assert match is not None
    return match[1]
