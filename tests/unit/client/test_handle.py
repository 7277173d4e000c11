"""JobHandle is a view: it shows its contract and nothing that changes a job."""

from __future__ import annotations

import aiowatermark as aw
from aiowatermark.testing import ScriptedTransport
from tests.support.picwish import LINK, scripted_client


def test_a_handle_shows_its_contract_and_nothing_else() -> None:
    public = {name for name in dir(aw.JobHandle) if not name.startswith("_")}
    assert public == {"key", "task_id", "token", "snapshot", "result", "updates", "done", "when_done"}


async def test_submitting_a_running_key_again_returns_the_same_handle(transport: ScriptedTransport) -> None:
    transport.queries = []
    async with scripted_client(transport, drain=0.0) as client:
        first = await client.submit(LINK, key="order-1")
        assert await client.submit(LINK, key="order-1") is first
        assert client.resume(first.token) is first


async def test_when_done_calls_with_the_result_and_with_the_error(transport: ScriptedTransport) -> None:
    outcomes: list[aw.Result | BaseException] = []
    async with scripted_client(transport) as client:
        handle = await client.submit(LINK)
        handle.when_done(outcomes.append)
        result = await handle
        assert handle.done()
    async with scripted_client(transport, drain=0.0) as client:
        transport.queries = []
        (await client.submit(LINK)).when_done(outcomes.append)
    assert outcomes[0] is result
    assert isinstance(outcomes[1], aw.WatermarkError)
