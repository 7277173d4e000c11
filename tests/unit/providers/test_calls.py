"""PicWish and gpt.ge have several calls: each job is submitted to its own, and queried where it was made."""

from __future__ import annotations

from typing import Any

import pytest

import aiowatermark as aw
from aiowatermark.jobs import Job, Record, Snapshot, Status
from aiowatermark.media.memory import Link
from aiowatermark.provider import Credits, Polling, Provider
from aiowatermark.testing import ScriptedTransport, json_response
from aiowatermark.wire import Multipart
from tests.support.flows import drive_flow, drive_to_snapshot, first_request, response
from tests.support.picwish import ACCEPTED, FINISHED, LINK, scripted_client

VIRTUAL_CLOCK = True
EXTERNAL = "/api/tasks/visual/external/watermark-remove"
ADVANCED = "/api/tasks/visual/advanced/watermark-remove"
INPAINT = "/api/tasks/visual/inpaint"
MASK, BOXES = Link("https://example.com/mask.png"), aw.Boxes([(1, 2, 3, 4)])
FILE = "https://results.example.com/out.png"
PICWISH, GPTGE = aw.PicWish("k"), aw.GptGe("k")


def job(provider: Provider, mask: Any = None, **options: Any) -> Job:
    return Job((Link(LINK),), mask, provider.resolve_options(options))


# the job, the path it is submitted to, the route in its record, and the path below which it is queried
CASES: list[tuple[Provider, Job, tuple[str, str | None, str]]] = [
    (PICWISH, job(PICWISH), (EXTERNAL, None, EXTERNAL)),
    (PICWISH, job(PICWISH, tier="advanced"), (ADVANCED, ADVANCED, ADVANCED)),
    (PICWISH, job(PICWISH, MASK), (INPAINT, INPAINT, INPAINT)),
    (PICWISH, job(PICWISH, BOXES), (INPAINT, INPAINT, INPAINT)),
    (GPTGE, job(GPTGE), ("/task/pic/watermark_auto", None, "/task")),
    (GPTGE, job(GPTGE, MASK), ("/task/pic/watermark", None, "/task")),
    (GPTGE, job(GPTGE, BOXES), ("/task/pic/watermark", None, "/task")),
]


@pytest.mark.parametrize(("provider", "submitted", "paths"), CASES)
def test_a_job_is_submitted_to_its_call_and_queried_below_the_path_in_its_record(
    provider: Provider, submitted: Job, paths: tuple[str, str | None, str]
) -> None:
    path, route, query_path = paths
    assert first_request(provider.submit(submitted, None)).target == path
    assert provider.route(submitted) == route
    record = Record("key", provider.name, Snapshot("t-1", Status.QUEUED), route=route)
    for each in (record, Record.from_token(record.token)):
        assert first_request(provider.query(each)).target == f"{query_path}/t-1"


@pytest.mark.parametrize("provider", [PICWISH, GPTGE], ids=lambda provider: provider.name)
@pytest.mark.parametrize("route", ["", "@evil.example.com", ".evil.example.com/x", ":1@evil", "/api/v2", "/task/../x"])
def test_a_path_that_is_not_of_this_provider_is_not_queried(provider: Provider, route: str) -> None:
    record = Record("key", provider.name, Snapshot("t-1", Status.QUEUED), route=route)
    with pytest.raises(aw.Unsupported, match="another version"):
        next(provider.query(record))


async def test_the_record_of_a_job_has_its_path() -> None:
    transport = ScriptedTransport(submissions=[ACCEPTED], queries=[FINISHED])
    async with scripted_client(transport) as client:
        result = await client.remove(LINK, tier="advanced")
    assert result.record.route == ADVANCED
    assert [request.target for request in transport.requests] == [ADVANCED, f"{ADVANCED}/task-1"]


async def test_the_better_remover_is_queried_rarely_in_its_first_20_seconds_and_each_5_afterwards() -> None:
    working = json_response(status=200, data={"task_id": "task-1", "state": 4})
    transport = ScriptedTransport(submissions=[ACCEPTED], queries=[*[working] * 7, FINISHED])
    async with scripted_client(transport) as client:
        await client.remove(LINK, tier="advanced")
    times = [time - transport.times[0] for time in transport.times]
    assert times == pytest.approx([0, 20, 25, 30, 35, 40, 45, 50, 55])


