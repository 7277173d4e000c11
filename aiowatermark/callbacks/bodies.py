"""Bodies of deliveries as they come: content codings are undone within the limit, and nothing is refused for its form.

Only called for known keys: the body of a stranger is neither read nor decoded.
"""

from __future__ import annotations

import zlib

# zlib's window bits; 31: with a gzip header, 15: with a zlib header, -15: raw, which some clients send as "deflate"
_WINDOW_BITS = {"gzip": (31,), "x-gzip": (31,), "deflate": (15, -15)}


def decode_body(body: bytes, encoding: str, limit: int) -> bytes:
    """Return a body without its content coding, or a little more than `limit` bytes of it if it is larger.

    A body that is not encoded as its header says is returned as it is: a proxy or a framework may have decoded it and
    left the header, and a delivery wakes its job whatever it contains.
    """
    for window_bits in _WINDOW_BITS.get(encoding.strip().lower(), ()):
        decompressor = zlib.decompressobj(window_bits)
        try:
            decoded = decompressor.decompress(body, limit + 1)
        except zlib.error:
            continue
        if len(decoded) > limit or (decompressor.eof and not decompressor.unused_data):
            return decoded
    return body
