"""Plays cassettes: drives a provider with the answers of its documents and compares its requests with their examples.

A cassette is an entry of tests/unit/providers/cassettes/NAME.json; docs/adding-a-provider.md describes the format.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from aiowatermark.jobs import Job, Output, Record, Session, Snapshot, Status
from aiowatermark.media.base import Media
from aiowatermark.media.masks.boxes import Boxes
from aiowatermark.media.memory import Base64Text, Bytes, Link
from aiowatermark.provider import Exchange, Provider
from aiowatermark.wire import Base64, Json, Multipart, Request, Response


def as_media(name: str | list[list[int]] | None) -> Media | None:
    """Return media by its name or URL; a list is one of boxes."""
    if name is None:
        return None
    if isinstance(name, list):
        return Boxes([(x, y, width, height) for x, y, width, height in name])
    return Link(name) if name.startswith("https:") else Bytes(name.encode(), name=name)


def as_job(provider: Provider, fields: Mapping[str, Any]) -> Job:
    entry = fields.get("session")
    session = Session(entry["id"], as_media(entry["mask"]), entry["refinements"]) if entry else None
    inputs = tuple(media for name in fields["inputs"] if (media := as_media(name)))
    options = provider.resolve_options(fields.get("options", {}))
    return Job(inputs, as_media(fields.get("mask")), options, session, video=fields.get("video", False))


def as_record(name: str, cassette: Mapping[str, Any]) -> Record:
    inputs = tuple(Link(url).identity for url in cassette.get("inputs", ()))
    snapshot = Snapshot(cassette["task_id"], Status.QUEUED)
    video, route = cassette.get("video", False), cassette.get("route")
    return Record("key", name, snapshot, video=video, inputs=inputs, route=route)


def start_flow(provider: Provider, cassette: Mapping[str, Any]) -> Exchange[Any]:
    if cassette["call"] == "submit":
        return provider.submit(as_job(provider, cassette["job"]), cassette["job"].get("callback_url"))
    return provider.credits() if cassette["call"] == "credits" else provider.query(as_record(provider.name, cassette))


def as_field(value: Any) -> Any:
    """Return a form or JSON field as cassettes write it: files and base64 by the name of their media."""
    if isinstance(value, Base64):
        return {"base64": value.media.name}
    return {"file": value.name} if isinstance(value, Media) else value


def as_exchange(provider: Provider, request: Request) -> Mapping[str, Any]:
    """Return a request as cassettes write it, with the headers that are sent to its host."""
    headers = {} if request.signed else dict(provider.headers)
    result: dict[str, Any] = {"method": request.method, "auth": headers}
    result["url"] = request.target if request.signed else provider.base_url + request.target
    match request.body:
        case Json(fields):
            result["content_type"] = "application/json"
            result["body"] = {name: as_field(value) for name, value in fields.items()}
        case Multipart(fields):
            result["content_type"] = "multipart/form-data"
            result["body"] = {name: as_field(value) for name, value in fields.items()}
        case Media() as media:
            result |= {"content_type": "application/octet-stream", "body": as_field(media)}
    return result


def expected_request(exchange: Mapping[str, Any], auth: Mapping[str, str]) -> Mapping[str, Any]:
    result = {name: exchange[name] for name in ("method", "url", "content_type", "body") if name in exchange}
    return {**result, "auth": {} if exchange.get("signed") else auth}


def as_output(item: Output) -> Any:
    match item.media:
        case Link(url):
            return url
        case Base64Text(text):
            return {"base64": text}
    assert item.error is not None
    return {"error": item.error.message}


def as_fields(snapshot: Snapshot) -> Mapping[str, Any]:
    """Return a snapshot as cassettes write it, without fields that are None."""
    session = snapshot.session
    result = {
        "task_id": snapshot.task_id,
        "status": snapshot.status.value,
        "progress": snapshot.progress,
        "outputs": [as_output(item) for item in snapshot.outputs] or None,
        "reason": snapshot.reason,
        "retry_after": snapshot.retry_after,
        "details": dict(snapshot.details) or None,
        "charged": None if (charged := snapshot.charged) is None else [charged.credits, charged.source],
    }
    if session is not None:
        assert isinstance(session.mask, Base64Text | None)
        mask = session.mask and session.mask.text
        result["session"] = {"id": session.id, "mask": mask, "refinements": session.refinements}
    return {name: value for name, value in result.items() if value is not None}


def play(provider: Provider, cassette: Mapping[str, Any], auth: Mapping[str, str]) -> tuple[Any, list[Any]]:
    """Drive a flow with the cassette's answers; return its value and the snapshots it yielded."""
    flow, steps, exchanges = start_flow(provider, cassette), [], iter(cassette["exchanges"])
    try:
        step = next(flow)
        while True:
            if isinstance(step, Snapshot):
                steps.append(as_fields(step))
                step = next(flow)
                continue
            exchange = next(exchanges)
            assert as_exchange(provider, step) == expected_request(exchange, auth)
            assert step.repeatable is (cassette["call"] != "submit" or step.target.endswith("/upload") or step.signed)
            body = b"" if exchange["answer"] is None else json.dumps(exchange["answer"]).encode()
            step = flow.send(Response(exchange["status"], {}, body))
    except StopIteration as end:
        assert next(exchanges, None) is None, "the flow ended before the cassette"
        return end.value, steps
