"""LongTextReader: what it takes out of an answer is the image, however the base64 text is written and cut."""

from __future__ import annotations

import json
import random
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiowatermark.errors import UnexpectedAnswer
from aiowatermark.transport.long_texts import LongTextReader
from aiowatermark.wire import LongText, Response

DATA = random.Random(1).randbytes(200_002)  # noqa: S311 - bytes, not keys
TEXT = b64encode(DATA).decode()


def read(body: bytes, *, images: bool = True, block: int = 70_001) -> Any:
    """Return the JSON value of an answer that arrives in blocks."""
    reader = LongTextReader(images=images)
    for start in range(0, len(body), block):
        reader.feed(body[start : start + block])
    return Response(200, {}, reader.finish(), texts=reader.texts).json()


def escape_slashes(value: Any) -> str:
    return json.dumps(value).replace("/", "\\/")


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        TEXT.rstrip("="),
        urlsafe_b64encode(DATA).decode(),
        f"data:image/jpeg;base64,{TEXT}",
        f"DATA:image/jpeg;BASE64,{TEXT}",
        "\r\n".join(TEXT[start : start + 76] for start in range(0, len(TEXT), 76)),
        f"  {TEXT}\n",
    ],
    ids=["standard", "no padding", "url-safe", "data URL", "DATA URL", "lines", "white space"],
)
@pytest.mark.parametrize("dump", [json.dumps, escape_slashes])
@pytest.mark.parametrize("block", [997, 65_537, 1 << 20])
def test_an_image_is_decoded_in_every_dialect_of_base64(text: str, dump: Callable[[Any], str], block: int) -> None:
    payload = read(dump({"before": 'a "quoted\\" text', "deep": [{"image": text}], "after": 1}).encode(), block=block)
    image = payload["deep"][0]["image"]
    assert isinstance(image, LongText)
    assert image.data == DATA
    assert payload["before"] == 'a "quoted\\" text'
    assert payload["after"] == 1


@pytest.mark.parametrize("text", [f"*{TEXT}", f"{TEXT}*", TEXT + TEXT, "é" * 70_000, "=" * 70_000, "\\u00" * 30_000])
def test_a_long_text_that_is_no_base64_has_no_data(text: str) -> None:
    image = read(json.dumps({"image": text}).encode())["image"]
    assert isinstance(image, LongText)
    assert image.data is None


@pytest.mark.parametrize("end", ['\\"', "\\\\", "\\u00e9", "é", "/"])
def test_without_images_a_long_text_is_cut_and_the_rest_of_the_answer_counts(end: str) -> None:
    for shift in range(8):
        text = json.dumps({"reason": "@", "status": "failed"}).replace("@", "y" * (65_536 - shift) + end * 50_000)
        payload = read(text.encode(), images=False)
        assert payload["status"] == "failed"
        assert payload["reason"].startswith("y" * 60_000)
        assert len(payload["reason"]) <= 65_536


@pytest.mark.parametrize("images", [True, False])
def test_an_answer_of_many_short_values_is_refused(*, images: bool) -> None:
    with pytest.raises(UnexpectedAnswer, match="larger than 256 KiB"):
        read(b'{"a": [' + b'"text", ' * 40_000, images=images)


@given(st.recursive(st.text(max_size=30), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)), st.data())
def test_an_answer_without_long_texts_stays_as_it_is(value: Any, data: st.DataObject) -> None:
    body = json.dumps({"value": value}, ensure_ascii=data.draw(st.booleans())).encode(errors="surrogatepass")
    assert read(body, images=data.draw(st.booleans()), block=data.draw(st.integers(1, 40))) == json.loads(body)


@given(st.binary(max_size=300), st.integers(1, 40))
def test_what_is_no_json_stays_as_it_is(body: bytes, block: int) -> None:
    reader = LongTextReader(images=True)
    for start in range(0, len(body), block):
        reader.feed(body[start : start + block])
    assert reader.finish() == body
