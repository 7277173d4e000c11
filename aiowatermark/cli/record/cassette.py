"""Cassette: writes a recording as data that tests play, redacted, while it is being made.

`cassettes` has the form of the files in `tests/unit/providers/cassettes`: what was sent, what was answered, and what
the SDK makes of it. That last part comes from a replay of the *redacted* answers, so an entry is what a test finds when
it plays it. An entry whose replay makes other requests than were recorded is kept among `unplayed`, with the reason.

Fail closed: an entry whose text contains a secret, in whatever encoding, is left out, and `left_out` counts it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl

from attrs import define, field

from ... import Provider
from ...media.base import Media
from ...wire import Base64, Json, Multipart, Request, Response, parse_form_data, parse_json
from .exchanges import RecordedExchange
from .recording import PathRecording, Recording
from .redactor import Redactor
from .replay import Unplayable, replay, start_flow

SOURCE = "R"
"""The source of an entry: recorded."""
SHOWN_CALLBACK = "https://hooks.example.com/callback-key"


def shown_url(number: int) -> str:
    """Return what is written in place of the URL of an input; `number` counts the inputs of a job from 1."""
    return f"https://example.com/image-{number}.jpg"


@define(eq=False)
class CassetteDocument:
    """Builds the file of a recording; `build` may be called at any time and any number of times.

    `public_url` is that of the callback server; None without one.
    """

    recording: Recording
    redactor: Redactor = field(repr=False)
    public_url: str | None = field(default=None, repr=False)

    def build(self) -> dict[str, Any]:
        """Return the whole file as JSON values."""
        for path in self.recording.paths:
            for exchange in path.exchanges:
                self._learn_own_urls(exchange.request)
        kind = self.recording.kind
        account: dict[str, Any] = {name: f"YOUR_{name.upper()}" for name in kind.env}
        entries = [entry for path in self.recording.paths for entry in self._entries(path, account)]
        result: dict[str, Any] = {
            "recorded": self._head(),
            "account": account,
            "auth": dict(kind(**account).headers),
            "cassettes": [entry for entry in entries if "unplayable" not in entry],
            "unplayed": [entry for entry in entries if "unplayable" in entry],
            "callbacks": list(self._callbacks()),
            "downloads": list(self._downloads()),
            "failures": list(self._failures()),
        }
        return {name: self._without_leaks(value) for name, value in result.items()}

    def _learn_own_urls(self, request: Request) -> None:
        """Tell the redactor the URLs of our callback server in a request: they hold keys."""
        lent = 0
        for url in own_urls(request, self.public_url):
            key, _, name = url.removeprefix(f"{self.public_url}/").partition("/")
            lent += bool(name)  # a callback's URL ends with its key
            self.redactor.add_secret(key)
            self.redactor.replace_url(url, shown_url(lent) if name else SHOWN_CALLBACK)

    def has_callback(self, request: Request) -> bool:
        """Whether a request names a URL of the callback server to be called back at."""
        prefix = f"{self.public_url}/"
        return any("/" not in url.removeprefix(prefix) for url in own_urls(request, self.public_url))

    def _without_leaks(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: item for name, item in value.items() if not self.redactor.leaks(json.dumps([name, item]))}
        kept = [item for item in value if not self.redactor.leaks(json.dumps(item, ensure_ascii=False))]
        return kept if len(kept) == len(value) else [*kept, {"left_out": len(value) - len(kept)}]

    def _head(self) -> dict[str, Any]:
        paths = {
            each.path.name: {"outcome": each.outcome, "seconds": round(each.seconds, 1)}
            | ({"error": self.redactor.text(each.error)} if each.error else {})
            for each in self.recording.paths
        }
        media = {name: {"bytes": size, "digest": digest} for name, (size, digest) in self.recording.media.items()}
        return {"provider": self.recording.kind.name, "at": self.recording.started, "paths": paths, "media": media}

    def _entries(self, path: PathRecording, account: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        provider = self.recording.kind(**account, **path.path.settings(self.recording.kind))
        shapes = set()
        for flow in path.flows():
            for exchanges in flow.variants():
                entry = self._entry(path, provider, flow.call, exchanges, flow.job)
                # of the many answers to polls one of each form is kept
                shape = f"{flow.call} {entry.get('error')} {_shape([each['answer'] for each in entry['exchanges']])}"
                if flow.call != "query" or shape not in shapes:
                    shapes.add(shape)
                    yield entry

    def _entry(
        self,
        path: PathRecording,
        provider: Provider,
        call: str,
        exchanges: tuple[RecordedExchange, ...],
        job: Mapping[str, Any] | None,
    ) -> dict[str, Any]:
        entry: dict[str, Any] = {"name": f"{path.path.name}: {call}", "source": SOURCE, "call": call}
        if settings := path.path.settings(self.recording.kind):
            entry["settings"] = dict(settings)
        if call == "query":
            entry["task_id"] = self.redactor.id(path.task_id or "", "task_id")
            entry |= {"video": True} if path.video else {}
            entry |= {"inputs": list(path.inputs)} if path.inputs else {}
            entry |= {"route": path.route} if path.route is not None else {}
        elif call == "submit":
            entry["job"] = self._job(job or {"inputs": []})
            if any(self.has_callback(each.request) for each in exchanges):
                entry["job"]["callback_url"] = SHOWN_CALLBACK
        entry["exchanges"] = [self._exchange(provider, each) for each in exchanges]
        return entry | _play(provider, entry)

    def _job(self, job: Mapping[str, Any]) -> dict[str, Any]:
        shown = dict(job)
        if session := job.get("session"):
            shown["session"] = {**session, "id": self.redactor.id(session["id"], "session_id")}
        return shown

    def _exchange(self, provider: Provider, exchange: RecordedExchange) -> dict[str, Any]:
        assert exchange.response is not None  # noqa: S101 - `variants` leaves the others out
        request, response = exchange.request, exchange.response
        return {
            **request_fields(provider, request, self.redactor),
            **({"signed": True} if request.signed else {}),
            "status": response.status,
            "answer": self.redactor.answer(response),
            "headers": self.redactor.headers(response.headers),
            "seconds": round(exchange.seconds, 2),
        }

    def _callbacks(self) -> Iterator[dict[str, Any]]:
        for path in self.recording.paths:
            for each in path.callbacks:
                content_type = each.request.headers.get("Content-Type", "")
                yield {
                    # it may be that of an earlier path, if the provider calls late or again
                    "during": path.path.name,
                    "method": self.redactor.text(each.request.method, 20),
                    "headers": self.redactor.headers(each.request.headers),
                    "content_type": self.redactor.text(content_type, 200),
                    "body": self.redactor.value(parse_callback_body(each.request.body)),
                    "seconds": round(each.seconds, 2),
                }

    def _downloads(self) -> Iterator[dict[str, Any]]:
        for path in self.recording.paths:
            for each in path.downloads:
                yield {
                    "path": path.path.name,
                    "url": self.redactor.url(each.url),
                    "bytes": each.size,
                    "digest": each.digest,
                    "seconds": round(each.seconds, 2),
                }

    def _failures(self) -> Iterator[dict[str, Any]]:
        for path in self.recording.paths:
            for each in path.exchanges:
                if each.response is None:
                    target = self.redactor.url if each.request.signed else self.redactor.target
                    yield {
                        "path": path.path.name,
                        "method": each.request.method,
                        "target": target(each.request.target),
                        "failure": self.redactor.text(each.failure or ""),
                        "seconds": round(each.seconds, 2),
                    }


def own_urls(request: Request, public_url: str | None) -> Iterator[str]:
    """Yield the URLs in a request that lead to the callback server at `public_url`."""
    if public_url is None or not isinstance(request.body, Json | Multipart):
        return
    fields = request.body.value if isinstance(request.body, Json) else request.body.fields
    for value in fields.values():
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, str) and text.startswith(f"{public_url}/"):
                yield text


def _play(provider: Provider, entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the SDK makes of an entry; or why the entry cannot be played."""
    answers = [Response(each["status"], {}, _encode(each["answer"])) for each in entry["exchanges"]]
    try:
        played = replay(start_flow(provider, entry), answers)
    except Unplayable as error:
        return {"unplayable": str(error)}
    except Exception as error:  # noqa: BLE001 - a recording must be written whatever a provider's class does
        return {"unplayable": type(error).__name__}
    for request, exchange in zip(played.requests, entry["exchanges"], strict=True):
        made = request_fields(provider, request, None)
        if differing := [name for name, value in made.items() if exchange.get(name) != value]:
            return {"unplayable": f"the replay sends another {', '.join(differing)}"}
    return played.outcome


