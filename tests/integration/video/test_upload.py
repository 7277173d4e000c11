"""The PUT to the signed link: what travels, what does not, and what is done when it breaks."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import aiowatermark as aw
from aiowatermark.media import as_media
from aiowatermark.transport import body as bodies
from aiowatermark.wire import Base64, Json, Multipart

if TYPE_CHECKING:
    from .conftest import Host, Line

GIB = 1 << 30


async def test_the_put_travels_exactly_as_documented(host: Host, clip: Path, ways: Any) -> None:
    async with host.client() as client:
        await client.remove(clip)
    (put,) = host.uploads
    assert put.lines[0] == f"PUT {ways.signed}&ticket=1 HTTP/1.1"
    assert put.headers["content-type"] == "application/octet-stream"
    assert put.headers["content-length"] == str(clip.stat().st_size)
    assert not {"transfer-encoding", "expect", "cookie", "authorization", "x-api-key", "referer"} & put.headers.keys()
    assert ways.key not in "\n".join(put.lines)
    assert host.stored == [clip.read_bytes()]


async def test_the_four_steps_come_in_their_order_and_only_the_api_sees_the_key(
    host: Host, clip: Path, ways: Any, tmp_path: Path
) -> None:
    async with host.client() as client:
        await (await client.remove(clip)).save(tmp_path / "clean.mp4")
    steps = [(taken.method, taken.target.partition("?")[0].partition("%")[0]) for taken in host.taken]
    upload, start, look = "/api/video/v1/upload", "/api/video/v1/tasks", "/api/video/v1/tasks/task-1"
    assert steps == [("POST", upload), ("PUT", "/bucket/a"), ("POST", start), ("GET", look), ("GET", "/result")]
    keys = [taken.headers.get("x-api-key") for taken in host.taken]
    assert keys == [ways.key, None, ways.key, ways.key, None]
    assert b'name="task_id"\r\n\r\ntask-1\r\n' in host.starts[0].body
    assert (tmp_path / "clean.mp4").read_bytes() == host.result


async def test_a_cookie_that_a_host_sets_comes_back_to_nobody(host: Host, clip: Path, ways: Any) -> None:
    host.puts = [ways.refused(503, Set_Cookie="session=canary")]
    async with host.client() as client:
        await client.remove(clip)
    assert len(host.uploads) == 2
    assert not [taken for taken in host.taken if "cookie" in taken.headers]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed_with_a_body(host: Host, clip: Path, ways: Any, status: int) -> None:
    host.puts = [ways.refused(status, Location=f"{host.origin}/elsewhere")]
    async with host.client() as client:
        with pytest.raises(aw.TransferFailed, match=str(status)):
            await (await client.submit(clip))
    assert not [taken for taken in host.taken if taken.target == "/elsewhere"]
    assert host.starts == []


@pytest.mark.parametrize("left", [0, 1, 1_500_000, 3_000_000, 3_000_001])
async def test_an_upload_that_is_cut_begins_anew_and_is_paid_once(host: Host, clip: Path, ways: Any, left: int) -> None:
    host.puts = [ways.cut(left), ways.cut(left)]
    async with host.client() as client:
        await client.remove(clip)
    assert len(host.uploads) == 3
    assert host.stored == [clip.read_bytes()]
    assert len(host.starts) == host.tickets == 1


async def test_a_host_that_is_out_of_order_is_asked_again(host: Host, clip: Path, ways: Any) -> None:
    host.puts = [ways.refused(500), ways.refused(503, Retry_After="0"), ways.refused(429, Retry_After="0")]
    async with host.client() as client:
        await client.remove(clip)
    assert (len(host.uploads), len(host.starts)) == (4, 1)


async def test_a_host_that_never_gets_better_ends_the_upload_and_nothing_is_paid(
    host: Host, clip: Path, ways: Any
) -> None:
    host.puts = [ways.cut(0)] * 20
    async with host.client() as client:
        with pytest.raises(aw.ProviderUnavailable):
            await client.remove(clip)
    assert len(host.uploads) == 6
    assert host.starts == []


async def test_a_host_that_never_reads_ends_each_attempt_by_the_watchdog(host: Host, tmp_path: Path, ways: Any) -> None:
    path = tmp_path / "long.mp4"
    path.write_bytes(ways.film(24_000_000))  # more than two sockets hold
    host.puts = [ways.deaf] * 2
    async with host.client(stall=0.3) as client:
        await client.remove(path)
    assert len(host.uploads) == 3
    assert host.stored == [path.read_bytes()]


async def test_an_upload_that_stands_still_says_where(host: Host, tmp_path: Path, ways: Any) -> None:
    path = tmp_path / "long.mp4"
    path.write_bytes(ways.film(24_000_000))
    host.puts = [ways.deaf] * 6
    async with host.client(stall=0.1) as client:
        with pytest.raises(aw.ProviderUnavailable, match=r"stands at byte \d+ of 24000000: nothing .* for 0.1 s"):
            await client.remove(path)
    assert host.starts == []


async def test_a_slow_line_is_none_that_stands_still(host: Host, tmp_path: Path, ways: Any) -> None:
    path = tmp_path / "long.mp4"
    path.write_bytes(ways.film(24_000_000))

    async def slow(line: Line) -> None:
        body = b""
        while len(body) < line.taken.length:
            body += await line.read(min(1_000_000, line.taken.length - len(body)))
            await asyncio.sleep(0.03)
        host.stored.append(body)
        line.say(200)

    host.puts = [slow]
    async with host.client(stall=0.3) as client:  # the whole takes more than twice as long
        await client.remove(path)
    assert len(host.uploads) == 1
    assert host.stored == [path.read_bytes()]


@pytest.mark.parametrize("status", [400, 413])
@pytest.mark.parametrize("lingers", [True, False])
async def test_an_answer_before_the_body_is_done_ends_the_upload_at_once(
    host: Host, tmp_path: Path, ways: Any, status: int, *, lingers: bool
) -> None:
    path = tmp_path / "long.mp4"
    path.write_bytes(ways.film(24_000_000))

    async def hasty(line: Line) -> None:
        line.say(status, b"<Error><Code>EntityTooLarge</Code></Error>")
        await line.writer.drain()
        line.writer.close()

    host.puts = [ways.refused(status, "EntityTooLarge", unread=True) if lingers else hasty] * 6
    async with host.client() as client:
        with pytest.raises(aw.WatermarkError) as caught:
            await client.remove(path)
    assert host.starts == []
    if lingers:  # a host that hangs up on a body may take its own answer down with it
        assert isinstance(caught.value, aw.TransferFailed)
        assert f"HTTP {status} EntityTooLarge" in str(caught.value)
        assert len(host.uploads) == 1


@pytest.mark.parametrize(("status", "code"), [(400, "ExpiredToken"), (403, "AccessDenied"), (403, "")])
async def test_an_expired_link_asks_for_a_new_ticket(host: Host, clip: Path, ways: Any, status: int, code: str) -> None:
    host.puts = [ways.refused(status, code)] * 2
    store = aw.MemoryStore()
    async with host.client(store=store) as client:
        handle = await client.submit(clip)
        await handle
        record = await store.get(handle.key)
    assert [put.target.rpartition("=")[2] for put in host.uploads] == ["1", "2", "3"]
    assert handle.task_id == "task-3"
    assert record is not None
    assert record.snapshot.task_id == "task-3"
    assert b"task-3" in host.starts[0].body


async def test_new_tickets_are_asked_for_twice_at_most(host: Host, clip: Path, ways: Any) -> None:
    host.puts = [ways.refused(400, "ExpiredToken")] * 9
    async with host.client() as client:
        with pytest.raises(aw.TransferFailed, match="HTTP 400 ExpiredToken"):
            await client.remove(clip)
    assert (host.tickets, len(host.uploads), host.starts) == (3, 3, [])


async def test_a_wrong_signature_is_an_error_with_the_hosts_code_and_never_the_link(
    host: Host, clip: Path, ways: Any, caplog: pytest.LogCaptureFixture
) -> None:
    host.puts = [ways.refused(403, "SignatureDoesNotMatch")]
    async with host.client() as client:
        with pytest.raises(aw.TransferFailed, match="HTTP 403 SignatureDoesNotMatch") as caught:
            await client.remove(clip)
    assert host.tickets == 1
    for text in (str(caught.value), repr(caught.value), caplog.text):
        assert "Goog" not in text
        assert "bucket" not in text


@pytest.mark.parametrize("by", [-500_000, 700_000])
async def test_a_file_that_changes_its_size_is_one_clear_error_and_nothing_is_paid(
    host: Host, clip: Path, by: int
) -> None:
    size = clip.stat().st_size

    def change(sent: int, _: int | None) -> None:
        if sent < 1_000_000:
            os.truncate(clip, size + by)

    async with host.client() as client:
        with pytest.raises(aw.TransferFailed, match=f"changed its size while it was sent: {size} bytes"):
            await client.remove(clip, progress=change)
    assert (len(host.uploads), host.stored, host.starts) == (1, [], [])


async def test_a_file_that_is_gone_is_one_clear_error(host: Host, clip: Path) -> None:
    async with host.client() as client:
        with pytest.raises(aw.InvalidInput, match="cannot be read: No such file"):
            await client.remove(clip.with_name("none.mp4"))
    assert host.taken == []


async def test_five_gibibytes_are_a_matter_of_arithmetic(host: Host, tmp_path: Path, ways: Any) -> None:
    path = tmp_path / "sparse.mp4"
    path.write_bytes(ways.film(1000))
    os.truncate(path, 5 * GIB)
    host.puts = [ways.refused(413, "EntityTooLarge", unread=True)]
    async with host.client() as client:
        with pytest.raises(aw.TransferFailed, match="EntityTooLarge"):
            await client.remove(path)
    assert host.uploads[0].headers["content-length"] == str(5 * GIB)


async def test_the_length_of_every_kind_of_body_is_known_without_reading_it(tmp_path: Path) -> None:
    path = tmp_path / "sparse.mp4"
    path.touch()
    os.truncate(path, 5 * GIB + 1)
    media = as_media(path)
    await media.measure()

    assert bodies.encode_body(media).length == 5 * GIB + 1
    form = bodies.encode_body(Multipart({"file": media}))
    assert form.length == 5 * GIB + 1 + sum(len(part) for part in form.parts if isinstance(part, bytes))
    text = bodies.encode_body(Json({"a": Base64(media)}))
    assert text.length == len('{"a": ""}') + (5 * GIB + 3) // 3 * 4
