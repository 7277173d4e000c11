"""Records as JSON: `load` restores what `dump` wrote, and tells damaged data from a newer format."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, get_args

import pytest
from attrs import asdict, evolve, fields
from hypothesis import given
from hypothesis import strategies as st

import aiowatermark as aw
from aiowatermark import errors
from aiowatermark.charges import ChargeSource
from aiowatermark.jobs import Output, Record, Session, Snapshot, Status
from aiowatermark.ledger import Attempt
from aiowatermark.media.base import Media, safe_name
from aiowatermark.media.files import File
from aiowatermark.media.memory import Base64Text, Bytes, Link
from aiowatermark.stores.records.dump import dump, has_inline_media
from aiowatermark.stores.records.load import load

ERRORS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, aw.WatermarkError)]
texts = st.text(max_size=20)
numbers = st.floats(allow_nan=False, allow_infinity=False)
names = st.text(min_size=1, max_size=20).map(safe_name)
sizes = st.none() | st.integers(0, 1 << 40)
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | numbers | texts, lambda values: st.lists(values, max_size=3)
)


def with_name(media: Media, name: str) -> Media:
    media.name = name
    return media


links = st.builds(
    lambda path, size: Link(f"https://a.example/{path}?x=1", size=size), st.text("abc/%.", max_size=9), sizes
)
files = st.builds(File, st.from_regex(r"/[\w./]{1,20}", fullmatch=True).map(Path), sizes)
contents = st.builds(Bytes, st.binary(max_size=20)) | st.builds(Base64Text, st.just("AAAA"))
media = st.builds(with_name, links | files | contents, names)
failures = st.builds(
    lambda kind, message, answer: kind(message, answer=answer), st.sampled_from(ERRORS), texts, st.none() | texts
)
outputs = st.builds(Output, media) | st.builds(lambda error: Output(error=error), failures)
sessions = st.builds(Session, texts, st.none() | media, st.integers(0, 9))
snapshots = st.builds(
    Snapshot,
    st.none() | texts,
    st.sampled_from(Status),
    st.none() | numbers,
    st.lists(outputs, max_size=3).map(tuple),
    st.none() | texts,
    st.none() | numbers,
    st.none() | sessions,
    st.dictionaries(texts, plain, max_size=3),
    st.none() | texts,
)
records = st.builds(
    Record,
    texts,
    texts,
    snapshots,
    texts,
    video=st.booleans(),
    inputs=st.lists(texts, max_size=3).map(tuple),
    callback=st.none() | texts,
    account=texts,
    owner=texts,
    created_at=numbers,
    version=st.integers(0, 1 << 40),
    epoch=st.integers(0, 1 << 53),
    attempts=st.lists(st.builds(Attempt, numbers, texts, st.none() | texts), max_size=3).map(tuple),
    masked=st.booleans(),
    route=st.none() | texts,
    accepted_at=st.none() | numbers,
    charged=st.none() | st.builds(aw.Charge, st.floats(0, 1e9), st.sampled_from(get_args(ChargeSource))),
    acknowledged=st.booleans(),
    labels=st.dictionaries(texts, texts, max_size=3),
    trace=st.none() | texts,
    history=st.lists(texts, max_size=3).map(tuple),
)


def as_comparable(value: Any) -> Any:
    """A value that compares by content: media and errors compare by identity."""
    if isinstance(value, Media):
        attributes = {
            name: getattr(value, name)
            for name in ("url", "path", "data", "text", "size", "name")
            if hasattr(value, name)
        }
        return type(value).__name__, attributes
    if isinstance(value, aw.WatermarkError):
        return type(value).__name__, value.message, value.answer
    if isinstance(value, tuple):
        return [as_comparable(each) for each in value]
    if isinstance(value, Record | Snapshot | Session | Output):
        return {each.name: as_comparable(getattr(value, each.name)) for each in fields(type(value))}
    return value


@given(records)
def test_every_record_is_restored_unchanged(record: Record) -> None:
    data, parts = dump(record)
    restored = load(json.loads(json.dumps(data)), parts.__getitem__)
    assert as_comparable(restored) == as_comparable(record)
    assert bool(parts) == has_inline_media(record)


@given(records)
def test_the_json_contains_no_media_content(record: Record) -> None:
    secret = Bytes(b"canary" * 4)
    data, parts = dump(
        Record("key", "kaze", Snapshot("t", Status.SUCCEEDED, outputs=(Output(secret), *record.snapshot.outputs)))
    )
    assert "canary" not in json.dumps(data)
    assert secret in parts.values()
    assert all(len(name) == 32 and set(name) <= set("0123456789abcdef") for name in parts)


def missing_part(name: str) -> Media:
    """A `load_part` that finds nothing."""
    raise KeyError(name)


def dump_snapshot(snapshot: Snapshot) -> tuple[dict[str, Any], Mapping[str, Media]]:
    return dump(Record("key", "dewatermark", snapshot))


def test_an_output_whose_part_is_missing_becomes_an_expired_result() -> None:
    linked = Output(aw.as_media("https://a.example/x.png"))
    data, _ = dump_snapshot(Snapshot(None, Status.SUCCEEDED, outputs=(Output(Bytes(b"x")), linked)))
    first, second = load(data, missing_part).snapshot.outputs
    assert isinstance(first.error, aw.ResultExpired)
    assert as_comparable(second) == as_comparable(linked)


def test_a_session_whose_mask_is_missing_is_dropped() -> None:
    session = Session("session-1", Bytes(b"mask"), 1)
    data, _ = dump_snapshot(Snapshot(None, Status.SUCCEEDED, session=session))
    assert load(data, missing_part).snapshot.session is None


def test_parts_of_two_jobs_never_share_a_name() -> None:
    snapshot = Snapshot(None, Status.SUCCEEDED, outputs=(Output(Bytes(b"x")), Output(Bytes(b"x"))))
    jobs = [
        Record("one", "kaze"),
        Record("two", "kaze"),
        Record("two", "kaze", owner="o"),
        Record("two", "kaze", created_at=1),
    ]
    assert len({name for each in jobs for name in dump(evolve(each, snapshot=snapshot))[1]}) == 8


def test_an_error_of_an_applications_own_class_is_restored_as_its_nearest_sdk_class() -> None:
    class Special(aw.TransferFailed):
        pass

    data, _ = dump_snapshot(Snapshot(None, Status.SUCCEEDED, outputs=(Output(error=Special("the upload failed")),)))
    error = load(data, missing_part).snapshot.outputs[0].error
    assert type(error) is aw.TransferFailed
    assert error.message == "the upload failed"


async def test_media_that_can_be_read_only_once_is_refused() -> None:
    async def read_once() -> AsyncIterator[bytes]:
        yield b"x"

    with pytest.raises(aw.StoreError, match="not Stream"):
        dump_snapshot(Snapshot(None, Status.SUCCEEDED, outputs=(Output(aw.as_media(read_once())),)))


def test_details_of_types_that_json_lacks_become_text() -> None:
    snapshot = Snapshot(None, Status.RUNNING, details={"where": Path("/x"), "more": ({1: b"x"},)})
    data, _ = dump_snapshot(snapshot)
    assert load(json.loads(json.dumps(data)), missing_part).snapshot.details == {"where": "/x", "more": [{"1": "b'x'"}]}


def make_data(**changes: Any) -> dict[str, Any]:
    """A record's JSON with changed fields; `...` removes a field."""
    data, _ = dump_snapshot(Snapshot("task-1", Status.SUCCEEDED, outputs=(Output(aw.as_media("https://a.example/x")),)))
    return {name: value for name, value in (data | changes).items() if value is not ...}


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        "text",
        {},
        make_data(v=...),
        make_data(v=True),
        make_data(v="1"),
        make_data(key=...),
        make_data(key=7),
        make_data(version="3"),
        make_data(created_at="now"),
        make_data(snapshot=...),
        make_data(snapshot={"status": "asleep"}),
        make_data(snapshot={"status": "queued", "outputs": [{}]}),
        make_data(snapshot={"status": "queued", "outputs": [{"media": {"size": 1}}]}),
        make_data(snapshot={"status": "queued", "outputs": "all"}),
        make_data(inputs=[1]),
        make_data(charged="2"),
        make_data(charged=-1.0),
        make_data(charged=2.0, charge_source="a guess"),
    ],
)
def test_damaged_data_raises_a_store_error(data: Any) -> None:
    with pytest.raises(aw.StoreError, match="damaged"):
        load(data, missing_part)


