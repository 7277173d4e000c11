"""Callbacks are sent as scripted: in time, early, late, repeated, out of order, slowly, truncated, or not at all."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs

import pytest
from aiohttp import web
from attrs import define, field

from aiowatermark.emulator import CallbackScript, Emulator
from tests.support.http_server import serve_application
from tests.support.images import make_image
from tests.support.raw_api import RawApi
from tests.support.waiting import wait_until


@define
class Receiver:
    """A customer's server: records each POST and answers with the next status."""

    url: str = ""
    bodies: list[tuple[str, str, bytes]] = field(factory=list)
    statuses: list[int] = field(factory=list)

    async def receive(self, request: web.Request) -> web.Response:
        try:
            body = await request.read()
        except ConnectionResetError:  # the body was cut; aiohttp would log this as an error of the server
            return web.Response(status=400)
        self.bodies.append((request.path, request.content_type, body))
        return web.Response(status=self.statuses.pop(0) if self.statuses else 200)

    async def wait_for(self, count: int) -> list[Any]:
        """Wait until `count` POSTs have arrived and return their JSON bodies."""
        await wait_until(lambda: len(self.bodies) >= count)
        return [json.loads(body) for _, _, body in self.bodies]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    application = web.Application()
    application.router.add_post("/{key}", receiver.receive)
    async with serve_application(application) as url:
        receiver.url = url + "/"
        yield receiver


async def wait_for_attempts(emulator: Emulator, count: int) -> None:
    """Wait until `count` POSTs have been answered or have failed."""
    await wait_until(lambda: len(emulator.deliveries) >= count)


@pytest.mark.parametrize("name", ["gptge", "picwish"])
async def test_the_callback_of_a_finished_job_is_its_data_in_an_envelope(
    api: RawApi, receiver: Receiver, name: str
) -> None:
    reply = await api.submit_visual(name, file=make_image(), callback_url=receiver.url + "key")
    [body] = await receiver.wait_for(1)
    assert body.keys() == {"status", "data"}
    assert body["data"]["task_id"] == reply.data["task_id"]
    assert body["data"]["state"] == 1
    await wait_for_attempts(api.emulator, 1)
    [attempt] = api.emulator.deliveries
    assert (attempt.provider, attempt.task_id, attempt.copy, attempt.attempt, attempt.status) == (
        name,
        reply.data["task_id"],
        1,
        1,
        200,
    )
    assert api.emulator.tasks[0].deliveries == 1
    assert (await api.request("GET", body["data"]["file"])).status == 200


async def test_a_failed_job_has_a_callback_too(api: RawApi, receiver: Receiver) -> None:
    await api.submit_visual(file=b"not an image", callback_url=receiver.url + "key")
    [body] = await receiver.wait_for(1)
    assert body["data"]["state"] == -7


async def test_a_bare_callback_is_the_data_object(api: RawApi, receiver: Receiver) -> None:
    api.emulator.script(CallbackScript(encoding="bare"))
    await api.submit_visual(file=make_image(), callback_url=receiver.url + "key")
    [body] = await receiver.wait_for(1)
    assert body["state"] == 1


async def test_a_form_callback_has_the_data_as_fields(api: RawApi, receiver: Receiver) -> None:
    api.emulator.script(CallbackScript(encoding="form"))
    reply = await api.submit_visual(file=make_image(), callback_url=receiver.url + "key")
    await wait_for_attempts(api.emulator, 1)
    [(_, content_type, body)] = receiver.bodies
    assert content_type == "application/x-www-form-urlencoded"
    assert parse_qs(body.decode())["task_id"] == [reply.data["task_id"]]


@pytest.mark.parametrize("script", [CallbackScript(early=True), CallbackScript(delay=-1)])
async def test_an_early_callback_arrives_before_the_response_to_the_submit(
    api: RawApi, receiver: Receiver, script: CallbackScript
) -> None:
    async with Emulator(restore=False, processing=100) as emulator:
        emulator.script(script)
        api = RawApi(emulator, api.session)
        reply = await api.submit_visual(file=make_image(), callback_url=receiver.url + "key")
        assert len(receiver.bodies) == 1
        assert (await api.query("picwish", reply.data["task_id"])).data["state"] == 1


async def test_a_late_callback_arrives_after_its_delay(api: RawApi, receiver: Receiver) -> None:
    api.emulator.script(CallbackScript(delay=0.05))
    loop = asyncio.get_running_loop()
    started = loop.time()
    await api.submit_visual(file=make_image(), callback_url=receiver.url + "key")
    await receiver.wait_for(1)
    assert loop.time() - started >= 0.05


async def test_copies_repeat_the_same_callback(api: RawApi, receiver: Receiver) -> None:
    api.emulator.script(CallbackScript(copies=3))
    await api.submit_visual(file=make_image(), callback_url=receiver.url + "key")
    bodies = await receiver.wait_for(3)
    assert bodies[0] == bodies[1] == bodies[2]
    await wait_for_attempts(api.emulator, 3)
    assert [attempt.copy for attempt in api.emulator.deliveries] == [1, 2, 3]


