"""Keys of callback URLs: 128 random bits, and 64 bits of a MAC over them by which our own keys are recognised.

    key = base64url(random, 16 bytes + MAC, 8 bytes)            32 characters, safe in any URL

The random part makes a key unguessable: it alone protects a job. The MAC only tells keys that this service created
from keys that a stranger made up, without asking a store and without reading a body: a stranger's deliveries then cost
nothing but this computation. A key is stored as a hash, which recognises the key and cannot be called.

The secret of the MAC is shared by all processes behind one public URL, see registry.py.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode

from ..errors import InvalidInput

_RANDOM_BYTES = 16
_MAC_BYTES = 8
_FORM = re.compile(r"[A-Za-z0-9_-]{32}")
_MIN_SECRET = 16


def create_key(secret: bytes) -> str:
    """Return a new key that `is_signed` recognises with the same secret."""
    random = secrets.token_bytes(_RANDOM_BYTES)
    return urlsafe_b64encode(random + _mac(random, secret)).decode()


def is_well_formed(key: str) -> bool:
    """Whether a text has the form of a key."""
    return _FORM.fullmatch(key) is not None


def is_signed(key: str, secret: bytes) -> bool:
    """Whether a well-formed key was created with this secret; takes the same time for any key."""
    raw = urlsafe_b64decode(key)
    return hmac.compare_digest(raw[_RANDOM_BYTES:], _mac(raw[:_RANDOM_BYTES], secret))


def hash_key(key: str) -> str:
    """Return the hash under which a key is stored: enough to recognise the key, useless for calling it."""
    return hashlib.sha256(key.encode()).hexdigest()[:32]


def create_secret() -> bytes:
    """Return a new secret for keys."""
    return secrets.token_bytes(32)


def normalize_secret(secret: str | bytes) -> bytes:
    """Return a secret as a MAC key of fixed length; raises InvalidInput for one shorter than 16 bytes."""
    raw = secret.encode() if isinstance(secret, str) else secret
    if len(raw) < _MIN_SECRET:
        raise InvalidInput(f"secret must have at least {_MIN_SECRET} bytes, such as secrets.token_urlsafe()")
    return hashlib.blake2b(raw, digest_size=32, person=b"aiowatermark").digest()


def _mac(random: bytes, secret: bytes) -> bytes:
    return hashlib.blake2b(random, key=secret, digest_size=_MAC_BYTES, person=b"callback key").digest()
