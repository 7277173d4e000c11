"""Errors: fields as keyword arguments, and copies, pickles and records that keep them."""

from __future__ import annotations

import copy
import inspect
import json
import pickle
from typing import Any

import pytest

from aiowatermark import errors
from aiowatermark.errors import (
    DeadlineExceeded,
    InvalidInput,
    JobFailed,
    ProviderUnavailable,
    RateLimited,
    SubmissionInDoubt,
    WatermarkError,
)
from aiowatermark.http_errors import error_from_response
from aiowatermark.jobs import Output, Record, Snapshot, Status
from aiowatermark.media.memory import Bytes
from aiowatermark.stores.records.dump import dump
from aiowatermark.stores.records.load import load
from aiowatermark.wire import Response

CLASSES = [item for item in vars(errors).values() if isinstance(item, type) and issubclass(item, WatermarkError)]
VALUES: dict[str, Any] = {
    "answer": "HTTP 500 {}",
    "provider": "kaze",
    "key": "order-4711",
    "token": "aw1.x",
    "sent": False,
    "retry_after": 2.5,
    "seconds": 600.0,
    "last_status": Status.RUNNING,
    "retryable": True,
    "snapshot": Snapshot(
        "t-1", Status.FAILED, 0.5, (Output(error=JobFailed("too dark", answer="code 7")),), details={"state": -1}
    ),
}


def with_all_fields(cls: type[WatermarkError]) -> WatermarkError:
    names = inspect.signature(cls).parameters.keys() - {"message"}
    return cls("it failed", **{name: VALUES[name] for name in names})


def attributes(error: WatermarkError) -> dict[str, Any]:
    """The attributes of an error, with those of the errors inside it, which are not comparable."""
    fields = dict(vars(error))
    if (snapshot := fields.pop("snapshot", None)) is not None:
        fields["snapshot"] = (snapshot.task_id, snapshot.status, snapshot.progress, snapshot.details)
        fields["inner"] = [attributes(output.error) for output in snapshot.outputs]
    return fields


def pickled(error: WatermarkError, protocol: int | None = None) -> Any:
    return pickle.loads(pickle.dumps(error, protocol))  # noqa: S301 - written by the test itself


@pytest.mark.parametrize("cls", CLASSES)
def test_every_field_is_a_keyword_argument_and_an_attribute(cls: type[WatermarkError]) -> None:
    error = with_all_fields(cls)
    for name in inspect.signature(cls).parameters.keys() - {"message"}:
        assert getattr(error, name) is VALUES[name]
    assert (error.message, error.args) == ("it failed", ("it failed",))
    with pytest.raises(TypeError):
        cls("it failed", "an answer")  # type: ignore[call-arg]


@pytest.mark.parametrize("cls", CLASSES)
def test_fields_are_none_by_default(cls: type[WatermarkError]) -> None:
    fields = vars(cls("it failed")).items() - {("message", "it failed"), ("sent", True)}
    assert {value for _, value in fields} == {None}


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickled])
def test_copies_and_pickles_keep_every_field(cls: type[WatermarkError], duplicate: Any) -> None:
    error = with_all_fields(cls)
    error.add_note("during the night")
    twin = duplicate(error)
    assert (type(twin), str(twin), twin.args) == (cls, str(error), error.args)
    assert attributes(twin) == attributes(error)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_pickle_protocol_keeps_the_snapshot(protocol: int) -> None:
    error = JobFailed("it failed", snapshot=Snapshot("t-1", Status.FAILED, reason="too dark"), key="order-4711")
    twin = pickled(error, protocol)
    assert (twin.snapshot, twin.key) == (error.snapshot, "order-4711")


def test_an_error_learns_only_what_it_does_not_know() -> None:
    error = SubmissionInDoubt("no answer", provider="kaze", token="aw1.first")
    assert error.about(provider="picwish", key="order-4711", token="aw1.second") is error
    assert (error.provider, error.key, error.token) == ("kaze", "order-4711", "aw1.first")


def test_a_deadline_is_also_a_timeout_and_a_wrong_call_a_value_error() -> None:
    assert isinstance(DeadlineExceeded("late", token="aw1.x"), TimeoutError)
    assert isinstance(InvalidInput("wrong", key="order-4711"), ValueError)


@pytest.mark.parametrize("cls", CLASSES)
def test_an_answer_gives_its_retry_hint_to_errors_that_have_one(cls: type[WatermarkError]) -> None:
    error = error_from_response(cls, "refused", Response(429, {"retry-after": "7"}, b"slow down"))
    assert type(error) is cls
    assert error.answer == "HTTP 429 slow down"
    assert getattr(error, "retry_after", None) == (7.0 if cls in {RateLimited, ProviderUnavailable} else None)


@pytest.mark.parametrize("cls", CLASSES)
def test_a_record_keeps_class_message_and_answer_of_an_error(cls: type[WatermarkError]) -> None:
    outputs = (Output(error=with_all_fields(cls)),)
    before = Record("key", "kaze", Snapshot("t-1", Status.FAILED, outputs=outputs))
    data, _ = dump(before)
    stored = {"kind": cls.__name__, "message": "it failed", "answer": "HTTP 500 {}"}
    assert data["snapshot"]["outputs"] == [{"media": None, "error": stored}]
    error = load(json.loads(json.dumps(data)), lambda name: Bytes(name.encode())).snapshot.outputs[0].error
    assert error is not None
    assert (type(error), error.message, error.answer, error.key) == (cls, "it failed", "HTTP 500 {}", None)