async def test_a_lost_callback_is_never_sent_and_the_next_one_is(api: RawApi, receiver: Receiver) -> None:
    api.emulator.script(CallbackScript(lost=True))
    await api.submit_visual(file=make_image(), callback_url=receiver.url + "lost")
    await api.submit_visual(file=make_image(), callback_url=receiver.url + "next")
    await receiver.wait_for(1)
    assert [path for path, _, _ in receiver.bodies] == ["/next"]


async def test_two_reordered_callbacks_arrive_in_reverse_order(api: RawApi, receiver: Receiver) -> None:
    api.emulator.script(CallbackScript(reordered=True), times=2)
    for key in ("first", "second"):
        await api.submit_visual(file=make_image(), callback_url=receiver.url + key)
    await receiver.wait_for(2)
    assert [path for path, _, _ in receiver.bodies] == ["/second", "/first"]


async def test_a_callback_is_retried_until_it_is_answered_2xx(api: RawApi, receiver: Receiver) -> None:
    receiver.statuses = [500, 404]
    api.emulator.script(CallbackScript(retry_delay=0.001))
    await api.submit_visual(file=make_image(), callback_url=receiver.url + "key")
    await wait_for_attempts(api.emulator, 3)
    assert [(attempt.attempt, attempt.status) for attempt in api.emulator.deliveries] == [(1, 500), (2, 404), (3, 200)]


async def test_a_callback_is_abandoned_when_its_retries_are_used_up(api: RawApi, receiver: Receiver) -> None:
    receiver.statuses = [500] * 9
    api.emulator.script(CallbackScript(retries=2, retry_delay=0.001))
    await api.submit_visual(file=make_image(), callback_url=receiver.url + "key")
    await wait_for_attempts(api.emulator, 3)
    await asyncio.sleep(0.02)
    assert [attempt.status for attempt in api.emulator.deliveries] == [500, 500, 500]


async def test_a_closed_port_is_an_attempt_without_a_status(api: RawApi) -> None:
    api.emulator.script(CallbackScript(retries=0))
    await api.submit_visual(file=make_image(), callback_url="http://127.0.0.1:1/key")
    await wait_for_attempts(api.emulator, 1)
    assert api.emulator.deliveries[0].status is None


async def test_a_slow_body_arrives_complete(api: RawApi, receiver: Receiver) -> None:
    api.emulator.script(CallbackScript(body_bytes_per_second=10_000))
    await api.submit_visual(file=make_image(), callback_url=receiver.url + "key")
    [body] = await receiver.wait_for(1)
    assert body["data"]["state"] == 1


async def test_a_half_body_is_a_failed_attempt_that_the_server_never_receives(api: RawApi, receiver: Receiver) -> None:
    api.emulator.script(CallbackScript(half=True, retries=1, retry_delay=0.001))
    await api.submit_visual(file=make_image(), callback_url=receiver.url + "key")
    await wait_for_attempts(api.emulator, 2)
    assert [attempt.status for attempt in api.emulator.deliveries] == [None, None]
    assert not receiver.bodies


@pytest.mark.parametrize(
    "url", ["https://hooks.example.com/key", "http://192.0.2.1/key", "http://127.0.0.1.nip.io/key"]
)
async def test_only_loopback_addresses_are_called(api: RawApi, url: str) -> None:
    reply = await api.submit_visual(file=make_image(), callback_url=url)
    assert reply.status == 200
    [attempt] = api.emulator.deliveries
    assert attempt.status is None
    assert "loopback" in attempt.reason
    assert api.emulator.tasks[0].deliveries == 0


async def test_the_default_script_applies_to_all_jobs_and_a_script_per_job_precedes_it(
    api: RawApi, receiver: Receiver
) -> None:
    async with Emulator(restore=False, processing=0, callbacks=CallbackScript(copies=2)) as emulator:
        emulator.script(CallbackScript(encoding="bare"), provider="gptge")
        api = RawApi(emulator, api.session)
        await api.submit_visual("picwish", file=make_image(), callback_url=receiver.url + "key")
        await wait_for_attempts(emulator, 2)
        await api.submit_visual("gptge", file=make_image(), callback_url=receiver.url + "key")
        await wait_for_attempts(emulator, 3)
        bodies = await receiver.wait_for(3)
        assert ["data" in body for body in bodies] == [True, True, False]
    with pytest.raises(ValueError, match="provider"):
        emulator.script(CallbackScript(), provider="unknown")


async def test_closing_drops_the_callbacks_that_are_still_pending(receiver: Receiver, api: RawApi) -> None:
    scripts = [CallbackScript(delay=100), CallbackScript(reordered=True), CallbackScript(body_bytes_per_second=1)]
    async with Emulator(restore=False, processing=0) as emulator:
        for script in scripts:
            emulator.script(script)
            url = receiver.url + "key"
            await RawApi(emulator, api.session).submit_visual(file=make_image(), callback_url=url)
        await asyncio.sleep(0.05)
    assert not receiver.bodies
