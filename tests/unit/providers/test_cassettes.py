"""Cassettes: each provider sends the requests of its documents' examples and understands their answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from aiowatermark.errors import WatermarkError
from aiowatermark.provider import Credits, Provider
from aiowatermark.providers import provider_class, provider_names
from tests.support.cassettes import as_fields, play

FOLDER = Path(__file__).parent / "cassettes"
FILES: Mapping[str, Any] = {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}
CASSETTES = [
    pytest.param(name, cassette, id=f"{name}: {cassette['name']}")
    for name, file in FILES.items()
    for cassette in file["cassettes"]
]


@pytest.mark.parametrize(("name", "cassette"), CASSETTES)
def test_a_provider_sends_the_documented_requests_and_understands_the_documented_answers(
    name: str, cassette: Mapping[str, Any]
) -> None:
    file = FILES[name]
    provider = provider_class(name)(**file["account"], **cassette.get("settings", {}))
    if "error" in cassette:
        with pytest.raises(WatermarkError) as caught:
            play(provider, cassette, file["auth"])
        assert type(caught.value).__name__ == cassette["error"]
        return
    end, steps = play(provider, cassette, file["auth"])
    assert steps == cassette.get("steps", [])
    if "credits" in cassette:
        assert end == Credits(**cassette["credits"])
    else:
        assert as_fields(end) == cassette["snapshot"]


def test_every_provider_has_cassettes_and_every_cassette_file_has_a_provider() -> None:
    assert tuple(FILES) == provider_names()


@pytest.mark.parametrize("name", provider_names())
def test_every_call_of_a_provider_has_a_cassette(name: str) -> None:
    calls = {cassette["call"] for cassette in FILES[name]["cassettes"]}
    provider = provider_class(name)
    implemented = {
        call for call in ("submit", "query", "credits") if getattr(provider, call) is not getattr(Provider, call)
    }
    assert calls == implemented


@pytest.mark.parametrize(("name", "cassette"), CASSETTES)
def test_a_cassette_names_its_source(name: str, cassette: Mapping[str, Any]) -> None:
    assert cassette["source"] in {"S", "D", "T", "I", "R"}
