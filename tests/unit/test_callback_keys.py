"""Keys of callback URLs: unguessable, and recognised by their MAC."""

from __future__ import annotations

import pytest

from aiowatermark.callbacks.keys import create_key, create_secret, hash_key, is_signed, is_well_formed

SECRET = create_secret()


def test_a_key_is_recognised_with_its_secret_only() -> None:
    key = create_key(SECRET)
    assert is_well_formed(key)
    assert is_signed(key, SECRET)
    assert not is_signed(key, create_secret())


def test_every_changed_character_makes_a_key_unknown() -> None:
    key = create_key(SECRET)
    for position, character in enumerate(key):
        changed = key[:position] + ("A" if character != "A" else "B") + key[position + 1 :]
        assert not is_signed(changed, SECRET)


def test_keys_differ_and_so_do_their_hashes() -> None:
    keys = {create_key(SECRET) for _ in range(1000)}
    assert len({hash_key(key) for key in keys}) == 1000


@pytest.mark.parametrize("key", ["", "a" * 31, "a" * 33, "a" * 31 + "=", "a" * 31 + "\n", "ä" * 32, "a" * 32 + "\n"])
def test_other_texts_are_no_keys(key: str) -> None:
    assert not is_well_formed(key)


@pytest.mark.slow
def test_two_hundred_thousand_guesses_hit_nothing() -> None:
    other = create_secret()
    assert not any(is_signed(create_key(other), SECRET) for _ in range(200_000))
