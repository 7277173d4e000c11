"""What a client does is logged, given to `on_event` and counted: from one source, at no risk for a job."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from attrs import evolve

import aiowatermark as aw
from aiowatermark.callbacks.registry import registry_of
from aiowatermark.jobs import Record, Snapshot, Status
from aiowatermark.observation.events import EVENTS, JOB_SUBMITTED, write
from aiowatermark.observation.observer import Observer, changes
from aiowatermark.testing import Answer, ScriptedTransport, connection_lost, json_response
from tests.support.picwish import ACCEPTED, FINISHED, LINK, PENDING, delivery, scripted_client
from tests.support.processes import REPOSITORY
from tests.support.waiting import run_ready_tasks

VIRTUAL_CLOCK = True
RUNNING = json_response(data={"task_id": "task-1", "state": 4, "progress": 10})
FAILED = json_response(data={"task_id": "task-1", "state": -1})
NO_CREDITS = json_response(402, message="no credits left")
ACCOUNT = aw.PicWish("canary-1").account


def named(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The names of the events that were logged, but for requests."""
    names = [getattr(record, "event", "") for record in caplog.records]
    return [name for name in names if name and not name.startswith("request.")]


def logged(caplog: pytest.LogCaptureFixture, event: str) -> logging.LogRecord:
    (record,) = (record for record in caplog.records if getattr(record, "event", "") == event)
    return record


def jobs_in(events: list[Any]) -> list[str]:
    return [event.event for event in events if isinstance(event, aw.JobChanged)]


async def test_each_change_of_a_job_is_one_line(caplog: pytest.LogCaptureFixture, transport: ScriptedTransport) -> None:
    transport.queries = [PENDING, RUNNING, RUNNING, FINISHED]
    async with scripted_client(transport) as client:
        await client.remove(LINK, key="order-1")
    assert named(caplog) == ["job.submitted", "job.accepted", "job.running", "job.succeeded"]
    accepted = vars(logged(caplog, "job.accepted"))
    assert {name: accepted[name] for name in ("job", "provider", "task_id", "status")} == {
        "job": "order-1",
        "provider": "picwish",
        "task_id": "task-1",
        "status": "queued",
    }
    assert all(record.levelno == logging.INFO for record in caplog.records)


