"""Concurrent transfers share their memory, and each keeps a minimum."""

from __future__ import annotations

from contextlib import ExitStack

from aiowatermark.media.base import ALIGNMENT, BLOCK_SIZE
from aiowatermark.transport.budget import MIN_CHUNK_BYTES, TransferBudget


def test_a_lone_transfer_may_use_everything() -> None:
    budget = TransferBudget()
    assert budget.buffer_bytes() == BLOCK_SIZE
    assert budget.chunk_bytes() == 3 << 20
    assert budget.batch_bytes() == 4 << 20


def test_concurrent_transfers_share_and_give_back() -> None:
    budget = TransferBudget()
    with ExitStack() as transfers:
        for count in range(1, 65):
            transfers.enter_context(budget.upload())
            transfers.enter_context(budget.download())
            assert count * budget.chunk_bytes() <= max(3 << 20, count * MIN_CHUNK_BYTES)
            assert count * budget.batch_bytes() <= max(4 << 20, count << 18)
            assert budget.chunk_bytes() % 3 == budget.buffer_bytes() % 3 == budget.buffer_bytes() % ALIGNMENT == 0
        assert budget.buffer_bytes() < BLOCK_SIZE
    assert budget.buffer_bytes() == BLOCK_SIZE
    assert budget.batch_bytes() == 4 << 20
