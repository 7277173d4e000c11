"""Callbacks come as their script says: in time, early, late, twice, out of order, in pieces, or not at all."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import pytest
from aiohttp import web
from attrs import define, field

from aiowatermark.emulator import CallbackScript, Emulator

if TYPE_CHECKING:
    from .conftest import Calls


@define
class Receiver:
    """A customer's server: keeps what it is sent, answers with the next status."""

    url: str = ""
    bodies: list[tuple[str, str, bytes]] = field(factory=list)
    statuses: list[int] = field(factory=list)
    news: asyncio.Event = field(factory=asyncio.Event)

    async def take(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.bodies.append((request.path, request.content_type, body))
        self.news.set()
        return web.Response(status=self.statuses.pop(0) if self.statuses else 200)

    async def several(self, number: int) -> list[Any]:
        """The JSON bodies, as soon as there are so many."""
        async with asyncio.timeout(5):
            while len(self.bodies) < number:
                self.news.clear()
                await self.news.wait()
        return [json.loads(body) for _, _, body in self.bodies]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    made = Receiver()
    application = web.Application()
    application.router.add_post("/{key}", made.take)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    yield made
    await runner.cleanup()


async def settled(emulator: Emulator, attempts: int) -> None:
    """Wait until so many POSTs have been answered."""
    async with asyncio.timeout(5):
        while len(emulator.deliveries) < attempts:  # noqa: ASYNC110 - the emulator has no event for it
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("name", ["gptge", "picwish"])
async def test_the_callback_of_a_done_job_is_its_data_in_an_envelope(
    calls: Calls, receiver: Receiver, name: str
) -> None:
    reply = await calls.visual(name, file=calls.picture(), callback_url=receiver.url + "key")
    [body] = await receiver.several(1)
    assert body.keys() == {"status", "data"}
    assert body["data"]["task_id"] == reply.data["task_id"]
    assert body["data"]["state"] == 1
    await settled(calls.emulator, 1)
    [attempt] = calls.emulator.deliveries
    assert (attempt.provider, attempt.task_id, attempt.copy, attempt.attempt, attempt.status) == (
        name,
        reply.data["task_id"],
        1,
        1,
        200,
    )
    assert calls.emulator.tasks[0].deliveries == 1
    assert (await calls.ask("GET", body["data"]["file"])).status == 200


async def test_a_failed_job_is_called_back_too(calls: Calls, receiver: Receiver) -> None:
    await calls.visual(file=b"no picture", callback_url=receiver.url + "key")
    [body] = await receiver.several(1)
    assert body["data"]["state"] == -7


async def test_a_bare_callback_is_the_data_object(calls: Calls, receiver: Receiver) -> None:
    calls.emulator.script(CallbackScript(encoding="bare"))
    await calls.visual(file=calls.picture(), callback_url=receiver.url + "key")
    [body] = await receiver.several(1)
    assert body["state"] == 1


async def test_a_form_callback_has_the_data_as_fields(calls: Calls, receiver: Receiver) -> None:
    calls.emulator.script(CallbackScript(encoding="form"))
    reply = await calls.visual(file=calls.picture(), callback_url=receiver.url + "key")
    await settled(calls.emulator, 1)
    [(_, kind, body)] = receiver.bodies
    assert kind == "application/x-www-form-urlencoded"
    assert parse_qs(body.decode())["task_id"] == [reply.data["task_id"]]


@pytest.mark.parametrize("script", [CallbackScript(early=True), CallbackScript(delay=-1)])
async def test_an_early_callback_comes_before_the_answer_of_the_submit(
    calls: Calls, receiver: Receiver, script: CallbackScript
) -> None:
    async with Emulator(restore=False, processing=100) as emulator:
        emulator.script(script)
        calls = type(calls)(emulator, calls.session)
        reply = await calls.visual(file=calls.picture(), callback_url=receiver.url + "key")
        assert len(receiver.bodies) == 1
        assert (await calls.query("picwish", reply.data["task_id"])).data["state"] == 1


async def test_a_late_callback_comes_after_its_delay(calls: Calls, receiver: Receiver) -> None:
    calls.emulator.script(CallbackScript(delay=0.05))
    loop = asyncio.get_running_loop()
    before = loop.time()
    await calls.visual(file=calls.picture(), callback_url=receiver.url + "key")
    await receiver.several(1)
    assert loop.time() - before >= 0.05


async def test_copies_are_the_same_callback_several_times(calls: Calls, receiver: Receiver) -> None:
    calls.emulator.script(CallbackScript(copies=3))
    await calls.visual(file=calls.picture(), callback_url=receiver.url + "key")
    bodies = await receiver.several(3)
    assert bodies[0] == bodies[1] == bodies[2]
    await settled(calls.emulator, 3)
    assert [attempt.copy for attempt in calls.emulator.deliveries] == [1, 2, 3]


async def test_a_lost_callback_never_comes_and_the_next_one_does(calls: Calls, receiver: Receiver) -> None:
    calls.emulator.script(CallbackScript(lost=True))
    await calls.visual(file=calls.picture(), callback_url=receiver.url + "lost")
    await calls.visual(file=calls.picture(), callback_url=receiver.url + "next")
    await receiver.several(1)
    assert [path for path, _, _ in receiver.bodies] == ["/next"]


async def test_reordered_callbacks_come_the_other_way_round(calls: Calls, receiver: Receiver) -> None:
    calls.emulator.script(CallbackScript(reordered=True), times=2)
    for key in ("first", "second"):
        await calls.visual(file=calls.picture(), callback_url=receiver.url + key)
    await receiver.several(2)
    assert [path for path, _, _ in receiver.bodies] == ["/second", "/first"]


async def test_a_callback_is_tried_again_until_it_is_taken(calls: Calls, receiver: Receiver) -> None:
    receiver.statuses = [500, 404]
    calls.emulator.script(CallbackScript(retry_delay=0.001))
    await calls.visual(file=calls.picture(), callback_url=receiver.url + "key")
    await settled(calls.emulator, 3)
    assert [(one.attempt, one.status) for one in calls.emulator.deliveries] == [(1, 500), (2, 404), (3, 200)]


async def test_a_callback_that_is_never_taken_is_given_up(calls: Calls, receiver: Receiver) -> None:
    receiver.statuses = [500] * 9
    calls.emulator.script(CallbackScript(retries=2, retry_delay=0.001))
    await calls.visual(file=calls.picture(), callback_url=receiver.url + "key")
    await settled(calls.emulator, 3)
    await asyncio.sleep(0.02)
    assert [one.status for one in calls.emulator.deliveries] == [500, 500, 500]


async def test_a_closed_port_is_an_attempt_without_a_status(calls: Calls) -> None:
    calls.emulator.script(CallbackScript(retries=0))
    await calls.visual(file=calls.picture(), callback_url="http://127.0.0.1:1/key")
    await settled(calls.emulator, 1)
    assert calls.emulator.deliveries[0].status is None


async def test_a_slow_body_drips_and_is_whole(calls: Calls, receiver: Receiver) -> None:
    calls.emulator.script(CallbackScript(body_bytes_per_second=10_000))
    await calls.visual(file=calls.picture(), callback_url=receiver.url + "key")
    [body] = await receiver.several(1)
    assert body["data"]["state"] == 1


async def test_a_half_body_ends_in_the_middle(calls: Calls, receiver: Receiver) -> None:
    calls.emulator.script(CallbackScript(half=True, retries=1, retry_delay=0.001))
    await calls.visual(file=calls.picture(), callback_url=receiver.url + "key")
    await settled(calls.emulator, 2)
    assert [one.status for one in calls.emulator.deliveries] == [None, None]
    assert not receiver.bodies


@pytest.mark.parametrize(
    "url", ["https://hooks.example.com/key", "http://192.0.2.1/key", "http://127.0.0.1.nip.io/key"]
)
async def test_nobody_but_loopback_is_ever_called(calls: Calls, url: str) -> None:
    reply = await calls.visual(file=calls.picture(), callback_url=url)
    assert reply.status == 200
    [attempt] = calls.emulator.deliveries
    assert attempt.status is None
    assert "loopback" in attempt.reason
    assert calls.emulator.tasks[0].deliveries == 0


async def test_a_script_of_the_emulator_holds_for_all_and_one_per_job_goes_first(
    calls: Calls, receiver: Receiver
) -> None:
    async with Emulator(restore=False, processing=0, callbacks=CallbackScript(copies=2)) as emulator:
        emulator.script(CallbackScript(encoding="bare"), provider="gptge")
        calls = type(calls)(emulator, calls.session)
        await calls.visual("picwish", file=calls.picture(), callback_url=receiver.url + "key")
        await settled(emulator, 2)
        await calls.visual("gptge", file=calls.picture(), callback_url=receiver.url + "key")
        await settled(emulator, 3)
        bodies = await receiver.several(3)
        assert ["data" in body for body in bodies] == [True, True, False]
    with pytest.raises(ValueError, match="provider"):
        emulator.script(CallbackScript(), provider="nobody")


async def test_callbacks_that_have_not_come_are_dropped_at_the_end(receiver: Receiver, calls: Calls) -> None:
    scripts = [CallbackScript(delay=100), CallbackScript(reordered=True), CallbackScript(body_bytes_per_second=1)]
    async with Emulator(restore=False, processing=0) as emulator:
        for script in scripts:
            emulator.script(script)
            url = receiver.url + "key"
            await type(calls)(emulator, calls.session).visual(file=calls.picture(), callback_url=url)
        await asyncio.sleep(0.05)
    assert not receiver.bodies