def _encode(answer: Any) -> bytes:
    return b"" if answer is None else json.dumps(answer).encode()


def request_fields(provider: Provider, request: Request, redactor: Redactor | None) -> dict[str, Any]:
    """Return a request as cassettes write it, at the provider's usual host; without a redactor, as it is."""
    target = request.target
    if redactor is not None:
        target = redactor.url(target) if request.signed else redactor.target(target)
    result: dict[str, Any] = {"method": request.method}
    result["url"] = target if request.signed else provider.default_base_url + target
    match request.body:
        case Json(value):
            fields, kind = value, "application/json"
        case Multipart(values):
            fields, kind = values, "multipart/form-data"
        case Media() as media:
            return {**result, "content_type": "application/octet-stream", "body": _field(media)}
        case _:
            return result
    body = {name: _field(item) for name, item in fields.items()}
    shown = {
        name: item if redactor is None or isinstance(fields[name], Media | Base64) else redactor.value(item, name)
        for name, item in body.items()
    }
    return {**result, "content_type": kind, "body": shown}


def _field(value: Any) -> Any:
    """Return a field of a form or of JSON: files and base64 by the name of their media."""
    if isinstance(value, Base64):
        return {"base64": value.media.name}
    return {"file": value.name} if isinstance(value, Media) else value


def _shape(value: Any) -> Any:
    """Return the names and types of a JSON value, and its short texts, which say the state of a task."""
    match value:
        case dict():
            return {name: _shape(item) for name, item in value.items()}
        case list():
            return [_shape(item) for item in value[:1]]
        case str():
            return value if len(value) <= 20 else "text"
    return type(value).__name__


def parse_callback_body(body: bytes) -> Any:
    """Return the JSON value or the fields of a form in the body of a callback; else its text."""
    from_json = parse_json(body)
    if from_json is not None or not body:
        return from_json
    if body.startswith(b"--"):
        return dict(parse_form_data(body))
    text = body.decode(errors="replace")
    fields = parse_qsl(text, keep_blank_values=True) if "=" in text[:200] else []
    return {name: parse_json(item.encode()) or item for name, item in fields[:100]} or text
