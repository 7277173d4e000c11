"""Records: every pair of statuses, tokens and their decoding, hostile tokens, fingerprints, results."""

from __future__ import annotations

import asyncio
import json
from base64 import urlsafe_b64encode
from itertools import permutations, product
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from aiowatermark.charges import Charge
from aiowatermark.errors import InvalidInput, JobFailed
from aiowatermark.jobs import Job, Output, Record, Session, Snapshot, Status
from aiowatermark.media.fingerprints import complete_fingerprint, same_job
from aiowatermark.media.memory import Bytes, Link
from aiowatermark.results import Result

# the statuses that may follow each status, by their letters
FOLLOWS = {
    Status.UPLOADING: "UDQRSF",
    Status.IN_DOUBT: "DQRSF",
    Status.QUEUED: "QRSF",
    Status.RUNNING: "RSF",
    Status.SUCCEEDED: "S",
    Status.FAILED: "F",
}
LETTER = dict(zip(Status, "UDQRSF", strict=True))
statuses = st.sampled_from(Status)
snapshots = st.builds(
    Snapshot,
    st.sampled_from([None, "a", "b"]),
    statuses,
    st.sampled_from([None, 0.0, 0.3, 0.7, 1.0]),
    reason=st.sampled_from([None, "why"]),
    retry_after=st.sampled_from([None, 1.0, 5.0]),
)


def record(status: Status = Status.QUEUED, **fields: Any) -> Record:
    return Record("key", "kaze", Snapshot("t-1", status, **fields))


@pytest.mark.parametrize(("current", "new"), list(product(Status, Status)), ids=lambda status: status.value)
def test_each_status_is_followed_only_by_the_permitted_ones(current: Status, new: Status) -> None:
    before = record(current)
    after = before.advance(Snapshot("t-1", new))
    if current is new:
        assert after is before
    elif LETTER[new] in FOLLOWS[current]:
        assert (after.snapshot.status, after.version) == (new, before.version + 1)
    else:
        assert after is before


@pytest.mark.parametrize("status", Status)
def test_only_success_and_failure_are_terminal(status: Status) -> None:
    assert status.terminal is (status in {Status.SUCCEEDED, Status.FAILED})


@pytest.mark.parametrize("end", [Status.SUCCEEDED, Status.FAILED])
@pytest.mark.parametrize(
    "change", [{"progress": 0.1}, {"reason": "changed"}, {"task_id": "other"}, {"retry_after": 9.0}]
)
def test_nothing_changes_a_terminal_record(end: Status, change: dict[str, Any]) -> None:
    before = record(end)
    assert before.advance(evolve(before.snapshot, **change)) is before


@given(st.lists(snapshots, max_size=8))
def test_a_record_never_moves_backwards_for_any_snapshots_in_any_order(observed: list[Snapshot]) -> None:
    before = Record("key", "kaze")
    for snapshot in observed:
        after = before.advance(snapshot)
        assert LETTER[after.snapshot.status] in FOLLOWS[before.snapshot.status]
        assert after is before or after.version == before.version + 1
        assert after.advance(snapshot) is after
        assert before.snapshot.task_id is None or after.snapshot.task_id is not None
        if before.snapshot.status is after.snapshot.status:
            assert (after.snapshot.progress or 0.0) >= (before.snapshot.progress or 0.0)
        before = after


def test_duplicate_and_reordered_snapshots_end_in_the_same_state() -> None:
    observed = [
        Snapshot("t-1", Status.QUEUED),
        Snapshot("t-1", Status.RUNNING, 0.5),
        Snapshot("t-1", Status.SUCCEEDED, 1.0),
    ]
    for order in permutations(observed * 2, 6):
        after = Record("key", "kaze")
        for snapshot in order:
            after = after.advance(snapshot)
        assert after.snapshot == observed[-1]


def test_a_known_task_id_is_kept_until_a_new_one_replaces_it() -> None:
    assert record(Status.QUEUED).advance(Snapshot(None, Status.RUNNING)).snapshot.task_id == "t-1"
    assert record(Status.UPLOADING).advance(Snapshot("t-2", Status.UPLOADING)).snapshot.task_id == "t-2"


