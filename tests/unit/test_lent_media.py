"""Media lent to providers: ranges, and the pieces in which it is sent."""

from __future__ import annotations

import pytest

import aiowatermark as aw
from aiowatermark.callbacks import lent
from aiowatermark.callbacks.lent import LentMedia

DATA = bytes(range(256)) * 4


@pytest.fixture
def media() -> LentMedia:
    return LentMedia(aw.as_media(DATA, name="mark.png"))


async def body(media: LentMedia, requested: str) -> bytes:
    return b"".join([bytes(piece) async for piece in media.pieces(media.plan_response(requested, conditional=False))])


RANGES = {
    "bytes=0-0": (0, 1),
    "bytes=10-19": (10, 20),
    "bytes=1000-": (1000, 1024),
    "bytes=1000-999999": (1000, 1024),
    "bytes=-24": (1000, 1024),
    "bytes=-5000": (0, 1024),
}


@pytest.mark.parametrize("requested", RANGES)
async def test_a_range_is_served_with_its_place_in_the_whole(media: LentMedia, requested: str) -> None:
    start, stop = RANGES[requested]
    response = media.plan_response(requested, conditional=False)
    assert response.status == 206
    assert response.headers["Content-Range"] == f"bytes {start}-{stop - 1}/1024"
    assert response.headers["Content-Length"] == str(stop - start)
    assert await body(media, requested) == DATA[start:stop]


@pytest.mark.parametrize(
    "requested", ["", "bytes=5-3", "bytes=0-1,3-4", "bytes=-", "items=0-1", "bytes=a-b", "x" * 9999]
)
async def test_a_range_that_is_not_understood_is_ignored(media: LentMedia, requested: str) -> None:
    response = media.plan_response(requested, conditional=False)
    assert (response.status, response.headers["Content-Length"]) == (200, "1024")
    assert response.headers["Accept-Ranges"] == "bytes"
    assert await body(media, requested) == DATA


@pytest.mark.parametrize("requested", ["bytes=1024-", "bytes=99999-100000", "bytes=-0"])
async def test_a_range_beyond_the_end_is_refused(media: LentMedia, requested: str) -> None:
    response = media.plan_response(requested, conditional=False)
    assert (response.status, response.headers["Content-Range"]) == (416, "bytes */1024")
    assert await body(media, requested) == b""


def test_a_conditional_range_is_ignored_because_no_validator_was_sent(media: LentMedia) -> None:
    assert media.plan_response("bytes=0-1", conditional=True).status == 200


async def test_ranges_across_pieces_and_blocks_are_exact(media: LentMedia, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lent, "PIECE", 100)
    monkeypatch.setattr("aiowatermark.media.memory.CHUNK", 150)
    for start in range(0, 1024, 49):
        for stop in range(start + 1, 1025, 97):
            assert await body(media, f"bytes={start}-{stop - 1}") == DATA[start:stop]
