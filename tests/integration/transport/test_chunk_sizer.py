"""Slices follow the pace of the line, and whatever they do, base64 stays one text."""

from __future__ import annotations

import base64
import random
from collections.abc import Iterator

import pytest

from aiowatermark.transport.upload import Base64Chunks, ChunkSizer

DATA = random.Random(3).randbytes(9_000_001)  # noqa: S311 - bytes, not keys


@pytest.fixture(autouse=True)
def nothing_under_way() -> Iterator[None]:
    """Each test says how many bodies are under way."""
    yield
    ChunkSizer.active = 0


@pytest.mark.parametrize("under_way", range(1, 9))
def test_base64_is_one_text_on_a_line_that_is_quick_first_and_slow_later(under_way: int) -> None:
    ChunkSizer.active = under_way
    pace = ChunkSizer()
    slices, parts = Base64Chunks(pace), []
    for number, start in enumerate(range(0, len(DATA), 1_000_000)):
        for piece in slices.split(DATA[start : start + 1_000_000]):
            parts.append(bytes(piece))
            pace.adjust(0.0 if number < 4 else 10.0)
            assert pace.size % 3 == 0
    parts += map(bytes, slices.flush())
    assert b"".join(parts) == base64.b64encode(DATA)
