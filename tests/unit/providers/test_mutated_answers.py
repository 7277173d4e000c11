"""Mutated answers of every provider: they end in a value or a WatermarkError, and no job that was paid is lost.

The answers of the documents are changed in one to three places, in their values or in their bytes. "Lost" would be an
accepted submission that is reported as refused, because its key would be free again: an error that says so has to come
from the status or a code in the answer, never from a damaged field.
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

import aiowatermark as aw
from aiowatermark.errors import WatermarkError
from aiowatermark.jobs import Snapshot, Status
from aiowatermark.provider import Credits, Provider
from aiowatermark.providers import provider_class, provider_names
from aiowatermark.wire import Request, Response
from tests.support.cassettes import start_flow

FOLDER = Path(__file__).parent / "cassettes"
MUTATIONS = 12_000
"""Answers for each of the five providers."""
REFUSALS = (
    aw.Rejected,
    aw.AuthenticationError,
    aw.InsufficientCredits,
    aw.RateLimited,
    aw.InvalidInput,
    aw.Unsupported,
)
CODE_FIELDS = frozenset({"code", "status", "error"})
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 3, 4, 200, 1003, 490027, 1e308, -0.0, 1 << 70, 10**300),
    *("", " ", "0", "1", "3", "nan", "inf", "-1e999", "9" * 5000, "\x00", "\ud800", "\x1b[2J", "a" * 300, ".."),
    *("https://x.example/a", "https://[", "javascript:alert(1)", "data:,x", "https://u:p@x.example:99999/\x00"),
    *([], {}, [[]], [None], [{}], {"task_id": None}, [{"url": 1}], {"": {"": ""}}),
)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every value in a JSON value."""
    yield path
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield from places(child, (*path, key))


def change_child(parent: Any, key: Any, rng: random.Random) -> None:
    """Replace a value in an object or a list, remove it from an object, or repeat it in a list."""
    if rng.random() < 0.75:
        parent[key] = copy.deepcopy(rng.choice(VALUES))
    elif isinstance(parent, dict):
        del parent[key]
    else:
        parent.extend([parent[key]] * rng.choice([1, 50]))


def mutate(payload: Any, rng: random.Random) -> tuple[Any, bool]:
    """Return a changed copy, and whether something was changed that says how the request ended."""
    payload, code_changed = copy.deepcopy(payload), False
    for _ in range(rng.randint(1, 3)):
        path = rng.choice(list(places(payload)))
        # a container above a code changes the code too
        code_changed = code_changed or not path or path[-1] in CODE_FIELDS or path[-1] == "data"
        if not path:
            return rng.choice(VALUES), True
        parent: Any = payload
        for key in path[:-1]:
            parent = parent[key]
        change_child(parent, path[-1], rng)
    return payload, code_changed


def mutate_bytes(body: bytes, rng: random.Random) -> bytes:
    data = bytearray(body)
    for _ in range(rng.randint(1, 4)):
        index = rng.randrange(len(data) + 1)
        data[index : index + rng.randint(0, 3)] = rng.randbytes(rng.randint(0, 3))
    return bytes(data)


def run(provider: Provider, cassette: Mapping[str, Any], bodies: list[bytes]) -> tuple[Any, list[Request]]:
    """Run the flow with these bodies; returns its value and its requests."""
    flow, requests = start_flow(provider, cassette), []
    remaining = list(bodies)
    step: Any = next(flow)
    try:
        while True:
            if isinstance(step, Snapshot):
                step = next(flow)
            else:
                requests.append(step)
                status = cassette["exchanges"][len(requests) - 1].get("status", 200)
                step = flow.send(Response(status, {}, remaining.pop(0)))
    except StopIteration as end:
        return end.value, requests
    except IndexError:
        # a damaged answer to an upload asks for another URL: the script has no answer for that
        return None, requests
    finally:
        flow.close()


def answer_of(exchange: Mapping[str, Any]) -> Any:
    return exchange.get("answer")


@pytest.mark.slow
@pytest.mark.parametrize("name", provider_names())
def test_mutated_answers_end_in_watermark_errors_and_lose_no_paid_job(name: str) -> None:
    file = json.loads((FOLDER / f"{name}.json").read_text())
    provider = provider_class(name)(**file["account"])
    cassettes = [each for each in file["cassettes"] if not each.get("settings") and "error" not in each]
    rng = random.Random(name)  # noqa: S311 - the same mutations in every run
    accepted = 0
    for number in range(MUTATIONS):
        cassette = cassettes[number % len(cassettes)]
        payloads = [answer_of(exchange) for exchange in cassette["exchanges"]]
        changed = rng.randrange(len(payloads))
        code_changed = True
        bodies = [json.dumps(payload).encode() if payload is not None else b"" for payload in payloads]
        if rng.random() < 0.3 or payloads[changed] is None:
            bodies[changed] = mutate_bytes(bodies[changed], rng)
        else:
            payload, code_changed = mutate(payloads[changed], rng)
            bodies[changed] = json.dumps(payload).encode()
        try:
            end, _ = run(provider, cassette, bodies)
        except WatermarkError as error:
            shown = str(error)
            assert shown.isprintable()
            assert len(shown) < 1500
            if not code_changed:
                assert not isinstance(error, REFUSALS), (cassette["name"], bodies)
            continue
        assert isinstance(end, Snapshot | Credits | None)
        if isinstance(end, Snapshot):
            check_snapshot(end)
            accepted += cassette["call"] == "submit"
    assert accepted > 100


def check_snapshot(snapshot: Snapshot) -> None:
    """Check that a snapshot can be persisted and shown."""
    task_id = snapshot.task_id
    assert task_id is None or (0 < len(task_id) <= 200 and task_id.isprintable() and task_id.strip(" ."))
    assert task_id is not None or snapshot.status.terminal
    assert snapshot.progress is None or 0.0 <= snapshot.progress <= 1.0
    assert snapshot.retry_after is None or 0.0 <= snapshot.retry_after <= 3600.0
    assert snapshot.reason is None or (len(snapshot.reason) <= 500 and snapshot.reason.isprintable())
    assert len(snapshot.outputs) <= 1000
    if snapshot.status is Status.SUCCEEDED:
        assert any(output.media is not None for output in snapshot.outputs)
    json.dumps(dict(snapshot.details), allow_nan=False)
