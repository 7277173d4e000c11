"""Recording callbacks: the registry's observer sees requests to known keys, whatever their method, and no others."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

import aiowatermark as aw
from aiowatermark.callbacks.registry import ReceivedRequest, registry_of
from tests.support.callback_mounts import ExpectedKey, request, send_raw, status_of
from tests.support.callback_server import serve_callbacks


@pytest.fixture
async def server() -> AsyncIterator[aw.CallbackServer]:
    async with serve_callbacks() as running:
        yield running


@pytest.fixture
def observed(server: aw.CallbackServer) -> list[ReceivedRequest]:
    requests: list[ReceivedRequest] = []
    registry_of(server.receiver).on_request = requests.append
    return requests


@pytest.mark.parametrize(("method", "status"), [("POST", 200), ("PUT", 405), ("PATCH", 405), ("GET", 200)])
async def test_a_request_to_a_known_key_is_seen_with_its_body_and_answered_as_always(
    server: aw.CallbackServer, observed: list[ReceivedRequest], method: str, status: int
) -> None:
    expected = ExpectedKey(server.receiver)
    raw = request(f"/wm/{expected.key}", b'{"a":1}').replace(b"POST", method.encode(), 1)
    assert status_of(await send_raw(server.port, raw)) == status
    (seen,) = observed
    assert (seen.method, seen.body) == (method, b'{"a":1}')
    assert seen.headers["Content-Length"] == "7"
    assert len(expected.deliveries) == (method == "POST")


@pytest.mark.parametrize("method", ["POST", "PUT", "GET"])
async def test_a_strangers_request_is_not_seen(
    server: aw.CallbackServer, observed: list[ReceivedRequest], method: str
) -> None:
    raw = request(f"/wm/{'x' * 32}", b"{}").replace(b"POST", method.encode(), 1)
    assert status_of(await send_raw(server.port, raw)) in {404, 405}
    assert not observed
