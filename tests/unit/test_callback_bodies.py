"""Bodies of deliveries: decoded within the limit, or passed on as they are."""

from __future__ import annotations

import gzip
import zlib

import pytest

from aiowatermark.callbacks.bodies import decode_body

JSON = b'{"task_id": "t1"}'
LIMIT = 1000


@pytest.mark.parametrize("encoding", ["gzip", " GZIP ", "x-gzip"])
def test_gzip_is_undone(encoding: str) -> None:
    assert decode_body(gzip.compress(JSON), encoding, LIMIT) == JSON


@pytest.mark.parametrize("encoding", ["", "identity", "br", "gzip", "deflate", "gzip, gzip", "x" * 5000])
def test_a_body_that_is_not_encoded_so_stays_as_it_is(encoding: str) -> None:
    for body in (JSON, b"", b"\x1f\x8b", gzip.compress(JSON)[:-1], b"{" * 100, bytes(range(256))):
        assert decode_body(body, encoding, LIMIT) == body


@pytest.mark.parametrize("compress", [gzip.compress, zlib.compress])
def test_no_more_than_the_limit_is_decoded(compress: object) -> None:
    encoding = "gzip" if compress is gzip.compress else "deflate"
    bomb = gzip.compress(b"0" * 10**7) if compress is gzip.compress else zlib.compress(b"0" * 10**7)
    assert decode_body(bomb, encoding, LIMIT) == b"0" * (LIMIT + 1)