@pytest.mark.parametrize("where", ["client", "provider"])
async def test_a_schedule_that_the_user_chose_is_kept_for_the_better_remover(where: str) -> None:
    transport = ScriptedTransport(submissions=[ACCEPTED], queries=[FINISHED])
    chosen: dict[str, Any] = {"polling": Polling(first=3.0)}
    provider = aw.PicWish("canary-1", requests_per_second=None, **(chosen if where == "provider" else {}))
    settings = chosen if where == "client" else {}
    async with scripted_client(transport, provider=provider, **settings) as client:
        await client.remove(LINK, tier="advanced")
    assert transport.times[1] - transport.times[0] == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("provider", "mask", "options", "expected"),
    [
        (PICWISH, None, {}, True),
        (PICWISH, None, {"tier": "advanced"}, False),
        (PICWISH, MASK, {}, False),
        (GPTGE, None, {}, True),
        (GPTGE, MASK, {}, True),
    ],
)
def test_a_callback_is_asked_for_and_expected_only_where_the_call_takes_one(
    provider: Provider, mask: Any, options: dict[str, Any], expected: bool
) -> None:
    submitted = job(provider, mask, **options)
    request = first_request(provider.submit(submitted, "https://hooks.example.com/k"))
    assert isinstance(request.body, Multipart)
    assert ("callback_url" in request.body.fields) is expected
    assert provider.capabilities_for(submitted).callbacks is expected


def test_without_the_better_remover_a_job_is_the_same_as_in_earlier_versions() -> None:
    before = Job((Link(LINK),), None, {"sync": False})
    assert job(PICWISH).fingerprint == job(PICWISH, tier="standard").fingerprint == before.fingerprint
    assert job(PICWISH, tier="advanced").fingerprint != before.fingerprint


def test_a_tier_is_standard_or_advanced() -> None:
    with pytest.raises(aw.InvalidInput, match="tier must be standard or advanced, not 'better'"):
        PICWISH.resolve_options({"tier": "better"})


@pytest.mark.parametrize("field", ["file", "image", "image_url"])
@pytest.mark.parametrize("provider", [PICWISH, GPTGE], ids=lambda provider: provider.name)
def test_the_result_is_read_from_the_field_of_any_call(provider: Provider, field: str) -> None:
    media = query(provider, {"state": 1, "file": "", field: FILE}).outputs[0].media
    assert isinstance(media, Link)
    assert media.url == FILE


def query(provider: Provider, data: Any, route: str | None = None) -> Snapshot:
    record = Record("key", provider.name, Snapshot("t-1", Status.QUEUED), route=route)
    return drive_to_snapshot(provider.query(record), response({"status": 200, "data": data}))


# what a task cost


@pytest.mark.parametrize(
    ("value", "credits_"), [(2, 2.0), ("10", 10.0), (0, 0.0), (0.5, 0.5), (None, None), (-1, None), ("free", None)]
)
@pytest.mark.parametrize("state", [1, -1])
def test_the_price_in_a_picwish_task_that_ended_is_what_it_cost(state: int, value: Any, credits_: float | None) -> None:
    snapshot = query(PICWISH, {"state": state, "file": FILE, "use_point": value})
    assert snapshot.charged == (None if credits_ is None else aw.Charge(credits_, "answer"))


def test_the_price_of_a_running_task_is_not_final() -> None:
    assert query(PICWISH, {"state": 4, "use_point": 0}).charged is None


def test_a_resellers_customer_does_not_pay_the_vendors_price() -> None:
    assert query(GPTGE, {"state": 1, "file": FILE, "use_point": 2}).charged is None


async def test_the_result_tells_what_the_job_cost() -> None:
    data = {"task_id": "task-1", "state": 1, "file": FILE, "use_point": 2}
    transport = ScriptedTransport(submissions=[ACCEPTED], queries=[json_response(status=200, data=data)])
    async with scripted_client(transport) as client:
        assert (await client.remove(LINK)).charged == aw.Charge(2.0, "answer")


