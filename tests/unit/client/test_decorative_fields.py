"""What a server writes into fields that nobody needs costs no paid job: it has its id, and its result."""

from __future__ import annotations

import json

import pytest

import aiowatermark as aw
from aiowatermark.testing import ScriptedTransport
from aiowatermark.wire import Response
from tests.support.picwish import LINK, scripted_client

VIRTUAL_CLOCK = True
ODD = [
    *["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "9" * 5000, "-0", "null", "true", "1.5", "[]", "{}", "[[[]]]"],
    *['"text"', '"\\ud800"', '"a\nb"', '"\t\x01"', '{"a": NaN, "a": 1}', '{"task_id": null}', '[{"state": -1}]', '""'],
]


def answer(fields: str, decoration: bytes, *, before: bytes = b"") -> Response:
    body = b'{"status": 200, "eta": %s, "data": {"eta": %s, %s, "score": %s}, "eta": %s}'
    return Response(200, {}, before + body % (decoration, decoration, fields.encode(), decoration, decoration))


async def run_job(accepted: Response, finished: Response) -> aw.Result:
    transport = ScriptedTransport([accepted], [finished])
    async with scripted_client(transport) as client:
        result = await client.remove(LINK)
    assert len(transport.requests) == 2
    return result


ACCEPTED = '"task_id": "task-1"'
FINISHED = '"task_id": "task-1", "state": 1, "file": "https://x.example/a"'


@pytest.mark.parametrize("odd", [text.encode() for text in ODD] + [b'"\xff\xfe"', '"Fläche"'.encode("latin-1")])
async def test_an_odd_value_in_a_field_that_nobody_needs_costs_nothing(odd: bytes) -> None:
    result = await run_job(answer(ACCEPTED, odd), answer(FINISHED, odd))
    assert result.url == "https://x.example/a"


@pytest.mark.parametrize("odd", [text.encode() for text in ODD])
async def test_an_odd_progress_costs_nothing(odd: bytes) -> None:
    finished = f'{FINISHED}, "progress": {odd.decode()}, "completed_at": {odd.decode()}'
    result = await run_job(answer(ACCEPTED, b"1"), answer(finished, b"1"))
    assert result.url == "https://x.example/a"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
async def test_byte_order_marks_and_other_encodings_cost_nothing(encoding: str) -> None:
    texts = [
        json.dumps({"status": 200, "data": json.loads("{" + fields + "}")}).encode(encoding)
        for fields in (ACCEPTED, FINISHED)
    ]
    result = await run_job(*(Response(200, {}, text) for text in texts))
    assert result.url == "https://x.example/a"


async def test_white_space_around_an_answer_costs_nothing() -> None:
    result = await run_job(answer(ACCEPTED, b"1", before=b"\r\n \t"), answer(FINISHED, b"1", before=b"\n\n"))
    assert result.url == "https://x.example/a"


@pytest.mark.parametrize("task_id", ["NaN", "null", "[]", '""', "9" * 5000])
async def test_an_id_that_is_none_leaves_the_job_in_doubt(task_id: str) -> None:
    transport = ScriptedTransport([answer(f'"task_id": {task_id}', b"1")])
    async with scripted_client(transport) as client:
        with pytest.raises(aw.SubmissionInDoubt):
            await client.remove(LINK)
    assert transport.submitted == 1
