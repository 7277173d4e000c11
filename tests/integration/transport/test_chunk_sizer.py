"""Chunk sizes follow the speed of the connection, and base64 stays one valid text whatever they are."""

from __future__ import annotations

import base64
import random
from contextlib import ExitStack

import pytest

from aiowatermark.transport import upload
from aiowatermark.transport.budget import TransferBudget
from aiowatermark.transport.upload import Base64Chunks, ChunkSizer

DATA = random.Random(3).randbytes(9_000_001)  # noqa: S311 - bytes, not keys


@pytest.mark.parametrize("module", ["base64", "pybase64"])
@pytest.mark.parametrize("active", range(1, 9))
def test_base64_is_one_text_on_a_connection_that_is_fast_first_and_slow_later(
    active: int, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload, "b64encode", pytest.importorskip(module).b64encode)
    budget = TransferBudget()
    sizer = ChunkSizer(budget)
    splitter, encoded = Base64Chunks(sizer), []
    with ExitStack() as uploads:
        for _ in range(active):
            uploads.enter_context(budget.upload())
        for number, start in enumerate(range(0, len(DATA), 1_000_000)):
            for chunk in splitter.split(DATA[start : start + 1_000_000]):
                encoded.append(bytes(chunk))
                sizer.adjust(0.0 if number < 4 else 10.0)
                assert sizer.size % 3 == 0
    encoded += map(bytes, splitter.flush())
    assert b"".join(encoded) == base64.b64encode(DATA)