@pytest.mark.parametrize(("state", "retryable"), [(-7, False), (-14, False), (-8, True), (-15, True), (-1, None)])
async def test_a_failure_tells_another_picture_from_later(state: int, retryable: bool | None) -> None:
    data = {"task_id": "task-1", "state": state, "use_point": 0}
    transport = ScriptedTransport(submissions=[ACCEPTED], queries=[json_response(status=200, data=data)])
    store = aw.MemoryStore()
    async with scripted_client(transport, store=store) as client:
        with pytest.raises(aw.JobFailed) as caught:
            await client.remove(LINK, key="order-1")
        with pytest.raises(aw.JobFailed) as again:
            await client.remove(LINK, key="order-1")
    for error in (caught.value, again.value):
        assert error.retryable is retryable
        assert error.snapshot is not None
        assert error.snapshot.charged == aw.Charge(0.0, "answer")


# credits


def credits_of(data: Any) -> Credits:
    value, _ = drive_flow(PICWISH.credits(), response({"status": 200, "data": data}))
    return value


def test_the_balance_of_picwish_is_the_sum_over_its_packages() -> None:
    packages = [
        {"remaining_credits": "40", "used_credits": 10},
        {"remaining_credits": 2.5, "used_credits": "0", "x": 1},
    ]
    assert credits_of(packages) == Credits(42.5, 10.0)
    assert credits_of([]) == Credits(0, 0)
    assert credits_of([{"remaining_credits": 3}]) == Credits(3)


@pytest.mark.parametrize("data", [None, {}, [None], [{}], [{"remaining_credits": []}], [{"remaining_credits": 1}, {}]])
def test_a_balance_that_is_not_understood_is_not_guessed(data: Any) -> None:
    with pytest.raises(aw.UnexpectedAnswer):
        credits_of(data)


# gpt.ge answers for many vendors


@pytest.mark.parametrize(
    "payload",
    [
        {"id": "t-1", "status": "succeeded", "output": [FILE]},
        {"id": "t-1", "status": "failed", "error": {"message": "no"}},
        {"task_id": "t-1", "state": 1, "file": FILE},
        {"status": 200, "data": {"id": "t-1", "status": "succeeded", "file": FILE}},
        {"status": 200, "data": {"task_id": "t-1", "state": None, "file": FILE}},
        {"status": 200, "data": {"task_id": "t-1", "status": "failed"}},
        {"status": 200, "data": [{"state": 1, "file": FILE}]},
        {"status": 200, "data": None},
    ],
)
def test_only_the_shape_of_a_task_of_ours_is_believed(payload: Any) -> None:
    record = Record("key", "gptge", Snapshot("t-1", Status.QUEUED))
    with pytest.raises(aw.UnexpectedAnswer):
        drive_flow(GPTGE.query(record), response(payload))


@pytest.mark.parametrize("suffix", ["", "/", "/v1", "/v1/", "/v1//"])
def test_a_version_that_users_write_behind_the_base_url_is_cut_off(suffix: str) -> None:
    assert aw.GptGe("k", base_url=f"https://api.gpt.ge{suffix}").base_url == "https://api.gpt.ge"
    assert (
        aw.GptGe("k", base_url=f"https://gateway.example.com/llm{suffix}").base_url == "https://gateway.example.com/llm"
    )


# regions


@pytest.mark.parametrize(
    ("provider", "host"),
    [
        (PICWISH, "https://techhk.aoscdn.com"),
        (aw.PicWish("k", region="cn"), "https://techsz.aoscdn.com"),
        (aw.PicWish("k", region="cn", base_url="https://gateway.example.com"), "https://gateway.example.com"),
        (aw.PhotoEraser("k", "s"), "https://wsai-api.wondershare.com"),
        (aw.PhotoEraser("k", "s", region="cn"), "https://wsai-api.wondershare.cn"),
    ],
)
def test_the_region_of_the_account_decides_the_host(provider: Provider, host: str) -> None:
    assert provider.base_url == host


@pytest.mark.parametrize("region", ["china", "", None, 1])
def test_an_unknown_region_is_refused(region: Any) -> None:
    with pytest.raises(aw.InvalidInput, match="region must be global or cn"):
        aw.PicWish("k", region=region)


def test_accounts_of_two_regions_are_two_accounts() -> None:
    assert PICWISH.account != aw.PicWish("k", region="cn").account
