"""Cassettes against the emulator: it accepts the documents' requests, and answers them in the documents' shape.

Requests are built from the cassettes alone, without the SDK, so an emulator that follows a mistake of the SDK fails.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest

from aiowatermark.emulator import Emulator
from tests.support.images import make_image, make_mask
from tests.support.log_search import KEYS
from tests.support.raw_api import RawApi, b64, make_form

FOLDER = Path(__file__).parents[2] / "unit" / "providers" / "cassettes"
FILES: Mapping[str, Any] = {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}
MASKS = ("mask", "brush", "base", "smear")


def is_accepted(cassette: Mapping[str, Any]) -> bool:
    """Whether it is one image submission that the documents accept, without an earlier session."""
    job = cassette.get("job", {})
    single = cassette["call"] == "submit" and len(cassette["exchanges"]) == 1 and "error" not in cassette
    return single and "session_id" not in cassette["exchanges"][0]["body"] and not job.get("video")


ACCEPTED = [
    pytest.param(name, cassette["exchanges"][0], id=f"{name}: {cassette['name']}")
    for name, file in FILES.items()
    for cassette in file["cassettes"]
    if is_accepted(cassette)
]
CREDITS = [
    pytest.param(name, cassette["exchanges"][0], id=name)
    for name, file in FILES.items()
    for cassette in file["cassettes"]
    if cassette["call"] == "credits" and "error" not in cassette
]


def content(name: str) -> bytes:
    """The bytes that stand for a file of a cassette."""
    return make_mask(300, 300) if name.startswith(MASKS) else make_image(kind="jpeg")


def field(value: Any) -> Any:
    if isinstance(value, dict):
        return b64(content(value["base64"])) if "base64" in value else content(value["file"])
    return value


def missing_keys(documented: Any, answered: Any) -> set[str]:
    """Keys of the documented answer that the emulator's has not."""
    if isinstance(documented, dict) and isinstance(answered, dict):
        inner = [missing_keys(item, answered[key]) for key, item in documented.items() if key in answered]
        return (documented.keys() - answered.keys()).union(*inner)
    if isinstance(documented, list) and isinstance(answered, list) and documented and answered:
        return missing_keys(documented[0], answered[0])
    return set()


async def send(name: str, exchange: Mapping[str, Any]) -> tuple[int, Any]:
    """Send the request of a cassette to a new emulator; return its status and the JSON of its answer."""
    async with Emulator(restore=False, processing=0.0, keys=KEYS) as emulator, aiohttp.ClientSession() as session:
        api, options = RawApi(emulator, session), dict[str, Any]()
        fields = {key: field(value) for key, value in exchange.get("body", {}).items()}
        # nothing listens at a URL of the documents
        fields.pop("callback_url", None)
        if exchange.get("content_type") == "application/json":
            options["json"] = fields
        elif fields:
            options["data"] = make_form(**fields)
        reply = await api.request(exchange["method"], urlsplit(exchange["url"]).path, name, **options)
        return reply.status, reply.json


# fields that only one of several documented answers has, or that are not documented at all
OPTIONAL = {"expires"}


@pytest.mark.parametrize(("name", "exchange"), [*ACCEPTED, *CREDITS])
async def test_the_emulator_accepts_a_documented_request_and_answers_in_the_documented_shape(
    name: str, exchange: Mapping[str, Any]
) -> None:
    status, answer = await send(name, exchange)
    assert status == exchange["status"]
    assert not missing_keys(exchange["answer"], answer) - OPTIONAL


def test_every_path_of_every_provider_is_replayed() -> None:
    replayed = [cassette for file in FILES.values() for cassette in file["cassettes"] if is_accepted(cassette)]
    paths = {urlsplit(cassette["exchanges"][0]["url"]).path for cassette in replayed}
    assert paths == {
        "/task/pic/watermark_auto",
        "/task/pic/watermark",
        "/api/tasks/visual/external/watermark-remove",
        "/api/tasks/visual/advanced/watermark-remove",
        "/api/tasks/visual/inpaint",
        "/api/ext/v1/submit_watermark_removal",
        "/v3/pic/rw/batch",
        "/api/object_removal/v2/erase_watermark",
        "/api/object_removal/v3/erase_watermark",
        "/api/object_removal/v1/erase_watermark_pro",
    }
