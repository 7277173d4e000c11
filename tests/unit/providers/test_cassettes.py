"""The documents' own examples: what is sent is what they show, what comes back is understood. A file a provider."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from aiowatermark.errors import WatermarkError
from aiowatermark.jobs import Job, Output, Record, Session, Snapshot, Status
from aiowatermark.media.base import Media
from aiowatermark.media.memory import Base64Text, Bytes, Link
from aiowatermark.provider import Credits, Exchange, Provider
from aiowatermark.providers import provider_class, provider_names
from aiowatermark.wire import Base64, Json, Multipart, Request, Response

FOLDER = Path(__file__).parent / "cassettes"
FILES: Mapping[str, Any] = {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}
CASSETTES = [
    pytest.param(name, cassette, id=f"{name}: {cassette['name']}")
    for name, file in FILES.items()
    for cassette in file["cassettes"]
]


def as_media(name: str | None) -> Media | None:
    if name is None:
        return None
    return Link(name) if name.startswith("https:") else Bytes(name.encode(), name=name)


def as_job(provider: Provider, words: Mapping[str, Any]) -> Job:
    given = words.get("session")
    session = Session(given["id"], as_media(given["mask"]), given["refinements"]) if given else None
    inputs = tuple(media for name in words["inputs"] if (media := as_media(name)))
    options = provider.resolve_options(words.get("options", {}))
    return Job(inputs, as_media(words.get("mask")), options, session, video=words.get("video", False))


def as_record(name: str, cassette: Mapping[str, Any]) -> Record:
    inputs = tuple(Link(url).identity for url in cassette.get("inputs", ()))
    snapshot = Snapshot(cassette["task_id"], Status.QUEUED)
    return Record("key", name, snapshot, video=cassette.get("video", False), inputs=inputs)


def dialogue(provider: Provider, cassette: Mapping[str, Any]) -> Exchange[Any]:
    if cassette["call"] == "submit":
        return provider.submit(as_job(provider, cassette["job"]), cassette["job"].get("callback_url"))
    return provider.credits() if cassette["call"] == "credits" else provider.query(as_record(provider.name, cassette))


def part(value: Any) -> Any:
    """A field as cassettes write it: a file and base64 by the name of what they hold."""
    if isinstance(value, Base64):
        return {"base64": value.media.name}
    return {"file": value.name} if isinstance(value, Media) else value


def sent(provider: Provider, request: Request) -> Mapping[str, Any]:
    """A request as cassettes write it, with the headers its host gets to see."""
    headers = {} if request.signed else dict(provider.headers)
    words: dict[str, Any] = {"method": request.method, "auth": headers}
    words["url"] = request.target if request.signed else provider.base_url + request.target
    match request.body:
        case Json(value):
            words |= {"content_type": "application/json", "body": {name: part(item) for name, item in value.items()}}
        case Multipart(fields):
            words |= {"content_type": "multipart/form-data", "body": {name: part(it) for name, it in fields.items()}}
        case Media() as media:
            words |= {"content_type": "application/octet-stream", "body": part(media)}
    return words


def shown(exchange: Mapping[str, Any], auth: Mapping[str, str]) -> Mapping[str, Any]:
    words = {name: exchange[name] for name in ("method", "url", "content_type", "body") if name in exchange}
    return {**words, "auth": {} if exchange.get("signed") else auth}


def output(one: Output) -> Any:
    match one.media:
        case Link(url):
            return url
        case Base64Text(text):
            return {"base64": text}
    assert one.error is not None
    return {"error": one.error.message}


def told(snapshot: Snapshot) -> Mapping[str, Any]:
    """A snapshot as cassettes write it: what says nothing is left out."""
    session = snapshot.session
    words = {
        "task_id": snapshot.task_id,
        "status": snapshot.status.value,
        "progress": snapshot.progress,
        "outputs": [output(one) for one in snapshot.outputs] or None,
        "reason": snapshot.reason,
        "retry_after": snapshot.retry_after,
        "details": dict(snapshot.details) or None,
    }
    if session is not None:
        assert isinstance(session.mask, Base64Text)
        words["session"] = {"id": session.id, "mask": session.mask.text, "refinements": session.refinements}
    return {name: value for name, value in words.items() if value is not None}


def played(provider: Provider, cassette: Mapping[str, Any], auth: Mapping[str, str]) -> tuple[Any, list[Any]]:
    """Drive a dialogue with the cassette's answers; gives its end and the snapshots on the way."""
    flow, steps, exchanges = dialogue(provider, cassette), [], iter(cassette["exchanges"])
    try:
        step = next(flow)
        while True:
            if isinstance(step, Snapshot):
                steps.append(told(step))
                step = next(flow)
                continue
            exchange = next(exchanges)
            assert sent(provider, step) == shown(exchange, auth)
            assert step.repeatable is (cassette["call"] != "submit" or step.target.endswith("/upload") or step.signed)
            body = b"" if exchange["answer"] is None else json.dumps(exchange["answer"]).encode()
            step = flow.send(Response(exchange["status"], {}, body))
    except StopIteration as end:
        assert next(exchanges, None) is None, "the dialogue ended before the cassette"
        return end.value, steps


@pytest.mark.parametrize(("name", "cassette"), CASSETTES)
def test_a_provider_says_what_its_documents_show_and_understands_what_they_answer(
    name: str, cassette: Mapping[str, Any]
) -> None:
    file = FILES[name]
    provider = provider_class(name)(**file["account"], **cassette.get("settings", {}))
    if "error" in cassette:
        with pytest.raises(WatermarkError) as caught:
            played(provider, cassette, file["auth"])
        assert type(caught.value).__name__ == cassette["error"]
        return
    end, steps = played(provider, cassette, file["auth"])
    assert steps == cassette.get("steps", [])
    if "credits" in cassette:
        assert end == Credits(**cassette["credits"])
    else:
        assert told(end) == cassette["snapshot"]


def test_every_provider_has_cassettes_and_every_cassette_a_provider() -> None:
    assert tuple(FILES) == provider_names()


@pytest.mark.parametrize("name", provider_names())
def test_every_call_of_a_provider_is_shown_by_a_cassette(name: str) -> None:
    calls = {cassette["call"] for cassette in FILES[name]["cassettes"]}
    provider = provider_class(name)
    written = {
        call for call in ("submit", "query", "credits") if getattr(provider, call) is not getattr(Provider, call)
    }
    assert calls == written


@pytest.mark.parametrize(("name", "cassette"), CASSETTES)
def test_a_cassette_says_where_it_comes_from(name: str, cassette: Mapping[str, Any]) -> None:
    assert cassette["source"] in {"S", "D", "T", "I"}