def test_a_newer_format_raises_a_store_error_that_says_so() -> None:
    with pytest.raises(aw.StoreError, match="newer version"):
        load(make_data(v=3), missing_part)


def test_every_field_of_a_record_is_in_the_json() -> None:
    data, _ = dump(full_record())
    assert set(data) - {"v", "charge_source"} == set(asdict(Record("key", "kaze"), recurse=False))


def full_record() -> Record:
    """A record in which every field is set."""
    return Record(
        "key",
        "kaze",
        Snapshot("task-1", Status.QUEUED),
        epoch=7,
        attempts=(Attempt(1.5, "kaze-1", "accepted"), Attempt(2.5, "kaze-1")),
        masked=True,
        route="/v2",
        accepted_at=2.0,
        charged=aw.Charge(0.0, "price list"),
        acknowledged=True,
        labels={"order": "4711"},
        trace="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        history=("settled as unpaid",),
    )


def test_every_field_of_a_record_is_restored() -> None:
    data, _ = dump(full_record())
    assert load(json.loads(json.dumps(data)), missing_part) == full_record()


def test_a_charge_of_an_earlier_version_is_read_as_the_providers_own_figure() -> None:
    data, _ = dump(full_record())
    del data["charge_source"]
    assert load(data, missing_part).charged == aw.Charge(0.0, "answer")


def test_a_record_of_format_1_is_read() -> None:
    data, _ = dump(Record("key", "kaze", Snapshot("task-1", Status.QUEUED), version=3, owner="a@host:7"))
    old = {name: value for name, value in data.items() if name != "epoch"} | {"v": 1}
    record = load(old, missing_part)
    assert (record.owner, record.epoch, record.version, record.attempts) == ("a@host:7", 0, 3, ())
