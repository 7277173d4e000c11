"""Unknowns: what no document of a provider says, and what a recording says about it.

A table with one row for each unknown. A row's function looks at the finished, redacted cassette and returns the
evidence, or None if the recording does not tell; so evidence holds nothing that the cassette does not. `paths` names
the paths that can tell, for the report.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

from attrs import frozen

from .documented_keys import DOCUMENTED_KEYS

Document: TypeAlias = Mapping[str, Any]
"""The cassette as `CassetteDocument.build` returns it."""
_MAX_EVIDENCE = 400


@frozen
class Unknown:
    """A question that no document answers, how to find the answer in a recording, and the paths that may give it."""

    question: str
    find: Callable[[Document], str | None]
    paths: tuple[str, ...] = ()


@frozen
class Finding:
    """What a recording says of an unknown: `known` with the evidence, or not, with the paths that could tell."""

    question: str
    known: bool
    evidence: str


def answer_unknowns(document: Document) -> list[Finding]:
    """Return a finding for each unknown of the recorded provider."""
    findings = []
    for unknown in (*UNKNOWNS.get(document["recorded"]["provider"], ()), *COMMON_UNKNOWNS):
        evidence = _find(unknown, document)
        hint = f"may be told by: {', '.join(unknown.paths)}" if unknown.paths else "no path tells it"
        findings.append(Finding(unknown.question, evidence is not None, (evidence or hint)[:_MAX_EVIDENCE]))
    return findings


def _find(unknown: Unknown, document: Document) -> str | None:
    try:
        return unknown.find(document)
    except (KeyError, TypeError, ValueError, AttributeError):  # an answer of an unexpected form
        return None


def _entries(document: Document) -> Iterator[Mapping[str, Any]]:
    for entry in (*document["cassettes"], *document["unplayed"]):
        if "exchanges" in entry:
            yield entry


def _exchanges(document: Document, call: str | None = None) -> Iterator[Mapping[str, Any]]:
    for entry in _entries(document):
        if call in {None, entry["call"]}:
            yield from entry["exchanges"]


def _callbacks(document: Document) -> list[Mapping[str, Any]]:
    return [each for each in document["callbacks"] if "method" in each]


def _answer_text(exchange: Mapping[str, Any]) -> str:
    return f"HTTP {exchange['status']} {exchange['answer']}"


def _callback_method(document: Document) -> str | None:
    methods = sorted({each["method"] for each in _callbacks(document)})
    return f"{', '.join(methods)}; {len(_callbacks(document))} received" if methods else None


def _callback_payload(document: Document) -> str | None:
    for each in _callbacks(document):
        if each["body"] not in (None, ""):
            return f"{each['content_type'] or 'no Content-Type'}: {each['body']}"
    return None


def _callback_headers(document: Document) -> str | None:
    names = sorted({name for each in _callbacks(document) for name in each["headers"]})
    return ", ".join(names) or None


def _error_of(path: str) -> Callable[[Document], str | None]:
    """Return a function that finds the last answer of a path that was refused or failed."""

    def find(document: Document) -> str | None:
        answers = [
            entry["exchanges"][-1]
            for entry in _entries(document)
            if entry["name"].startswith(f"{path}:") and entry["exchanges"]
        ]
        return _answer_text(answers[-1]) if answers else None

    return find


def _not_told(_: Document) -> None:
    """Return None: one call of a kind does not tell it; it is listed because no document does, either."""


def _no_credits(document: Document) -> str | None:
    for entry in _entries(document):
        if entry.get("error") == "InsufficientCredits":
            return _answer_text(entry["exchanges"][-1])
    return None


def _retry_after(document: Document) -> str | None:
    for each in _exchanges(document):
        if "retry-after" in each["headers"]:
            return f"HTTP {each['status']}, Retry-After: {each['headers']['retry-after']}"
        if each["status"] in {429, 503}:
            return f"HTTP {each['status']} without Retry-After"
    return None


def _rate_limit_headers(document: Document) -> str | None:
    answers = list(_exchanges(document))
    found = {
        name: value for each in answers for name, value in each["headers"].items() if "limit" in name.replace("-", "")
    }
    if found:
        return ", ".join(f"{name}: {value}" for name, value in sorted(found.items()))
    return f"no such header on {len(answers)} answers" if answers else None


def _further_keys(document: Document) -> str | None:
    documented = DOCUMENTED_KEYS.get(document["recorded"]["provider"])
    answers = [each["answer"] for each in _exchanges(document) if each["status"] == 200]
    if documented is None or not answers:
        return None
    further = sorted({key for answer in answers for key, _ in key_values(answer)} - documented)
    return ", ".join(further) or f"none in {len(answers)} answers"


def key_values(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the names in a JSON value as paths, such as `data.list[].status`, with their values."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield f"{prefix}{name}", item
            yield from key_values(item, f"{prefix}{name}.")
    elif isinstance(value, list):
        for item in value:
            yield from key_values(item, f"{prefix.removesuffix('.')}[].")


def _key_in(call: str, name: str, where: Callable[[Any], bool] = lambda _: True) -> Callable[[Document], str | None]:
    """Return a function that tells where a key is in the answers to a call, or that it is in none of them.

    Only answers for which `where` holds count.
    """

    def find(document: Document) -> str | None:
        answers = [each["answer"] for each in _exchanges(document, call) if where(each["answer"])]
        found = (pair for answer in answers for pair in key_values(answer) if pair[0].rpartition(".")[2] == name)
        for path, value in found:
            return f"{path}: {value!r}"
        return f"in none of {len(answers)} answers" if answers else None

    return find


def _text_at(answer: Any, *path: str) -> str:
    for name in path:
        answer = answer.get(name) if isinstance(answer, Mapping) else None
    return str(answer)


def _is_done(answer: Any) -> bool:
    return _text_at(answer, "data", "state") == "1"


def _has_failed(answer: Any) -> bool:
    return _text_at(answer, "data", "status") in {"failed", "timeout"}


def _has_list(answer: Any) -> bool:
    return isinstance(answer, Mapping) and isinstance(answer.get("data"), Mapping) and bool(answer["data"].get("list"))


def _result_field(document: Document) -> str | None:
    for entry in _entries(document):
        data = entry["exchanges"][-1]["answer"] if entry["name"].startswith("mask:") and entry["exchanges"] else None
        if isinstance(data, Mapping) and _is_done(data):
            names = [name for name in ("file", "image", "image_url") if data["data"].get(name)]
            return f"data.{', data.'.join(names)}" if names else "none of file, image, image_url"
    return None


_CALLBACK_PATHS = ("submit-file with --callback-url",)
_CALLBACKS = (
    Unknown("callback: method, and how many", _callback_method, _CALLBACK_PATHS),
    Unknown("callback: form and content of the body", _callback_payload, _CALLBACK_PATHS),
    Unknown("callback: headers, such as a signature", _callback_headers, _CALLBACK_PATHS),
)
_PRICE = Unknown(
    "whether a finished task says what it cost (use_point)", _key_in("query", "use_point", _is_done), ("submit-file",)
)
_MASK_RESULT = Unknown("field of the result of a call with a mask", _result_field, ("mask",))

COMMON_UNKNOWNS: tuple[Unknown, ...] = (
    Unknown("answer to a key that is not valid", _error_of("bad-key"), ("bad-key",)),
    Unknown("answer to the query of an unknown task", _error_of("unknown-task"), ("unknown-task",)),
    Unknown("answer to an account without credits", _no_credits, ("any submission of such an account",)),
    Unknown("Retry-After on a refusal for haste", _retry_after, ("any path, if the provider refuses for haste",)),
    Unknown("headers that tell a rate limit", _rate_limit_headers, ("any path",)),
    Unknown("keys in answers that no document names", _further_keys, ("any path",)),
    Unknown("default limit of requests", _not_told),
)
UNKNOWNS: Mapping[str, tuple[Unknown, ...]] = {
    "gptge": (
        *_CALLBACKS,
        _PRICE,
        _MASK_RESULT,
        Unknown("answer to the query of a task that failed", _error_of("broken-url"), ("broken-url",)),
    ),
    "picwish": (
        *_CALLBACKS,
        _PRICE,
        _MASK_RESULT,
        Unknown("answer to the query of a task that failed", _error_of("broken-url"), ("broken-url",)),
        Unknown("answer with the balance", _error_of("credits"), ("credits",)),
    ),
    "kaze": (
        Unknown("whether the answer to a query has a code", _key_in("query", "code"), ("submit-file",)),
        Unknown("where err_msg is in a failed task", _key_in("query", "err_msg", _has_failed), ("broken-url",)),
        Unknown("answer to the query of a task that failed", _error_of("broken-url"), ("broken-url",)),
    ),
    "photoeraser": (
        Unknown(
            "whether an item of a result repeats its URL (image_url)",
            _key_in("query", "image_url", _has_list),
            ("submit-url", "batch"),
        ),
        Unknown("type of wait_time", _key_in("query", "wait_time"), ("submit-url",)),
        Unknown("whether answers carry a trace_id", _key_in("submit", "trace_id"), ("submit-url", "bad-key")),
    ),
    "dewatermark": (
        Unknown("whether the text of an error is `message`", _key_in("submit", "message"), ("bad-key",)),
        Unknown("answer with the balance", _error_of("credits"), ("credits",)),
        Unknown("answers to refinements", _error_of("refine"), ("refine",)),
        Unknown("answer of version v3", _error_of("v3"), ("v3",)),
        Unknown("answer of the PRO call", _error_of("pro"), ("pro",)),
        Unknown("last answer to the query of a video", _error_of("video"), ("video",)),
        Unknown("lifetime of a session", _not_told),
        Unknown("size of the largest video", _not_told),
    ),
}