@pytest.mark.parametrize(
    ("submission", "queries", "last", "outcome"),
    [
        (ACCEPTED, FINISHED, "job.succeeded", "accepted"),
        (ACCEPTED, FAILED, "job.failed", "accepted"),
        (NO_CREDITS, FINISHED, "job.rejected", "rejected"),
        (connection_lost(sent=True), FINISHED, "job.in_doubt", "in_doubt"),
        (ACCEPTED, PENDING, "job.deadline_exceeded", "accepted"),
        (ACCEPTED, json_response(401), "job.unfinished", "accepted"),
        (connection_lost(sent=False), FINISHED, "job.unsent", "unsent"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_each_end_of_a_job_has_one_event_and_one_outcome(
    caplog: pytest.LogCaptureFixture, submission: Answer, queries: Answer, last: str, outcome: str
) -> None:
    events: list[Any] = []
    transport = ScriptedTransport(submissions=[submission], queries=[queries])
    async with scripted_client(transport, deadline=30.0, on_event=events.append) as client:
        with suppress(aw.WatermarkError):
            await client.remove(LINK)
        stats = client.stats()
    assert named(caplog)[-1] == last
    assert named(caplog) == jobs_in(events)
    outcomes = {name: getattr(stats, name) for name in ("accepted", "rejected", "in_doubt", "unsent", "found")}
    assert outcomes == {**dict.fromkeys(outcomes, 0), outcome: 1}
    assert stats.submitted == 1


async def test_the_line_of_a_doubt_has_the_token_and_the_commands_that_settle_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    transport = ScriptedTransport(submissions=[connection_lost(sent=True)])
    async with scripted_client(transport) as client:
        with pytest.raises(aw.SubmissionInDoubt) as raised:
            await client.remove(LINK, key="order 1")
    line = logged(caplog, "job.in_doubt")
    assert line.levelno == logging.WARNING
    assert vars(line)["token"] == raised.value.token
    assert "await client.settle('order 1', paid=True)" in line.getMessage()


async def test_a_job_that_closing_leaves_at_the_provider_is_a_warning_with_its_token(
    caplog: pytest.LogCaptureFixture, transport: ScriptedTransport
) -> None:
    transport.queries = [PENDING]
    async with scripted_client(transport) as client:
        handle = await client.submit(LINK)
    line = logged(caplog, "job.unfinished")
    assert (line.levelno, vars(line)["token"]) == (logging.WARNING, handle.token)
    assert client.stats().accepted == 1


async def test_a_job_whose_answer_is_missing_when_the_client_closes_counts_as_in_doubt(
    transport: ScriptedTransport,
) -> None:
    transport.hold = asyncio.Event()
    async with scripted_client(transport, drain=0.0) as client:
        waiting = asyncio.create_task(client.remove(LINK))
        await run_ready_tasks()
    with pytest.raises(aw.WatermarkError):
        await waiting
    assert client.stats().in_doubt == 1


async def test_a_key_that_is_known_is_found_and_counts_as_no_submission_at_the_provider(
    caplog: pytest.LogCaptureFixture, transport: ScriptedTransport
) -> None:
    store = aw.MemoryStore()
    async with scripted_client(transport, store=store) as client:
        await client.remove(LINK, key="order-1")
    caplog.clear()
    async with scripted_client(transport, store=store) as client:
        await client.remove(LINK, key="order-1")
        stats = client.stats()
    assert named(caplog) == ["job.submitted", "job.found"]
    assert (stats.submitted, stats.found, stats.accepted, stats.succeeded) == (1, 1, 0, 0)
    assert stats.seconds_to_result == aw.Percentiles()


async def test_a_job_that_is_resumed_is_no_submission_and_its_time_is_not_known(
    caplog: pytest.LogCaptureFixture, transport: ScriptedTransport
) -> None:
    token = Record("order-1", "picwish", Snapshot("task-1", Status.QUEUED), account=ACCOUNT).token
    events: list[Any] = []
    async with scripted_client(transport, on_event=events.append) as client:
        await client.resume(token)
        stats = client.stats()
    assert named(caplog) == ["job.resumed", "job.succeeded"]
    assert (stats.submitted, stats.accepted, stats.succeeded) == (0, 0, 1)
    assert stats.seconds_to_result.count == 0
    assert events[-1].seconds is None


async def test_what_the_store_says_of_a_resumed_job_is_not_reported_as_if_it_happened_now(
    caplog: pytest.LogCaptureFixture, transport: ScriptedTransport
) -> None:
    store = aw.MemoryStore()
    async with scripted_client(transport, store=store) as client:
        token = (await client.remove(LINK, key="order-1")).token
    caplog.clear()
    in_doubt = evolve(Record.from_token(token), snapshot=Snapshot(None, Status.IN_DOUBT)).token
    async with scripted_client(transport, store=store) as client:
        await client.resume(in_doubt)
        assert client.stats().accepted == 0
    assert named(caplog) == ["job.resumed"]


async def test_a_callback_is_counted_and_what_it_proves_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    receiver = aw.CallbackReceiver("https://hooks.example.com")
    transport = ScriptedTransport(submissions=[connection_lost(sent=True)], queries=[FINISHED])
    async with scripted_client(transport, callbacks=receiver) as client:
        with pytest.raises(aw.SubmissionInDoubt):
            await client.remove(LINK, key="mine")
        (deliver,) = registry_of(receiver)._expected.values()
        deliver(delivery(data={"task_id": "task-1", "state": 0}))
        await asyncio.sleep(1)
        stats = client.stats()
    assert (stats.callbacks, stats.polls, stats.in_doubt) == (1, 1, 1)
    for name in ("callback.received", "job.confirmed"):
        assert vars(logged(caplog, name))["job"] == "mine"


async def test_settling_and_forgetting_are_logged_with_the_jobs_key(
    caplog: pytest.LogCaptureFixture, transport: ScriptedTransport
) -> None:
    store = aw.MemoryStore()
    for key in ("a", "b"):
        snapshot = Snapshot(None, Status.IN_DOUBT, reason="no answer")
        await store.open(Record(key, "picwish", snapshot, account=ACCOUNT, owner="gone", epoch=1))
    async with scripted_client(transport, store=store) as client:
        await client.settle("a", paid=False)
        await client.settle("b", paid=True)
        await client.forget("b")
    assert named(caplog) == ["job.settled", "job.settled", "job.forgotten"]
    assert vars(caplog.records[0])["job"] == "a"


async def test_every_line_has_exactly_the_fields_of_its_event(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    usual = set(vars(logging.makeLogRecord({})))
    transport = ScriptedTransport(
        submissions=[connection_lost(sent=False), ACCEPTED], queries=[json_response(500), RUNNING, FAILED]
    )
    async with scripted_client(transport) as client:
        with pytest.raises(aw.JobFailed):
            await client.remove(LINK)
    seen = {}
    for record in caplog.records:
        if (name := getattr(record, "event", None)) is not None:
            seen[name] = set(vars(record)) - usual - {"event", "message", "asctime"}
    assert {"request.repeated", "query.failed", "job.failed"} <= set(seen)
    assert seen == {name: set(EVENTS[name].fields) for name in seen}


@pytest.mark.parametrize("event", EVENTS.values(), ids=list(EVENTS))
def test_the_fields_of_an_event_are_those_of_its_object_and_none_is_an_attribute_of_log_records(event: Any) -> None:
    reserved = {*vars(logging.makeLogRecord({})), "message", "asctime"}
    assert not reserved & {"event", *event.fields}
    assert set(re.findall(r"%\((\w+)\)", event.text)) <= {*event.fields, *event.words}
    if event.hooked:
        kinds = {"job": aw.JobChanged, "result": aw.JobChanged, "callback": aw.JobChanged, "query": aw.JobChanged}
        kind = kinds.get(event.name.split(".")[0], aw.RequestEnded)
        assert all(hasattr(kind, name) for name in event.fields)


def test_the_documents_list_every_event_with_its_level_and_fields() -> None:
    text = (REPOSITORY / "docs" / "observability.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith(("| `job", "| `re", "| `c", "| `q", "| `d"))]
    assert rows == [
        f"| `{event.name}` | {'-' if event.name == 'request.started' else logging.getLevelName(event.level)} | "
        f"{', '.join(f'`{name}`' for name in event.fields)} | {'yes' if event.hooked else 'no'} | {event.meaning} |"
        for event in EVENTS.values()
    ]


async def test_a_hook_that_raises_harms_no_job_and_is_logged_once_for_each_kind(
    caplog: pytest.LogCaptureFixture, transport: ScriptedTransport
) -> None:
    def fail(event: object) -> None:
        raise ZeroDivisionError

    async with scripted_client(transport, on_event=fail) as client:
        for _ in range(5):
            assert (await client.remove(LINK)).url
    problems = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert len(problems) == len(set(problems)) == 3
    assert all("on_event raised for job." in problem for problem in problems)


async def test_a_hook_that_cannot_be_called_is_refused() -> None:
    async def wrong(event: object) -> None:
        """Nobody would await it."""

    for hook in (wrong, "print", 7):
        with pytest.raises(aw.InvalidInput, match="on_event"):
            aw.Client(aw.PicWish("canary-1"), on_event=hook)  # type: ignore[arg-type]


async def test_the_numbers_count_jobs_and_tell_running_from_waiting_ones(transport: ScriptedTransport) -> None:
    transport.hold = asyncio.Event()
    async with scripted_client(transport, limits=aw.Limits(in_flight=2)) as client:
        waiting = [asyncio.create_task(client.remove(LINK)) for _ in range(5)]
        await run_ready_tasks()
        stats = client.stats()
        assert (stats.submitted, stats.in_flight, stats.waiting) == (5, 2, 3)
        transport.hold.set()
        await asyncio.gather(*waiting)
        await run_ready_tasks()
        stats = client.stats()
        assert (stats.in_flight, stats.waiting, stats.accepted, stats.succeeded, stats.polls) == (0, 0, 5, 5, 5)
    assert client.stats() == stats


async def test_the_time_to_a_result_counts_from_the_submission(transport: ScriptedTransport) -> None:
    transport.queries = [PENDING, PENDING, PENDING, FINISHED]
    polling = aw.Polling(first=10.0, factor=1.0, ceiling=10.0)
    async with scripted_client(transport, polling=polling) as client:
        await client.remove(LINK)
        times = client.stats().seconds_to_result
    assert times.count == 1
    assert times.p50 == times.p99 == pytest.approx(40.0, rel=0.05)


async def test_charges_are_summed_where_they_are_known() -> None:
    observer = Observer()
    for charged in (aw.Charge(2.0, "answer"), None, aw.Charge(0.5, "price list")):
        record = Record("key", "kaze", Snapshot("t", Status.SUCCEEDED), charged=charged)
        observer.trace(record, resumed=True).changed(Snapshot("t", Status.QUEUED), record)
    stats = observer.counters.snapshot(in_flight=0, waiting=0)
    assert (stats.charged, stats.charged_jobs, stats.succeeded) == (2.5, 2, 3)


@pytest.mark.parametrize("before", Status)
@pytest.mark.parametrize("after", Status)
def test_a_job_is_accepted_once_and_ends_once(before: Status, after: Status) -> None:
    names = [event.name for event in changes(before, after)]
    assert ("job.accepted" in names) == (
        before in {Status.UPLOADING, Status.IN_DOUBT} and after not in {Status.UPLOADING, Status.IN_DOUBT}
    )
    assert (names[-1:] == [f"job.{after}"]) == (after is not before and after in {"running", "succeeded", "failed"})


class _Formatting:
    """A value that must not be turned into text."""

    def __str__(self) -> str:
        raise AssertionError("a text was made for a line that nobody wants")

    __repr__ = __str__


def test_no_text_is_made_for_a_line_that_is_off() -> None:
    logging.getLogger("aiowatermark").setLevel(logging.WARNING)
    write(JOB_SUBMITTED, dict.fromkeys(JOB_SUBMITTED.fields, _Formatting()))


def test_nothing_is_looked_up_in_a_record_when_nobody_listens() -> None:
    logging.getLogger("aiowatermark").setLevel(logging.WARNING)
    unusable: Any = None
    Observer().job(JOB_SUBMITTED, unusable)


async def test_names_from_a_provider_are_one_line_in_events(transport: ScriptedTransport) -> None:
    events: list[aw.JobChanged] = []
    append: Callable[[Any], None] = events.append
    record = Record("key", "kaze", Snapshot("t\x1b[2J\nx" + "y" * 900, Status.RUNNING, reason="a\nb"))
    Observer(append).job(EVENTS["job.running"], record)
    (event,) = events
    assert event.task_id is not None
    assert event.task_id.isprintable()
    assert len(event.task_id) <= 200


async def test_a_log_filter_that_raises_harms_no_job(
    transport: ScriptedTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: logging.LogRecord) -> bool:
        raise ZeroDivisionError

    monkeypatch.setattr(logging.getLogger("aiowatermark"), "filters", [fail])
    async with scripted_client(transport) as client:
        assert (await client.remove(LINK)).url