def test_progress_never_decreases_within_a_status() -> None:
    half = record(Status.RUNNING, progress=0.5)
    assert half.advance(Snapshot("t-1", Status.RUNNING, 0.2)) is half
    assert half.advance(Snapshot("t-1", Status.RUNNING)) is half
    assert half.advance(Snapshot("t-1", Status.RUNNING, 0.6)).snapshot.progress == 0.6


def test_a_charge_that_an_observation_told_of_is_kept_when_later_ones_do_not() -> None:
    charge = Charge(2.0, "answer")
    running = record().advance(Snapshot("t-1", Status.RUNNING, charged=charge))
    ended = running.advance(Snapshot("t-1", Status.SUCCEEDED))
    assert (running.charged, ended.charged) == (charge, charge)
    assert ended.advance(Snapshot("t-1", Status.SUCCEEDED, charged=Charge(3.0, "answer"))) is ended
    assert ended.take_over("other", 1, 2.0, None, "charged again").charged is None


def test_the_latest_retry_after_replaces_earlier_ones() -> None:
    queued = record(Status.QUEUED).advance(Snapshot("t-1", Status.QUEUED, retry_after=30.0))
    assert queued.snapshot.retry_after == 30.0
    assert queued.advance(Snapshot("t-1", Status.QUEUED, retry_after=2.0)).snapshot.retry_after == 2.0
    assert queued.advance(Snapshot("t-1", Status.QUEUED)).snapshot.retry_after is None


# predicates


def describe(before: Record) -> list[str]:
    names = ("in_doubt", "unsent", "before_payment", "answer_pending", "at_provider")
    return [name for name in names if getattr(before, name)]


