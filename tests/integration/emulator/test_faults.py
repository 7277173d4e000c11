"""Each fault strikes where it was injected, as often as it was asked for, and bills what it says it bills."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from io import BytesIO
from typing import TYPE_CHECKING

import aiohttp
import pytest
from yarl import URL

from aiowatermark.emulator import Emulator, Fault

if TYPE_CHECKING:
    from .conftest import Calls

NAMES = ("gptge", "picwish", "kaze", "photoeraser", "dewatermark")
LOST = (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)


@pytest.mark.parametrize("name", NAMES)
async def test_a_status_comes_with_its_headers_and_costs_nothing(calls: Calls, name: str) -> None:
    calls.emulator.inject(Fault.status(503, headers={"Retry-After": "1"}), name, "submit")
    reply = await calls.submit(name)
    assert (reply.status, reply.headers["Retry-After"]) == (503, "1")
    assert reply.json
    assert calls.emulator.charged[name] == 0
    assert (await calls.submit(name)).status == 200


@pytest.mark.parametrize("body", [b"busy", "busy", {"busy": 1}])
async def test_a_status_has_the_body_it_is_given(calls: Calls, body: bytes | str | dict[str, object]) -> None:
    calls.emulator.inject(Fault.status(500, body=body, after_work=True))
    reply = await calls.submit("picwish")
    assert reply.body in (b"busy", b'{"busy": 1}')
    assert calls.emulator.charged["picwish"] == 1


async def test_a_connection_dropped_before_the_work_costs_nothing(calls: Calls) -> None:
    calls.emulator.inject(Fault.dropped_before(), step="submit")
    with pytest.raises(LOST):
        await calls.submit("kaze")
    assert calls.emulator.charged["kaze"] == 0
    assert not calls.emulator.tasks


async def test_a_connection_dropped_after_the_work_has_billed_it(calls: Calls) -> None:
    calls.emulator.inject(Fault.dropped_after(), step="submit")
    with pytest.raises(LOST):
        await calls.submit("kaze")
    assert calls.emulator.charged["kaze"] == 1
    assert calls.emulator.tasks[0].state == "succeeded"


@pytest.mark.parametrize("after_work", [False, True])
async def test_a_stalled_answer_never_comes_while_the_client_waits(calls: Calls, after_work: bool) -> None:
    calls.emulator.inject(Fault.stalled(after_work=after_work), "gptge")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(calls.submit("gptge"), 0.1)
    assert calls.emulator.charged["gptge"] == after_work


async def test_a_short_stall_ends_with_the_usual_answer(calls: Calls) -> None:
    calls.emulator.inject(Fault.stalled(0.01))
    assert (await calls.submit("gptge")).status == 200


async def test_the_emulator_ends_at_once_while_clients_are_stalled(calls: Calls) -> None:
    async with Emulator(restore=False) as emulator:
        emulator.inject(Fault.stalled())
        stalled = asyncio.ensure_future(type(calls)(emulator, calls.session).submit("picwish"))
        await asyncio.sleep(0.05)
        loop = asyncio.get_running_loop()
        before = loop.time()
    assert loop.time() - before < 1
    with pytest.raises(LOST):
        await stalled


async def test_garbage_comes_with_a_200_after_the_work(calls: Calls) -> None:
    calls.emulator.inject(Fault.garbage(), "kaze", "submit")
    reply = await calls.submit("kaze")
    assert (reply.status, reply.body, reply.headers["Content-Type"]) == (200, b"<html>", "text/html")
    assert calls.emulator.charged["kaze"] == 1


async def test_a_slow_answer_drips_and_is_whole(calls: Calls) -> None:
    calls.emulator.inject(Fault.slow(2000))
    loop = asyncio.get_running_loop()
    before = loop.time()
    reply = await calls.submit("kaze")
    assert loop.time() - before > len(reply.body) / 2000 * 0.5
    assert reply.json["code"] == 0


async def test_a_cut_answer_promises_its_whole_length(calls: Calls) -> None:
    link = await calls.result()
    size = len(calls.picture())
    calls.emulator.inject(Fault.cut(100), step="result")
    async with calls.session.get(URL(link, encoded=True)) as response:
        assert response.content_length == size
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()
    assert len((await calls.ask("GET", link)).body) == size


@pytest.mark.parametrize("after", [0, 10**9])
async def test_a_cut_may_be_at_the_first_byte_or_behind_the_last(calls: Calls, after: int) -> None:
    link = await calls.result()
    calls.emulator.inject(Fault.cut(after), step="result")
    if after:
        assert (await calls.ask("GET", link)).body == calls.picture()
    else:
        with pytest.raises(aiohttp.ClientPayloadError):
            await calls.ask("GET", link)


async def test_an_expired_result_is_403_and_an_expired_upload_is_400(calls: Calls) -> None:
    link, ticket = await calls.result(), await calls.ticket()
    calls.emulator.inject(Fault.expired(), times=2)
    download, upload = await calls.ask("GET", link), await calls.put(ticket, b"film")
    assert (download.status, upload.status) == (403, 400)
    assert "<Code>AccessDenied</Code>" in download.text
    assert "<Code>ExpiredToken</Code>" in upload.text
    assert (await calls.ask("GET", link)).status == (await calls.put(ticket, b"film")).status == 200


@pytest.mark.parametrize("name", ["gptge", "picwish", "kaze", "photoeraser"])
async def test_a_forgotten_task_is_remembered_later(calls: Calls, name: str) -> None:
    task_id = (await calls.submit(name)).data["task_id"]
    calls.emulator.inject(Fault.forgotten())
    reply = await calls.query(name, task_id)
    assert (reply.json["code"] == 1000) if name == "kaze" else (reply.status == 404)
    again = await calls.query(name, task_id)
    assert again.status == 200
    assert again.json.get("code", 0) == 0


FAILURES = [
    ("gptge", None, "state", -1),
    ("picwish", -10, "state", -10),
    ("kaze", None, "status", "failed"),
    ("kaze", "timeout", "status", "timeout"),
    ("photoeraser", None, "status", "4"),
    ("photoeraser", 6, "status", "6"),
]


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("refund", [None, True])
async def test_a_failed_job_is_accepted_and_fails_later(
    calls: Calls, failure: tuple[str, str | int | None, str, str | int], refund: bool | None
) -> None:
    name, state, field, seen = failure
    calls.emulator.inject(Fault.failed("No luck.", state=state, refund=refund), name)
    done = await calls.finished(name, await calls.submit(name))
    assert done.data[field] == seen
    assert calls.emulator.charged[name] == (0 if refund else 1)
    assert calls.emulator.tasks[0].state == "failed"


async def test_a_failed_picture_at_dewatermark_is_a_500(calls: Calls) -> None:
    calls.emulator.inject(Fault.failed())
    assert (await calls.erase()).status == 500


async def test_faults_strike_in_the_order_in_which_they_were_injected(calls: Calls) -> None:
    calls.emulator.inject(Fault.status(500), "kaze")
    calls.emulator.inject(Fault.status(501), times=2)
    calls.emulator.inject(Fault.status(502), step="submit", times=None)
    seen = [(await calls.submit(name)).status for name in ("gptge", "kaze", "gptge", "gptge", "kaze", "picwish")]
    assert seen == [501, 500, 501, 502, 502, 502]
    calls.emulator.heal()
    assert (await calls.submit("kaze")).status == 200


async def test_a_fault_of_one_step_leaves_the_others_alone(calls: Calls) -> None:
    calls.emulator.inject(Fault.status(500), "picwish", "query")
    reply = await calls.visual()
    assert reply.status == 200
    assert (await calls.query("picwish", reply.data["task_id"])).status == 500
    assert (await calls.query("picwish", reply.data["task_id"])).status == 200


@pytest.mark.parametrize("step", ["ticket", "upload", "start", "query", "result", "credits"])
async def test_every_step_of_a_video_can_be_struck(calls: Calls, step: str) -> None:
    calls.emulator.inject(Fault.status(429), "dewatermark", step)
    seen = {}
    for name in ("ticket", "ticket again"):
        seen[name] = await calls.ask("POST", "/api/video/v1/upload", "dewatermark")
    ticket = seen["ticket again"].json
    seen["upload"], _ = await calls.put(ticket, b"film"), await calls.put(ticket, b"film")
    seen["start"], _ = await calls.start(ticket["task_id"]), await calls.start(ticket["task_id"])
    await calls.emulator.tasks[-1].done()
    seen["query"] = await calls.query("dewatermark", ticket["task_id"])
    link = (await calls.query("dewatermark", ticket["task_id"])).json["download_signed_url"]
    seen["result"] = await calls.ask("GET", link)
    seen["credits"] = await calls.ask("GET", "/api/creditInfo", "dewatermark")
    assert [name for name, reply in seen.items() if reply.status != 200] == [step]


async def test_a_fault_that_can_never_strike_is_a_value_error(calls: Calls) -> None:
    inject = calls.emulator.inject
    wrongs: list[Callable[[], object]] = [
        lambda: inject(Fault.expired(), step="query"),
        lambda: inject(Fault.forgotten(), step="submit"),
        lambda: inject(Fault.status(500), "nobody"),
        lambda: inject(Fault.status(500), step="somewhere"),
        lambda: inject(Fault.status(500), times=0),
        lambda: Fault.slow(0),
    ]
    for wrong in wrongs:
        with pytest.raises(ValueError, match=r"No such|times|positive"):
            wrong()


async def test_an_answer_before_the_body_was_read_arrives_while_the_body_is_still_sent(calls: Calls) -> None:
    ticket = await calls.ticket()
    calls.emulator.inject(Fault.status(503), step="upload")
    assert (await calls.put(ticket, BytesIO(bytes(4 << 20)))).status == 503


async def test_a_client_that_leaves_in_the_middle_of_its_upload_is_no_error_of_the_emulators(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with Emulator() as emulator, aiohttp.ClientSession() as session:
        provider = emulator.provider("picwish")
        origin = URL(provider.base_url)
        _, writer = await asyncio.open_connection(origin.host, origin.port)
        head = "POST /api/tasks/visual/external/watermark-remove HTTP/1.1\r\nHost: x\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in provider.headers.items())
        kind = "Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 9999\r\n\r\n"
        writer.write(f"{head}{kind}--b".encode())
        await writer.drain()
        await session.get(origin / "somewhere")  # by now the upload is being read
        writer.transport.abort()
        await session.get(origin / "somewhere")
        assert emulator.charged["picwish"] == 0
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []
