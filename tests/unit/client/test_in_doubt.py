"""Callbacks for a job in doubt: one query per second, whatever they contain and however many they are."""

from __future__ import annotations

import asyncio
import re
from copy import copy
from itertools import pairwise

import pytest

import aiowatermark as aw
from aiowatermark.callbacks.registry import registry_of
from aiowatermark.testing import ScriptedTransport, connection_lost, json_response
from tests.support.picwish import FINISHED, LINK, delivery, scripted_client
from tests.support.stores import get_record

VIRTUAL_CLOCK = True
NO_SUCH_TASK = json_response(404, message="no such task")


@pytest.fixture
def receiver() -> aw.CallbackReceiver:
    return aw.CallbackReceiver("https://hooks.example.com")


@pytest.fixture
def lost(transport: ScriptedTransport) -> ScriptedTransport:
    """A transport whose paid request is lost after it was sent, and that knows no task."""
    transport.submissions = [connection_lost(sent=True)]
    transport.queries = [NO_SUCH_TASK]
    return transport


class StoreInAFile(aw.MemoryStore):
    """A store that says how the command line opens it."""

    cli_location = "/var/jobs.db"


def query_times(transport: ScriptedTransport) -> list[float]:
    pairs = zip(transport.requests, transport.times, strict=True)
    return [time for request, time in pairs if request.repeatable]


async def test_a_flood_of_callbacks_costs_one_query_a_second_and_one_task(
    lost: ScriptedTransport, receiver: aw.CallbackReceiver
) -> None:
    async with scripted_client(lost, callbacks=receiver) as client:
        with pytest.raises(aw.SubmissionInDoubt):
            await client.remove(LINK, key="mine")
        (deliver,) = registry_of(receiver)._expected.values()
        before = len(asyncio.all_tasks())
        for _ in range(39):
            for number in range(100):
                deliver(delivery(data={"task_id": f"guess-{number}", "state": 0}))
            assert len(asyncio.all_tasks()) <= before + 1
            await asyncio.sleep(0.1)
    times = query_times(lost)
    assert len(times) == 4
    assert all(later - earlier > 0.99 for earlier, later in pairwise(times))


async def test_a_callback_that_comes_during_a_flood_settles_the_doubt(
    lost: ScriptedTransport, receiver: aw.CallbackReceiver
) -> None:
    store = aw.MemoryStore()
    lost.queries = [NO_SUCH_TASK, FINISHED]
    async with scripted_client(lost, callbacks=receiver, store=store) as client:
        with pytest.raises(aw.SubmissionInDoubt):
            await client.remove(LINK, key="mine")
        (deliver,) = registry_of(receiver)._expected.values()
        deliver(delivery(data={"task_id": "guess", "state": 0}))
        await asyncio.sleep(0.5)
        deliver(delivery(data={"task_id": "task-1", "state": 0}))
        await asyncio.sleep(1)
        record = await store.get("mine")
        assert record is not None
        assert record.snapshot.status is aw.Status.SUCCEEDED
        assert registry_of(receiver).expected == 0
    assert lost.submitted == 1


async def test_a_settlement_by_a_callback_is_noted_in_the_history_of_the_job(
    lost: ScriptedTransport, receiver: aw.CallbackReceiver
) -> None:
    store = aw.MemoryStore()
    lost.queries = [FINISHED]
    async with scripted_client(lost, callbacks=receiver, store=store) as client:
        with pytest.raises(aw.SubmissionInDoubt):
            await client.remove(LINK, key="mine")
        (deliver,) = registry_of(receiver)._expected.values()
        deliver(delivery(data={"task_id": "task-1", "state": 0}))
        await asyncio.sleep(1)
        (note,) = (await get_record(store, "mine")).history
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00 callback: settled as task task-1", note)


@pytest.mark.parametrize("with_store", [True, False], ids=["a file", "memory"])
async def test_the_error_names_the_same_commands_as_the_log_line_and_its_message_and_the_record_do_not(
    lost: ScriptedTransport, caplog: pytest.LogCaptureFixture, with_store: bool
) -> None:
    store = StoreInAFile() if with_store else aw.MemoryStore()
    async with scripted_client(lost, store=store) as client:
        with pytest.raises(aw.SubmissionInDoubt) as caught:
            await client.remove(LINK, key="mine")
        reason = (await get_record(store, "mine")).snapshot.reason or ""
    error = caught.value
    (advice,) = [line.advice for line in caplog.records if getattr(line, "event", "") == "job.in_doubt"]  # type: ignore[attr-defined]
    assert error.advice == advice
    assert ("aiowatermark jobs settle --store " if with_store else "client.settle('mine'") in advice
    assert str(error).endswith(f". Look for it in your account at picwish, then run one of: {advice}")
    assert "settle" not in error.message + reason
    assert str(copy(error)) == str(error)


@pytest.mark.parametrize("task_id", ["\ud800", "x" * 201, "a\nb", "", "\x00"])
async def test_a_text_that_cannot_be_a_task_id_causes_no_query(
    lost: ScriptedTransport, receiver: aw.CallbackReceiver, task_id: str
) -> None:
    def called_back() -> Exception:
        (deliver,) = registry_of(receiver)._expected.values()
        deliver(delivery(data={"task_id": task_id, "state": 0}))
        return connection_lost(sent=True)

    lost.submissions = [called_back]
    async with scripted_client(lost, callbacks=receiver) as client:
        with pytest.raises(aw.SubmissionInDoubt):
            await client.remove(LINK)
    assert query_times(lost) == []


async def test_a_callback_that_breaks_the_providers_parser_leaves_the_doubt(
    lost: ScriptedTransport, receiver: aw.CallbackReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken_parser(*_: object) -> None:
        raise RecursionError("a hostile body")

    def called_back() -> Exception:
        (deliver,) = registry_of(receiver)._expected.values()
        deliver(delivery(data={"task_id": "task-1", "state": 0}))
        return connection_lost(sent=True)

    monkeypatch.setattr(aw.PicWish, "parse_callback", broken_parser)
    lost.submissions = [called_back]
    async with scripted_client(lost, callbacks=receiver) as client:
        with pytest.raises(aw.SubmissionInDoubt):
            await client.remove(LINK)
