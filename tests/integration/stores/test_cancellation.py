"""A verb that is cancelled at any step, over any store: nothing was sent and nothing is left, or the job is found.

A step is a moment before or after a call of the store or a request, or in the middle of a request. The slow tests
cancel some iterations of the event loop later, and thus between the steps. For each verb and store the test cancels at
the first step, then, with a new key, at the second, and so on until the verb ends before its step comes. After each
cancellation

    the job       was not charged and has no record; or it was charged once, and `recover` or its key finds it
    the client    has limits of one, and its next job runs to its end: no slot, lock or future is left
    the end       no task is left, which `no_leftover_tasks` checks

Cancelled is the task that calls the verb ("caller"), or the one that also holds the client open ("client"), which then
closes while the cancellation is under way.
"""

from __future__ import annotations

import asyncio
import base64
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any, Self, TypeAlias

import pytest
from attrs import define, field

import aiowatermark as aw
from aiowatermark.media.base import Media, ProgressCallback
from aiowatermark.media.inspection import ResultCheck
from aiowatermark.testing import json_response
from aiowatermark.wire import Multipart, Request, Response
from tests.support.images import make_jpeg, make_mask
from tests.support.stores import MakeStore, ObservedStore

VIDEO = b"\0\0\0\x18ftypmp42" + bytes(64)
IMAGE = base64.b64encode(make_jpeg()).decode()
BRUSH = make_mask()
SECONDS = 20.0
"""What must not hang has so many."""


def link(key: str) -> str:
    return f"https://images.example/{key}"


@define(eq=False)
class Steps:
    """Cancels `victim` at the step that `remaining` counts down to, or some iterations of the event loop `later`."""

    remaining: int = -1
    victim: asyncio.Task[Any] | None = None
    later: int = 0

    async def step(self) -> None:
        if self.remaining == 0 and self.victim is not None:
            _cancel_after(self.later, self.victim)
        self.remaining -= 1
        # where it is cancelled itself, it is cancelled here
        await asyncio.sleep(0)


def _cancel_after(iterations: int, victim: asyncio.Task[Any]) -> None:
    if iterations == 0:
        victim.cancel()
    else:
        asyncio.get_running_loop().call_soon(_cancel_after, iterations - 1, victim)


@define(eq=False)
class SteppedStore(ObservedStore):
    steps: Steps

    async def observe(self, method: str) -> None:
        await self.steps.step()


@define(eq=False)
class Api:
    """PicWish and Dewatermark: `charges` by the key in a link, or by "image", "refinement" and "video"."""

    steps: Steps = field(factory=Steps)
    charges: Counter[str] = field(factory=Counter)
    finished: bool = True

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        pass

    async def perform(
        self,
        request: Request,
        *,
        timeout: float,  # noqa: ASYNC109
        progress: ProgressCallback | None = None,
        on_sent: Callable[[], object] | None = None,
    ) -> Response:
        await self.steps.step()
        if on_sent is not None:
            on_sent()
        await self.steps.step()
        response = self._answer(request)
        await self.steps.step()
        return response

    def _answer(self, request: Request) -> Response:
        name = request.target.rsplit("/", 1)[1]
        if not request.repeatable:
            assert isinstance(request.body, Multipart)
            return self._accept(name, request.body)
        if name == "upload":
            return json_response(task_id="v1", upload_signed_url="https://x.example/upload")
        if isinstance(request.body, Media):
            return json_response()
        if request.target.startswith("/api/video"):
            status = ("COMPLETED" if self.finished else "PENDING") if self.charges["video"] else "CREATED"
            return json_response(status=status, download_signed_url="https://x.example/v1")
        return json_response(
            status=200, data={"task_id": name, "state": int(self.finished), "file": f"https://x.example/{name}"}
        )

    def _accept(self, name: str, form: Multipart) -> Response:
        if name == "tasks":
            self.charges["video"] += 1
            return json_response(status="CREATED")
        if name == "erase_watermark":
            self.charges["refinement" if "mask_brush" in form.fields else "image"] += 1
            return json_response(edited_image={"image": IMAGE, "mask": None}, session_id="s1", event_id="e1")
        key = str(form.fields["url"]).rsplit("/", 1)[1]
        self.charges[key] += 1
        return json_response(status=200, data={"task_id": f"t-{key}"})

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


# verbs: what is done before, what is cancelled, how the job is asked for again, the name of its charge


@define(eq=False)
class Case:
    """One cancellation: a new API, and the store of all cases."""

    key: str
    store: aw.JobStore
    api: Api = field(factory=Api)
    token: str = ""
    earlier: aw.Result | None = None

    def client(self, provider: aw.Provider, store: aw.JobStore | None = None) -> aw.Client:
        limits = aw.Limits(submissions=1, in_flight=1, transfers=1)
        return aw.Client(
            provider,
            transport=self.api,
            store=store or self.store,
            limits=limits,
            deadline=SECONDS,
            polling=aw.Polling(0.001, 1.0, 0.01),
        )

    async def leave_running(self, client: aw.Client) -> None:
        """Leave a job at the provider, as a client that was closed does."""
        self.api.finished = False
        async with client:
            self.token = (await client.submit(link(self.key), key=self.key)).token
        self.api.finished = True

    async def refine_first(self, client: aw.Client) -> None:
        async with client:
            self.earlier = await client.remove(make_jpeg(), key=f"{self.key}-first")


