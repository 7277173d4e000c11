"""Extra fields reach the paid request as they are, replace nothing, and are part of the job."""

from __future__ import annotations

import json
from typing import Any

import pytest

import aiowatermark as aw
from aiowatermark.client.extra_fields import with_extra_fields
from aiowatermark.jobs import Job
from aiowatermark.media.memory import Bytes
from aiowatermark.testing import ScriptedTransport, json_response
from aiowatermark.wire import Json, Multipart, Request
from tests.support.picwish import ACCEPTED, FINISHED, LINK, scripted_client

EXTRA: dict[str, str | int | float | bool] = {"quality": "hd", "level": 3, "strength": 0.5, "beta": True}
KAZE_ACCEPTED = json_response(code=0, data={"task_id": "task-1"})


def paid(transport: ScriptedTransport) -> Request:
    (request,) = (request for request in transport.requests if not request.repeatable)
    return request


async def test_a_form_gets_them_as_texts(transport: ScriptedTransport) -> None:
    async with scripted_client(transport) as client:
        await client.submit(LINK, extra_fields=EXTRA)
    body = paid(transport).body
    assert isinstance(body, Multipart)
    assert {name: body.fields[name] for name in EXTRA} == {
        "quality": "hd",
        "level": "3",
        "strength": "0.5",
        "beta": "true",
    }
    assert body.fields["url"] == LINK
    assert all(request.body is None for request in transport.requests if request.repeatable)


async def test_json_gets_them_as_values() -> None:
    transport = ScriptedTransport(submissions=[KAZE_ACCEPTED], queries=[json_response(404)])
    async with scripted_client(transport, provider=aw.Kaze("canary-2"), drain=0.0) as client:
        await client.submit(LINK, extra_fields=EXTRA)
    body = paid(transport).body
    assert isinstance(body, Json)
    assert json.loads(json.dumps({name: body.value[name] for name in EXTRA})) == EXTRA
    assert body.value["image_url"] == LINK


@pytest.mark.parametrize("name", ["url", "URL"])
async def test_a_field_of_the_package_is_not_replaced_and_nothing_is_sent(
    transport: ScriptedTransport, name: str
) -> None:
    async with scripted_client(transport) as client:
        with pytest.raises(aw.InvalidInput, match="extra_fields must not replace"):
            await client.remove(LINK, key="order-1", extra_fields={name: "x"})
        assert transport.submitted == 0
        assert await client.remove(LINK, key="order-1")


@pytest.mark.parametrize(
    "extra",
    [
        "quality",
        [("a", "b")],
        {1: "x"},
        {"": "x"},
        {"a\r\nb": "x"},
        {"a" * 101: "x"},
        {"a": None},
        {"a": b"x"},
        {"a": ["x"]},
        {"a": float("nan")},
        {"a": float("inf")},
        {"a": "x" * 20_001},
        {"a": "\0"},
        {"a": "half a pair: \ud800"},
        {"a": 1 << 64},
        {f"n{number}": "x" for number in range(51)},
    ],
    ids=lambda extra: repr(extra)[:30],
)
async def test_what_cannot_be_sent_is_refused_before_anything_is_sent(transport: ScriptedTransport, extra: Any) -> None:
    async with scripted_client(transport) as client:
        with pytest.raises(aw.InvalidInput, match="extra_fields"):
            await client.submit(LINK, extra_fields=extra)
    assert transport.requests == []


async def test_a_key_with_other_extra_fields_is_another_job(transport: ScriptedTransport) -> None:
    async with scripted_client(transport) as client:
        await client.remove(LINK, key="order-1", extra_fields={"quality": "hd"})
        await client.remove(LINK, key="order-1", extra_fields={"quality": "hd"})
        for other in ({"quality": "sd"}, {}, None):
            with pytest.raises(aw.InvalidInput, match="order-1"):
                await client.remove(LINK, key="order-1", extra_fields=other)
    assert transport.submitted == 1


async def test_they_are_part_of_a_key_made_of_the_content(transport: ScriptedTransport) -> None:
    async with scripted_client(transport) as client:
        plain = await client.remove(LINK, key=aw.CONTENT_KEY)
        extra = await client.remove(LINK, key=aw.CONTENT_KEY, extra_fields={"quality": "hd"})
        assert plain.key != extra.key


def test_a_job_without_them_has_the_fingerprint_it_always_had() -> None:
    job = Job((Bytes(b"x"),))
    assert with_extra_fields(job, {}).fingerprint == job.fingerprint == with_extra_fields(job, None).fingerprint


def test_their_values_are_not_shown() -> None:
    job = with_extra_fields(Job((Bytes(b"x"),)), {"password": "canary-value"})
    assert "password" in repr(job)
    assert "canary" not in repr(job)


async def test_a_video_that_was_uploaded_is_not_started_without_them() -> None:
    upload = json_response(task_id="v-1", upload_signed_url="https://storage.example/put")
    transport = ScriptedTransport(
        submissions=[json_response(500)], queries=[upload, json_response(), json_response(status="CREATED")]
    )
    provider = aw.Dewatermark("canary-3", requests_per_second=None)
    store = aw.MemoryStore()
    async with scripted_client(transport, provider=provider, store=store, drain=0.0) as client:
        handle = await client.submit(b"\0\0\0\x18ftypmp42" + bytes(2000), key="clip", extra_fields={"fps": 30})
        with pytest.raises(aw.WatermarkError):
            await handle
    record = await store.get("clip")
    assert record is not None
    assert record.masked


async def test_an_accepted_job_is_like_any_other() -> None:
    transport = ScriptedTransport(submissions=[ACCEPTED], queries=[FINISHED])
    async with scripted_client(transport) as client:
        assert (await client.remove(LINK, extra_fields=EXTRA)).url