@pytest.mark.parametrize(
    ("snapshot", "true"),
    [
        (Snapshot(None, Status.UPLOADING), ["unsent", "before_payment"]),
        (Snapshot("t-1", Status.UPLOADING), ["unsent", "before_payment"]),
        (Snapshot(None, Status.IN_DOUBT), ["in_doubt", "before_payment", "answer_pending"]),
        # a video whose upload URL came with a task id
        (Snapshot("t-1", Status.IN_DOUBT), ["before_payment", "answer_pending", "at_provider"]),
        (Snapshot(None, Status.IN_DOUBT, reason="no answer"), ["in_doubt"]),
        (Snapshot("t-1", Status.IN_DOUBT, reason="no answer"), ["at_provider"]),
        (Snapshot("t-1", Status.QUEUED), ["at_provider"]),
        (Snapshot("t-1", Status.RUNNING), ["at_provider"]),
        (Snapshot("t-1", Status.SUCCEEDED), []),
        (Snapshot(None, Status.FAILED, reason="too dark"), []),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else value.status.value,
)
def test_a_record_says_how_far_its_paid_request_is(snapshot: Snapshot, true: list[str]) -> None:
    assert describe(Record("key", "kaze", snapshot)) == true


def test_a_record_is_replaced_by_a_newer_version_unless_it_is_terminal() -> None:
    before = evolve(record(Status.QUEUED), version=3)
    assert [before.replaceable_by(evolve(before, version=version)) for version in (2, 3, 4)] == [False, False, True]
    ended = evolve(record(Status.SUCCEEDED), version=3)
    assert not ended.replaceable_by(evolve(ended, version=4))


# tokens


@given(
    st.text(max_size=40),
    st.text(min_size=1, max_size=40),
    st.none() | st.text(min_size=1, max_size=40),
    st.booleans(),
    st.lists(st.text(max_size=20), max_size=3),
)
def test_a_token_restores_the_job(provider: str, key: str, task_id: str | None, video: bool, inputs: list[str]) -> None:
    before = Record(key, provider, Snapshot(task_id, Status.RUNNING), video=video, inputs=tuple(inputs))
    after = Record.from_token(before.token)
    assert (after.key, after.provider, after.snapshot.task_id) == (key, provider, task_id)
    assert (after.video, after.inputs) == (video, tuple(inputs))
    assert after.snapshot.status is (Status.QUEUED if task_id else Status.IN_DOUBT)
    assert after.token == before.token
    assert before.token.isascii()
    assert before.token.isprintable()


def encode(value: Any, prefix: str = "aw1.") -> str:
    return prefix + urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


HOSTILE = [
    "",
    "aw1.",
    "aw1",
    "aw2." + encode(["kaze", "k", "t", 0, []])[4:],
    "aw1.é",
    "aw1.!!!",
    "aw1.A",
    "aw1.\x00",
    encode({}),
    encode([]),
    encode("kaze"),
    encode(None),
    encode(["kaze", "k", "t", 0]),
    encode(["kaze", "k", "t", 0, [], 1]),
    encode([1, "k", "t", 0, []]),
    encode(["kaze", None, "t", 0, []]),
    encode(["kaze", "k", 7, 0, []]),
    encode(["kaze", "k", {"a": 1}, 0, []]),
    encode(["kaze", "k", "t", 0, None]),
    encode(["kaze", "k", "t", 0, [7]]),
    encode(["kaze", "k", "t", 0, "links"]),
    encode(["kaze", "k", "t", 0, {"a": "b"}]),
    "aw1." + urlsafe_b64encode(b"[" * 100_000).decode(),
    "aw1." + urlsafe_b64encode(b"\xff\xfe\x00").decode(),
    encode(["kaze", "k", "t", 0, []])[:-4],
    encode(["kaze", "k", "t", 0, [], 7, None], "aw2."),
    encode(["kaze", "k", "t", 0, [], "", 7], "aw2."),
    encode(["kaze", "k", "t", 0, [], ""], "aw2."),
    encode(["kaze", "k", "t", 0, [], "", None], "aw1."),
]


def test_a_token_of_an_earlier_version_is_read() -> None:
    record = Record.from_token(encode(["kaze", "order-1", "task-1", 0, ["a.jpg:7"]], "aw1."))
    assert (record.provider, record.key, record.snapshot.task_id) == ("kaze", "order-1", "task-1")
    assert (record.inputs, record.account, record.route) == (("a.jpg:7",), "", None)


@pytest.mark.parametrize("token", HOSTILE, ids=range(len(HOSTILE)))
def test_every_invalid_token_is_refused_with_the_same_error(token: str) -> None:
    with pytest.raises(InvalidInput, match="not a valid job token") as caught:
        Record.from_token(token)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("token", [None, 7, b"aw1.", ["aw1."]])
def test_a_token_must_be_text(token: Any) -> None:
    with pytest.raises(InvalidInput, match="not a valid job token"):
        Record.from_token(token)


@given(st.text(max_size=60))
def test_random_text_is_refused(text: str) -> None:
    for token in (text, "aw1." + text):
        try:
            Record.from_token(token)
        except InvalidInput:
            continue
        pytest.fail("random text was accepted as a token")


def test_a_token_contains_no_secret_of_its_inputs() -> None:
    inputs = (Link("https://user:canary@example.com/a.png?sig=canary").identity, Bytes(b"canary").identity)
    before = Record("key", "kaze", Snapshot("t-1", Status.QUEUED), inputs=inputs)
    assert "canary" not in before.token
    assert all("canary" not in text for text in Record.from_token(before.token).inputs)


# fingerprints


def hashed(data: bytes, name: str = "photo.jpg") -> Bytes:
    """Media as it is in a job with a key."""
    media = Bytes(data, name=name)
    media.digest = f"digest-of-{data.decode()}"
    return media


def test_fingerprints_are_equal_for_equal_jobs_only() -> None:
    a, b = hashed(b"a"), hashed(b"b")
    jobs = [
        Job((a,)),
        Job((b,)),
        Job((a, b)),
        Job((b, a)),
        Job((a,), b),
        Job((a,), None, {"sync": True}),
        Job((a,), None, {"sync": False}),
        Job((a,), None, {"priority": 1}),
        Job((a,), None, {"priority": "1"}),
        Job((a,), None, {"mask_base": b}),
        Job((a,), None, {}, Session("s-1")),
        Job((a,), None, {}, Session("s-2")),
        Job((), a),
    ]
    assert len({job.fingerprint for job in jobs}) == len(jobs)
    for one, other in permutations(jobs, 2):
        assert not same_job(one.fingerprint, other.fingerprint)
    same = Job((hashed(b"a", "of another name.png"),), None, {"x": 1, "y": 2}).fingerprint
    assert same == Job((a,), None, {"y": 2, "x": 1}).fingerprint


def test_only_what_both_fingerprints_know_is_compared() -> None:
    known, other, unknown = (Job((media,), hashed(b"m")) for media in (hashed(b"a"), hashed(b"b"), Bytes(b"x")))
    assert same_job(known.fingerprint, unknown.fingerprint)
    assert not same_job(known.fingerprint, other.fingerprint)
    longer, masked = Job((Bytes(b"xy"),), hashed(b"m")), Job((Bytes(b"x"),), hashed(b"n"))
    assert not same_job(known.fingerprint, longer.fingerprint)
    assert not same_job(unknown.fingerprint, masked.fingerprint)
    assert not same_job(known.fingerprint, Job((Link("https://example.com/a"),), hashed(b"m")).fingerprint)


def test_a_fingerprint_of_an_earlier_version_is_not_compared_with_one_of_this() -> None:
    now = Job((hashed(b"a"),)).fingerprint
    assert same_job("f" * 32, now)
    assert same_job(now, "")
    assert same_job("f" * 32, "f" * 32)
    assert not same_job("f" * 32, "e" * 32)


def test_a_fingerprint_is_completed_by_what_became_known_while_the_job_was_sent() -> None:
    before, after = Job((Bytes(b"a"),)).fingerprint, Job((hashed(b"a"),)).fingerprint
    assert complete_fingerprint(before, after) == after
    assert complete_fingerprint(after, before) == before or same_job(after, before)
    for unrelated in (Job((Link("https://example.com/lent"),)).fingerprint, Job((hashed(b"ab"),)).fingerprint):
        assert complete_fingerprint(before, unrelated) == before
    assert complete_fingerprint("", after) == ""


def test_a_url_signed_again_is_the_same_job_and_one_with_another_query_is_not() -> None:
    family = "X-Amz-Algorithm=A&X-Amz-Credential=C&X-Amz-Date=D&X-Amz-Signature="
    old, new, other = (
        Job((Link(f"https://example.com/a.png?{query}"),)).fingerprint
        for query in (f"id=1&{family}old", f"id=1&{family}new", f"id=2&{family}old")
    )
    assert old == new
    assert not same_job(old, other)


@given(st.lists(st.binary(max_size=4), min_size=2, max_size=2, unique=True))
def test_two_contents_never_share_a_fingerprint(contents: list[bytes]) -> None:
    one, other = (Bytes(content) for content in contents)
    for media in (one, other):
        asyncio.run(media.hash_content())
    assert not same_job(Job((one,)).fingerprint, Job((other,)).fingerprint)
    assert not same_job(Job((), one).fingerprint, Job((), other).fingerprint)


def test_a_fingerprint_contains_no_secret() -> None:
    job = Job((Link("https://example.com/canary?canary"),), None, {"session_id": "canary"}, Session("canary"))
    assert "canary" not in job.fingerprint
    assert "canary" not in repr(job.session)


# results


def result(*outputs: Output) -> Result:
    return Result(Record("key", "kaze", Snapshot("t-1", Status.SUCCEEDED, 1.0, outputs)), None)  # type: ignore[arg-type]


@pytest.mark.parametrize("charge", [None, Charge(0.0, "price list")])
def test_a_result_tells_what_the_job_cost_if_that_is_known(charge: Charge | None) -> None:
    assert Result(evolve(record(Status.SUCCEEDED), charged=charge), None).charged == charge  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("amount", "source"), [(-1, "answer"), (float("nan"), "answer"), (True, "answer"), ("2", "answer"), (2, "a guess")]
)
def test_a_charge_is_a_known_amount_from_a_known_source(amount: Any, source: Any) -> None:
    with pytest.raises(InvalidInput, match=r"credits must be|source must be"):
        Charge(amount, source)


def test_url_is_that_of_the_first_output_that_succeeded() -> None:
    error, link = JobFailed("too dark"), Link("https://example.com/b.png")
    assert result(Output(error=error), Output(link)).url == "https://example.com/b.png"
    assert result(Output(Bytes(b"x"))).url is None
    with pytest.raises(JobFailed, match="too dark"):
        _ = result(Output(error=error)).url
    with pytest.raises(JobFailed, match="no such output"):
        _ = result().url