Action: TypeAlias = Callable[[aw.Client, Case], Coroutine[Any, Any, None]]


async def nothing(_: aw.Client, case: Case) -> None:
    pass


async def submit(client: aw.Client, case: Case) -> None:
    await client.submit(link(case.key), key=case.key)


async def remove(client: aw.Client, case: Case) -> None:
    await client.remove(link(case.key), key=case.key)


async def remove_video(client: aw.Client, case: Case) -> None:
    await client.remove(VIDEO, key=case.key)


async def refine(client: aw.Client, case: Case) -> None:
    assert case.earlier is not None
    await client.refine(case.earlier, brush=BRUSH, key=case.key)


async def stream(client: aw.Client, case: Case) -> None:
    async for outcome in client.stream([link(case.key)], key=lambda _: case.key):
        assert isinstance(outcome, aw.Done)


async def resume(client: aw.Client, case: Case) -> None:
    await client.resume(case.token)


async def recover(client: aw.Client, case: Case) -> None:
    await asyncio.gather(*(await client.recover()).resumed)


async def leave_running(client: aw.Client, case: Case) -> None:
    await case.leave_running(client)


async def refine_first(client: aw.Client, case: Case) -> None:
    await case.refine_first(client)


@define
class Verb:
    name: str
    act: Action
    ask_again: Action = remove
    prepare: Action = nothing
    provider: aw.Provider = field(factory=lambda: aw.PicWish("canary-1", requests_per_second=None))
    charge: str | None = None

    async def other_job(self, client: aw.Client, case: Case) -> None:
        if self.provider.name == "picwish":
            await client.remove(link(f"{case.key}-other"), key=f"{case.key}-other")
        else:
            await client.remove(make_jpeg(), key=f"{case.key}-other")


DEWATERMARK = aw.Dewatermark("canary-1")
VERBS = [
    Verb("submit", submit),
    Verb("remove", remove),
    Verb("stream", stream),
    Verb("resume", resume, prepare=leave_running),
    Verb("recover", recover, prepare=leave_running),
    Verb("remove a video", remove_video, remove_video, provider=DEWATERMARK, charge="video"),
    Verb("refine", refine, refine, refine_first, DEWATERMARK, "refinement"),
]


async def cancel_caller(verb: Verb, case: Case, step: int) -> bool:
    """Cancel the call of the verb at that step; the client goes on with another job. Whether the step came."""
    async with case.client(verb.provider, SteppedStore(case.store, case.api.steps)) as client:
        engine = client._open_engine
        came = await _cancel_at(case, step, asyncio.create_task(verb.act(client, case)))
        async with asyncio.timeout(SECONDS):
            await verb.other_job(client, case)
    assert engine.jobs == {}
    assert engine.admission.free_slots == 1
    return came


async def cancel_client(verb: Verb, case: Case, step: int) -> bool:
    """Cancel the block that holds the client open. Whether the step came."""

    async def use() -> None:
        async with case.client(verb.provider, SteppedStore(case.store, case.api.steps)) as client:
            case.api.steps.victim = asyncio.current_task()
            await verb.act(client, case)

    return await _cancel_at(case, step, asyncio.create_task(use()))


async def _cancel_at(case: Case, step: int, task: asyncio.Task[Any]) -> bool:
    steps = case.api.steps
    steps.remaining, steps.victim = step, task
    async with asyncio.timeout(SECONDS):
        with suppress(asyncio.CancelledError):
            await task
    came, steps.victim = steps.remaining < 0, None
    return came


async def check_job(verb: Verb, case: Case) -> None:
    """Nothing was sent and no record is left, or the job was charged once and is found."""
    charge = verb.charge or case.key
    charges, record = case.api.charges[charge], await case.store.get(case.key)
    assert charges == (record is not None)
    async with case.client(verb.provider) as client, asyncio.timeout(SECONDS):
        recovery = await client.recover()
        found = {each.key for each in recovery.resumed} | {each.key for each in recovery.finished}
        found |= {each.key for each in recovery.in_doubt}
        assert record is None or record.acknowledged or case.key in found
        assert recovery.unsent == recovery.held == []
        await verb.ask_again(client, case)
        for result in (await client.recover()).finished:
            await result.acknowledge()  # or the next `recover` has more steps
    assert case.api.charges[charge] == 1


@pytest.mark.parametrize("later", [0, *(pytest.param(number, marks=pytest.mark.slow) for number in (1, 2, 4, 8))])
@pytest.mark.parametrize("cancel", [cancel_caller, cancel_client])
@pytest.mark.parametrize("verb", VERBS, ids=[verb.name for verb in VERBS])
async def test_a_verb_that_is_cancelled_at_any_step_leaves_nothing_or_a_job_that_is_found(
    verb: Verb, cancel: Callable[[Verb, Case, int], Awaitable[bool]], later: int, make_store: MakeStore
) -> None:
    async with make_store() as store:
        step, came = -1, True
        while came:
            step += 1
            case = Case(f"job-{step}", store)
            case.api.steps.later = later
            await verb.prepare(case.client(verb.provider), case)
            came = await cancel(verb, case, step)
            await check_job(verb, case)
    assert step > 3
