"""MemoryStore drops results before keys: a key that was charged stays known."""

from __future__ import annotations

import aiowatermark as aw
from aiowatermark.jobs import Output, Record, Snapshot, Status
from aiowatermark.media.memory import Bytes


async def finish(store: aw.MemoryStore, key: str, content: bytes = b"") -> None:
    """Store a finished job, whose result came as bytes."""
    record = Record(key, "dewatermark")
    await store.open(record)
    outputs = (Output(Bytes(content)),) if content else ()
    await store.put(record.advance(Snapshot("task", Status.SUCCEEDED, outputs=outputs)))


async def test_a_result_that_no_longer_fits_is_expired_and_its_key_stays_known() -> None:
    store = aw.MemoryStore(content=250)
    for number in range(5):
        await finish(store, f"job-{number}", bytes(100))
    records = [await store.get(f"job-{number}") for number in range(5)]
    assert [record is not None and record.snapshot.outputs[0].media is not None for record in records] == [
        False,
        False,
        False,
        True,
        True,
    ]
    assert records[0] is not None
    assert isinstance(records[0].snapshot.outputs[0].error, aw.ResultExpired)
    assert records[0].snapshot.status is Status.SUCCEEDED


async def test_the_newest_result_is_kept_however_large_it_is() -> None:
    store = aw.MemoryStore(content=10)
    await finish(store, "job-1", bytes(100))
    record = await store.get("job-1")
    assert record is not None
    assert record.snapshot.outputs[0].media is not None


async def test_ten_thousand_finished_keys_stay_known_and_the_oldest_go_after_them() -> None:
    store = aw.MemoryStore()
    for number in range(10_001):
        await finish(store, f"job-{number}")
    assert await store.get("job-0") is None
    assert await store.get("job-1") is not None
    assert await store.open(Record("job-1", "dewatermark")) is not None
