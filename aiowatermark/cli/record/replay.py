"""Replay: runs a provider's flow on recorded answers, without network, to see what the SDK makes of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from attrs import define, field

from ... import Credits, Provider, Record, Snapshot, Status, WatermarkError
from ...jobs import Job, Output, Session
from ...media.base import Media
from ...media.memory import Base64Text, Bytes, Link
from ...provider import Exchange
from ...wire import Request, Response


@define(eq=False)
class Replay:
    """What came of a flow: the requests it made, the snapshots it yielded, and its value or its error."""

    requests: list[Request] = field(factory=list)
    steps: list[Snapshot] = field(factory=list)
    value: Snapshot | Credits | None = None
    error: WatermarkError | None = None

    @property
    def outcome(self) -> dict[str, Any]:
        """What came of the flow, as cassettes write it."""
        steps = {"steps": [snapshot_fields(each) for each in self.steps]} if self.steps else {}
        if self.error is not None:
            return {"error": type(self.error).__name__}
        if isinstance(self.value, Credits):
            balance = {"available": self.value.available, "used": self.value.used, "limit": self.value.limit}
            return {"credits": {name: value for name, value in balance.items() if value is not None}}
        return {**steps, "snapshot": snapshot_fields(self.value)} if self.value is not None else {}


class Unplayable(Exception):
    """The flow makes other requests than those that were recorded."""


def replay(flow: Exchange[Any], answers: Iterable[Response]) -> Replay:
    """Run a flow on answers; raises Unplayable if it needs more of them, or fewer."""
    result, remaining = Replay(), iter(answers)
    try:
        step = next(flow)
        while True:
            if isinstance(step, Snapshot):
                result.steps.append(step)
                step = next(flow)
                continue
            result.requests.append(step)
            if (answer := next(remaining, None)) is None:
                raise Unplayable(f"no answer was recorded to {step.method} {step.target}")
            step = flow.send(answer)
    except StopIteration as end:
        result.value = end.value
    except WatermarkError as error:
        result.error = error
    finally:
        flow.close()
    if next(remaining, None) is not None:
        raise Unplayable("the flow ends before the last recorded answer")
    return result


def start_flow(provider: Provider, cassette: Mapping[str, Any]) -> Exchange[Any]:
    """Return the flow that a cassette is about."""
    match cassette["call"]:
        case "submit":
            return provider.submit(_job(provider, cassette["job"]), cassette["job"].get("callback_url"))
        case "credits":
            return provider.credits()
    inputs = tuple(Link(url).identity for url in cassette.get("inputs", ()))
    snapshot, video = Snapshot(cassette["task_id"], Status.QUEUED), cassette.get("video", False)
    route = cassette.get("route")
    return provider.query(Record("key", provider.name, snapshot, video=video, inputs=inputs, route=route))


def _job(provider: Provider, fields: Mapping[str, Any]) -> Job:
    entry = fields.get("session")
    session = Session(entry["id"], _media(entry["mask"]), entry["refinements"]) if entry else None
    inputs = tuple(media for name in fields["inputs"] if (media := _media(name)))
    options = provider.resolve_options(fields.get("options", {}))
    return Job(inputs, _media(fields.get("mask")), options, session, video=fields.get("video", False))


def _media(name: str | None) -> Media | None:
    if name is None:
        return None
    return Link(name) if name.startswith("https:") else Bytes(name.encode(), name=name)


def snapshot_fields(snapshot: Snapshot) -> dict[str, Any]:
    """Return a snapshot as cassettes write it, without fields that are None."""
    session, charged = snapshot.session, snapshot.charged
    fields = {
        "task_id": snapshot.task_id,
        "status": snapshot.status.value,
        "progress": snapshot.progress,
        "outputs": [_output(each) for each in snapshot.outputs] or None,
        "reason": snapshot.reason,
        "retry_after": snapshot.retry_after,
        "details": dict(snapshot.details) or None,
        "charged": charged and [charged.credits, charged.source],
        "session": session and {"id": session.id, "mask": _text(session.mask), "refinements": session.refinements},
    }
    return {name: value for name, value in fields.items() if value is not None}


def _output(output: Output) -> Any:
    if isinstance(output.media, Link):
        return output.media.url
    return {"base64": _text(output.media)} if output.media else {"error": output.error and output.error.message}


def _text(media: Media | None) -> str | None:
    return media.text if isinstance(media, Base64Text) else None
