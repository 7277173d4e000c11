"""Whatever is passed to a public call, it ends in a value or in a WatermarkError."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import aiowatermark as aw
from aiowatermark.testing import ScriptedTransport, connection_lost, json_response
from tests.support.images import make_image
from tests.support.picwish import ACCEPTED, FINISHED, LINK, PENDING, scripted_client
from tests.support.virtual_clock import VirtualLoop

ODD_TEXTS = [
    "",
    " ",
    "\0",
    "\ud800",
    "a" * 5000,
    "../..",
    "https://",
    "https://[",
    "http://[::1",
    "data:,",
    "data:x;base64,é",
]
odd_values = st.one_of(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.binary(max_size=20),
    st.sampled_from([*ODD_TEXTS, *(text.encode(errors="replace") for text in ODD_TEXTS)]),
    st.sampled_from([10**400, -(10**400), 1e308, float("nan"), float("inf"), -0.0]),
    st.sampled_from([[], {}, (), set(), object(), int, len, io.BytesIO(b"x"), io.StringIO("x"), Path("missing"), LINK]),
    st.sampled_from(
        [[LINK], [None], [[LINK]], {"a": 1}, lambda _: None, aw.CONTENT_KEY, make_image(), aw.Kaze("canary-1")]
    ),
    st.sampled_from(
        ["https://images.example:99999/a.png", "https://exa mple/a", "https://ex\u2028ample/", "https://é.example/"]
    ),
)
answers = st.lists(
    st.sampled_from(
        [
            ACCEPTED,
            PENDING,
            FINISHED,
            json_response(),
            json_response(429, {"retry-after": "1e308"}),
            json_response(500),
            json_response(404, message="\ud800"),
            json_response(status="9" * 5000, data=[[]]),
            json_response(status=200, data={"task_id": "\ud800"}),
            json_response(status=200, data={"task_id": "t", "state": 1, "file": "https://[/"}),
            json_response(status=200, data={"task_id": "t" * 5000, "state": -1}),
            connection_lost(sent=True),
            connection_lost(sent=False),
        ]
    ),
    min_size=1,
    max_size=4,
)
Call = Callable[[aw.Client, aw.JobHandle | None, list[Any]], Awaitable[Any]]


async def read_stream(client: aw.Client, odd: list[Any]) -> None:
    async for outcome in client.stream([odd[0], odd[1]], mask=odd[2], key=odd[3], deadline=odd[4]):
        assert isinstance(outcome, aw.Done) or isinstance(outcome.error, aw.WatermarkError)


async def stream(client: aw.Client, _: Any, odd: list[Any]) -> None:
    await read_stream(client, odd)


async def stream_odd_items(client: aw.Client, _: Any, odd: list[Any]) -> None:
    async for outcome in client.stream(odd[0]):
        assert isinstance(outcome, aw.Done) or isinstance(outcome.error, aw.WatermarkError)


async def resume(client: aw.Client, handle: aw.JobHandle | None, odd: list[Any]) -> Any:
    return await client.resume(handle.token if handle and odd[1] is None else odd[0], deadline=odd[2])


async def result_with_timeout(_: aw.Client, handle: aw.JobHandle | None, odd: list[Any]) -> None:
    if handle is not None:
        with suppress(TimeoutError):
            await handle.result(timeout=odd[0])


async def read_result(client: aw.Client, handle: aw.JobHandle | None, odd: list[Any]) -> None:
    if handle is not None:
        result = await handle
        await result.read(index=odd[0], max_bytes=odd[1])


async def rotate(client: aw.Client, _: Any, odd: list[Any]) -> None:
    client.provider = odd[0]


CALLS: dict[str, Call] = {
    "submit": lambda client, _, odd: client.submit(odd[0], mask=odd[1], key=odd[2], deadline=odd[3], size=odd[4]),
    "submit a link": lambda client, _, odd: client.submit(LINK, key=odd[0], deadline=odd[1], progress=odd[2]),
    "submit with options": lambda client, _, odd: client.submit(LINK, sync=odd[0]),
    "remove": lambda client, _, odd: client.remove(odd[0], mask=odd[1]),
    "remove an image": lambda client, _, odd: client.remove(make_image(), key=odd[0], deadline=60, size=odd[1]),
    "refine": lambda client, _, odd: client.refine(odd[0], brush=odd[1], key=odd[2], deadline=odd[3]),
    "stream": stream,
    "stream odd items": stream_odd_items,
    "resume": resume,
    "recover": lambda client, _, odd: client.recover(deadline=odd[0]),
    "settle": lambda client, _, odd: client.settle(odd[0], task_id=odd[1], paid=odd[2]),
    "forget": lambda client, _, odd: client.forget(odd[0]),
    "drain": lambda client, _, odd: client.drain(odd[0] if odd[0] is not None else 1),
    "credits": lambda client, *_: client.credits(),
    "result with a timeout": result_with_timeout,
    "read a result": read_result,
    "rotate the key": rotate,
}


async def call_once(call: Call, odd: list[Any], script: list[Any]) -> None:
    transport = ScriptedTransport([ACCEPTED, *script], script)
    async with scripted_client(transport, deadline=30.0, drain=0.0) as client:
        handle = await client.submit(LINK, key="known")
        try:
            await call(client, handle, odd)
        except aw.WatermarkError:
            pass
        except AssertionError as error:
            if "the script has no bytes for" not in str(error):
                raise


@pytest.mark.parametrize("name", CALLS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(odd=st.lists(odd_values, min_size=5, max_size=5), script=answers)
def test_a_public_call_raises_nothing_but_watermark_errors(
    name: str, odd: list[Any], script: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(call_once(CALLS[name], odd, script))


@pytest.mark.parametrize(
    "setting", ["deadline", "drain", "acknowledge", "proxy", "ssl", "polling", "limits", "trust_env"]
)
@given(odd=odd_values)
def test_a_client_with_odd_settings_is_refused_with_a_watermark_error(setting: str, odd: Any) -> None:
    with suppress(aw.WatermarkError):
        aw.Client(aw.Kaze("canary-1"), **{setting: odd})


@given(odd=st.lists(odd_values, min_size=4, max_size=4))
def test_odd_values_are_refused_with_a_watermark_error(odd: list[Any]) -> None:
    for create in (aw.Limits, aw.Polling):
        with suppress(aw.WatermarkError):
            create(*odd[: 3 if create is aw.Polling else 4])
