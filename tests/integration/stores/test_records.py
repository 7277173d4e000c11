"""Records as JSON: what comes back is what was put in, and damage is told from a newer format."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from attrs import asdict, evolve, fields
from hypothesis import given
from hypothesis import strategies as st

import aiowatermark as aw
from aiowatermark import errors
from aiowatermark.jobs import Output, Record, Session, Snapshot, Status
from aiowatermark.media.base import Media, safe_name
from aiowatermark.media.files import File
from aiowatermark.media.memory import Base64Text, Bytes, Link
from aiowatermark.stores.records.dump import dump, has_inline_media, load

ERRORS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, aw.WatermarkError)]
texts = st.text(max_size=20)
numbers = st.floats(allow_nan=False, allow_infinity=False)
names = st.text(min_size=1, max_size=20).map(safe_name)
sizes = st.none() | st.integers(0, 1 << 40)
plain = st.recursive(st.none() | st.booleans() | st.integers() | numbers | texts, lambda it: st.lists(it, max_size=3))


def named(media: Media, name: str) -> Media:
    media.name = name
    return media


links = st.builds(
    lambda path, size: Link(f"https://a.example/{path}?x=1", size=size), st.text("abc/%.", max_size=9), sizes
)
files = st.builds(File, st.from_regex(r"/[\w./]{1,20}", fullmatch=True).map(Path), sizes)
contents = st.builds(Bytes, st.binary(max_size=20)) | st.builds(Base64Text, st.just("AAAA"))
media = st.builds(named, links | files | contents, names)
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
)


def facts(value: Any) -> Any:
    """A value to compare by: media and errors are otherwise only equal to themselves."""
    if isinstance(value, Media):
        kept = {
            name: getattr(value, name)
            for name in ("url", "path", "data", "text", "size", "name")
            if hasattr(value, name)
        }
        return type(value).__name__, kept
    if isinstance(value, aw.WatermarkError):
        return type(value).__name__, value.message, value.answer
    if isinstance(value, tuple):
        return [facts(each) for each in value]
    if isinstance(value, Record | Snapshot | Session | Output):
        return {each.name: facts(getattr(value, each.name)) for each in fields(type(value))}
    return value


@given(records)
def test_every_record_comes_back_as_it_was(record: Record) -> None:
    data, parts = dump(record)
    again = load(json.loads(json.dumps(data)), parts.__getitem__)
    assert facts(again) == facts(record)
    assert bool(parts) == has_inline_media(record)


@given(records)
def test_no_content_stands_in_what_is_written(record: Record) -> None:
    secret = Bytes(b"canary" * 4)
    data, parts = dump(
        Record("key", "kaze", Snapshot("t", Status.SUCCEEDED, outputs=(Output(secret), *record.snapshot.outputs)))
    )
    assert "canary" not in json.dumps(data)
    assert secret in parts.values()
    assert all(len(name) == 32 and set(name) <= set("0123456789abcdef") for name in parts)


def gone(name: str) -> Media:
    raise KeyError(name)


def dumped(snapshot: Snapshot) -> tuple[dict[str, Any], Mapping[str, Media]]:
    return dump(Record("key", "dewatermark", snapshot))


def test_an_output_whose_part_is_gone_is_an_expired_result() -> None:
    there = Output(aw.as_media("https://a.example/x.png"))
    data, _ = dumped(Snapshot(None, Status.SUCCEEDED, outputs=(Output(Bytes(b"x")), there)))
    first, second = load(data, gone).snapshot.outputs
    assert isinstance(first.error, aw.ResultExpired)
    assert facts(second) == facts(there)


def test_a_session_whose_mask_is_gone_is_not_refined_without_it() -> None:
    session = Session("session-1", Bytes(b"mask"), 1)
    data, _ = dumped(Snapshot(None, Status.SUCCEEDED, session=session))
    assert load(data, gone).snapshot.session is None


def test_parts_of_two_jobs_never_share_a_name() -> None:
    snapshot = Snapshot(None, Status.SUCCEEDED, outputs=(Output(Bytes(b"x")), Output(Bytes(b"x"))))
    jobs = [
        Record("one", "kaze"),
        Record("two", "kaze"),
        Record("two", "kaze", owner="o"),
        Record("two", "kaze", created_at=1),
    ]
    assert len({name for each in jobs for name in dump(evolve(each, snapshot=snapshot))[1]}) == 8


def test_errors_of_a_kind_of_ones_own_come_back_as_the_next_above() -> None:
    class Special(aw.TransferFailed):
        pass

    data, _ = dumped(Snapshot(None, Status.SUCCEEDED, outputs=(Output(error=Special("so it was")),)))
    error = load(data, gone).snapshot.outputs[0].error
    assert type(error) is aw.TransferFailed
    assert error.message == "so it was"


async def test_media_that_can_be_read_once_is_refused() -> None:
    async def once() -> AsyncIterator[bytes]:
        yield b"x"

    with pytest.raises(aw.StoreError, match="not Stream"):
        dumped(Snapshot(None, Status.SUCCEEDED, outputs=(Output(aw.as_media(once())),)))


def test_facts_that_json_has_no_word_for_become_text() -> None:
    snapshot = Snapshot(None, Status.RUNNING, details={"where": Path("/x"), "more": ({1: b"x"},)})
    data, _ = dumped(snapshot)
    assert load(json.loads(json.dumps(data)), gone).snapshot.details == {"where": "/x", "more": [{"1": "b'x'"}]}


def damaged(**changes: Any) -> dict[str, Any]:
    data, _ = dumped(Snapshot("task-1", Status.SUCCEEDED, outputs=(Output(aw.as_media("https://a.example/x")),)))
    return {name: value for name, value in (data | changes).items() if value is not ...}


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        "text",
        {},
        damaged(v=...),
        damaged(v=True),
        damaged(v="1"),
        damaged(key=...),
        damaged(key=7),
        damaged(version="3"),
        damaged(created_at="now"),
        damaged(snapshot=...),
        damaged(snapshot={"status": "asleep"}),
        damaged(snapshot={"status": "queued", "outputs": [{}]}),
        damaged(snapshot={"status": "queued", "outputs": [{"media": {"size": 1}}]}),
        damaged(snapshot={"status": "queued", "outputs": "all"}),
        damaged(inputs=[1]),
    ],
)
def test_damage_is_told_as_such(data: Any) -> None:
    with pytest.raises(aw.StoreError, match="damaged"):
        load(data, gone)


def test_a_newer_format_is_told_as_such() -> None:
    with pytest.raises(aw.StoreError, match="newer version"):
        load(damaged(v=2), gone)


def test_every_field_of_a_record_is_written() -> None:
    data, _ = dumped(Snapshot("task-1", Status.QUEUED))
    assert set(data) - {"v"} == set(asdict(Record("key", "kaze"), recurse=False))
