"""Each fault occurs where it was injected, as often as requested, and charges what it says it charges."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from io import BytesIO

import aiohttp
import pytest
from yarl import URL

from aiowatermark.emulator import Emulator, Fault
from tests.support.images import make_image
from tests.support.raw_api import RawApi

NAMES = ("gptge", "picwish", "kaze", "photoeraser", "dewatermark")
DISCONNECTED = (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)


@pytest.mark.parametrize("name", NAMES)
async def test_a_status_is_sent_with_its_headers_and_is_not_charged(api: RawApi, name: str) -> None:
    api.emulator.inject(Fault.status(503, headers={"Retry-After": "1"}), name, "submit")
    reply = await api.submit(name)
    assert (reply.status, reply.headers["Retry-After"]) == (503, "1")
    assert reply.json
    assert api.emulator.charged[name] == 0
    assert (await api.submit(name)).status == 200


@pytest.mark.parametrize("body", [b"busy", "busy", {"busy": 1}])
async def test_a_status_is_sent_with_the_given_body(api: RawApi, body: bytes | str | dict[str, object]) -> None:
    api.emulator.inject(Fault.status(500, body=body, after_work=True))
    reply = await api.submit("picwish")
    assert reply.body in (b"busy", b'{"busy": 1}')
    assert api.emulator.charged["picwish"] == 1


async def test_a_connection_dropped_before_the_work_is_not_charged(api: RawApi) -> None:
    api.emulator.inject(Fault.dropped_before(), step="submit")
    with pytest.raises(DISCONNECTED):
        await api.submit("kaze")
    assert api.emulator.charged["kaze"] == 0
    assert not api.emulator.tasks


async def test_a_connection_dropped_after_the_work_is_charged(api: RawApi) -> None:
    api.emulator.inject(Fault.dropped_after(), step="submit")
    with pytest.raises(DISCONNECTED):
        await api.submit("kaze")
    assert api.emulator.charged["kaze"] == 1
    assert api.emulator.tasks[0].state == "succeeded"


@pytest.mark.parametrize("after_work", [False, True])
async def test_a_stalled_response_is_never_sent_while_the_client_waits(api: RawApi, after_work: bool) -> None:
    api.emulator.inject(Fault.stalled(after_work=after_work), "gptge")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(api.submit("gptge"), 0.1)
    assert api.emulator.charged["gptge"] == after_work


async def test_a_short_stall_ends_with_the_usual_response(api: RawApi) -> None:
    api.emulator.inject(Fault.stalled(0.01))
    assert (await api.submit("gptge")).status == 200


async def test_the_emulator_closes_immediately_while_clients_are_stalled(api: RawApi) -> None:
    # 30 s are less than the 60 s that aiohttp waits for handlers when a server closes
    async with asyncio.timeout(30), Emulator(restore=False) as emulator:
        emulator.inject(Fault.stalled())
        stalled = asyncio.ensure_future(RawApi(emulator, api.session).submit("picwish"))
        await asyncio.sleep(0.05)
    with pytest.raises(DISCONNECTED):
        await stalled


async def test_garbage_is_a_200_after_the_work(api: RawApi) -> None:
    api.emulator.inject(Fault.garbage(), "kaze", "submit")
    reply = await api.submit("kaze")
    assert (reply.status, reply.body, reply.headers["Content-Type"]) == (200, b"<html>", "text/html")
    assert api.emulator.charged["kaze"] == 1


async def test_a_slow_response_arrives_complete(api: RawApi) -> None:
    api.emulator.inject(Fault.slow(2000))
    loop = asyncio.get_running_loop()
    started = loop.time()
    reply = await api.submit("kaze")
    assert loop.time() - started > len(reply.body) / 2000 * 0.5
    assert reply.json["code"] == 0


async def test_a_cut_response_announces_its_whole_length(api: RawApi) -> None:
    link = await api.create_result()
    size = len(make_image())
    api.emulator.inject(Fault.cut(100), step="result")
    async with api.session.get(URL(link, encoded=True)) as response:
        assert response.content_length == size
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()
    assert len((await api.request("GET", link)).body) == size


@pytest.mark.parametrize("after", [0, 10**9])
async def test_a_cut_can_be_before_the_first_byte_or_after_the_last(api: RawApi, after: int) -> None:
    link = await api.create_result()
    api.emulator.inject(Fault.cut(after), step="result")
    if after:
        assert (await api.request("GET", link)).body == make_image()
    else:
        with pytest.raises(aiohttp.ClientPayloadError):
            await api.request("GET", link)


async def test_an_expired_result_is_403_and_an_expired_upload_is_400(api: RawApi) -> None:
    link, ticket = await api.create_result(), await api.create_ticket()
    api.emulator.inject(Fault.expired(), times=2)
    download, upload = await api.request("GET", link), await api.upload(ticket, b"video")
    assert (download.status, upload.status) == (403, 400)
    assert "<Code>AccessDenied</Code>" in download.text
    assert "<Code>ExpiredToken</Code>" in upload.text
    assert (await api.request("GET", link)).status == (await api.upload(ticket, b"video")).status == 200


@pytest.mark.parametrize("name", ["gptge", "picwish", "kaze", "photoeraser"])
async def test_a_forgotten_task_is_found_by_the_next_query(api: RawApi, name: str) -> None:
    task_id = (await api.submit(name)).data["task_id"]
    api.emulator.inject(Fault.forgotten())
    reply = await api.query(name, task_id)
    assert (reply.json["code"] == 1000) if name == "kaze" else (reply.status == 404)
    second = await api.query(name, task_id)
    assert second.status == 200
    assert second.json.get("code", 0) == 0


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
    api: RawApi, failure: tuple[str, str | int | None, str, str | int], refund: bool | None
) -> None:
    name, state, field, expected = failure
    api.emulator.inject(Fault.failed("Injected failure.", state=state, refund=refund), name)
    finished = await api.query_when_done(name, await api.submit(name))
    assert finished.data[field] == expected
    assert api.emulator.charged[name] == (0 if refund else 1)
    assert api.emulator.tasks[0].state == "failed"


async def test_a_failed_image_at_dewatermark_is_a_500(api: RawApi) -> None:
    api.emulator.inject(Fault.failed())
    assert (await api.submit_dewatermark()).status == 500


async def test_faults_occur_in_the_order_in_which_they_were_injected(api: RawApi) -> None:
    api.emulator.inject(Fault.status(500), "kaze")
    api.emulator.inject(Fault.status(501), times=2)
    api.emulator.inject(Fault.status(502), step="submit", times=None)
    statuses = [(await api.submit(name)).status for name in ("gptge", "kaze", "gptge", "gptge", "kaze", "picwish")]
    assert statuses == [501, 500, 501, 502, 502, 502]
    api.emulator.heal()
    assert (await api.submit("kaze")).status == 200


async def test_a_fault_of_one_step_does_not_affect_other_steps(api: RawApi) -> None:
    api.emulator.inject(Fault.status(500), "picwish", "query")
    reply = await api.submit_visual()
    assert reply.status == 200
    assert (await api.query("picwish", reply.data["task_id"])).status == 500
    assert (await api.query("picwish", reply.data["task_id"])).status == 200


@pytest.mark.parametrize("step", ["ticket", "upload", "start", "query", "result", "credits"])
async def test_a_fault_can_occur_at_every_step_of_a_video(api: RawApi, step: str) -> None:
    api.emulator.inject(Fault.status(429), "dewatermark", step)
    replies = {}
    for name in ("ticket", "ticket again"):
        replies[name] = await api.request("POST", "/api/video/v1/upload", "dewatermark")
    ticket = replies["ticket again"].json
    replies["upload"], _ = await api.upload(ticket, b"video"), await api.upload(ticket, b"video")
    replies["start"], _ = await api.start(ticket["task_id"]), await api.start(ticket["task_id"])
    await api.emulator.tasks[-1].done()
    replies["query"] = await api.query("dewatermark", ticket["task_id"])
    link = (await api.query("dewatermark", ticket["task_id"])).json["download_signed_url"]
    replies["result"] = await api.request("GET", link)
    replies["credits"] = await api.request("GET", "/api/creditInfo", "dewatermark")
    assert [name for name, reply in replies.items() if reply.status != 200] == [step]


async def test_a_fault_that_can_never_occur_is_a_value_error(api: RawApi) -> None:
    inject = api.emulator.inject
    invalid_calls: list[Callable[[], object]] = [
        lambda: inject(Fault.expired(), step="query"),
        lambda: inject(Fault.forgotten(), step="submit"),
        lambda: inject(Fault.status(500), "unknown"),
        lambda: inject(Fault.status(500), step="unknown"),
        lambda: inject(Fault.status(500), times=0),
        lambda: Fault.slow(0),
    ]
    for invalid_call in invalid_calls:
        with pytest.raises(ValueError, match=r"No such|times|positive"):
            invalid_call()


async def test_a_response_that_precedes_the_end_of_the_request_body_arrives(api: RawApi) -> None:
    ticket = await api.create_ticket()
    api.emulator.inject(Fault.status(503), step="upload")
    assert (await api.upload(ticket, BytesIO(bytes(4 << 20)))).status == 503


async def test_a_client_that_disconnects_during_its_upload_causes_no_error_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with Emulator() as emulator, aiohttp.ClientSession() as session:
        provider = emulator.provider("picwish")
        origin = URL(provider.base_url)
        _, writer = await asyncio.open_connection(origin.host, origin.port)
        headers = "POST /api/tasks/visual/external/watermark-remove HTTP/1.1\r\nHost: x\r\n"
        headers += "".join(f"{name}: {value}\r\n" for name, value in provider.headers.items())
        headers += "Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 9999\r\n\r\n"
        writer.write(f"{headers}--b".encode())
        await writer.drain()
        await session.get(origin / "unknown")  # by now the upload is being read
        writer.transport.abort()
        await session.get(origin / "unknown")
        assert emulator.charged["picwish"] == 0
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []
