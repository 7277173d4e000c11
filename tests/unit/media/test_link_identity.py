"""Identity of links: complete signature families do not count, everything else of a link does."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from aiowatermark.media.memory import Link
from aiowatermark.media.signatures import LinkIdentity, unsigned_url

BASE = "https://images.example.com/photo.jpg"
FAMILIES = {
    "S3": {
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": "AKIA%2F20261127%2Feu%2Fs3%2Faws4_request",
        "X-Amz-Date": "20261127T120000Z",
        "X-Amz-Expires": "3600",
        "X-Amz-SignedHeaders": "host",
        "X-Amz-Signature": "0a1b",
    },
    "Google": {
        "X-Goog-Algorithm": "GOOG4-RSA-SHA256",
        "X-Goog-Credential": "me%40example",
        "X-Goog-Date": "20261127T120000Z",
        "X-Goog-Expires": "900",
        "X-Goog-SignedHeaders": "host",
        "X-Goog-Signature": "0a1b",
    },
    "Azure": {"sp": "r", "st": "2026", "se": "2027", "spr": "https", "sv": "2022-11-02", "sr": "b", "sig": "a%2Bb%3D"},
    "CloudFront": {"Expires": "1795780800", "Signature": "x~y", "Key-Pair-Id": "K2"},
    "CloudFront with a policy": {"Policy": "eyJ_", "Signature": "x~y", "Key-Pair-Id": "K2"},
    "OSS": {"Expires": "1795780800", "OSSAccessKeyId": "LTAI", "Signature": "a%2Bb%3D"},
    "OSS, version 4": {
        "x-oss-signature-version": "OSS4-HMAC-SHA256",
        "x-oss-credential": "LTAI",
        "x-oss-date": "20261127T120000Z",
        "x-oss-expires": "600",
        "x-oss-signature": "0a1b",
    },
    "S3, version 2": {"AWSAccessKeyId": "AKIA", "Signature": "a%2Bb%3D", "Expires": "1795780800"},
}
REQUIRED = {
    "S3": "X-Amz-Signature",
    "Google": "X-Goog-Signature",
    "Azure": "sig",
    "CloudFront": "Key-Pair-Id",
    "CloudFront with a policy": "Policy",
    "OSS": "Signature",
    "OSS, version 4": "x-oss-signature",
    "S3, version 2": "Expires",
}


def query(parameters: dict[str, str]) -> str:
    return "&".join(f"{name}={value}" for name, value in parameters.items())


@pytest.mark.parametrize("family", FAMILIES)
def test_a_complete_signature_does_not_count_and_the_rest_keeps_its_bytes(family: str) -> None:
    signature = query(FAMILIES[family])
    assert unsigned_url(f"{BASE}?{signature}") == BASE
    assert unsigned_url(f"{BASE}?{signature}#top") == f"{BASE}#top"
    for kept in ("id=7&name=a%2Fb&&x", "versionId=%C3%A9", "a=1&a=2"):
        assert unsigned_url(f"{BASE}?{kept}&{signature}") == f"{BASE}?{kept}"
        assert unsigned_url(f"{BASE}?{signature}&{kept}") == f"{BASE}?{kept}"


@pytest.mark.parametrize("family", FAMILIES)
def test_an_incomplete_signature_counts_as_a_whole(family: str) -> None:
    for value in (None, ""):
        parameters = {**FAMILIES[family], REQUIRED[family]: value or ""}
        if value is None:
            del parameters[REQUIRED[family]]
        url = f"{BASE}?{query(parameters)}"
        assert unsigned_url(url) == url


@pytest.mark.parametrize("lone", ["token=a", "Expires=1", "Signature=a", "sig=a", "se=1&sv=2", "key=a", "Policy=p"])
def test_a_lone_parameter_that_looks_like_a_signature_counts(lone: str) -> None:
    assert unsigned_url(f"{BASE}?{lone}") == f"{BASE}?{lone}"
    assert Link(f"{BASE}?{lone}").fingerprint != Link(f"{BASE}?{lone}x").fingerprint


def test_the_identity_of_a_link_contains_nothing_of_it() -> None:
    link = Link("https://user:canary@example.com/canary?canary=canary")
    assert "canary" not in link.identity + link.fingerprint


def test_the_identity_of_an_earlier_version_is_read_as_the_link_without_its_query() -> None:
    now = LinkIdentity.of(f"{BASE}?id=1")
    old = LinkIdentity.parse(now.bare)
    assert (old.bare, old.unsigned, old.whole) == (LinkIdentity.of(BASE).bare, "", "")
    assert LinkIdentity.parse(str(now)) == now


names = st.sampled_from(
    ["id", "token", "Expires", "Signature", "sig", "se", "sv", "Key-Pair-Id", "X-Amz-Date", "sp", "x"]
)
pairs = st.lists(st.tuples(names, st.sampled_from(["1", "2", "a/b", "é", ""])), max_size=6)
SIGNING = {name.lower() for family in FAMILIES.values() for name in family}


def link_to(parameters: list[tuple[str, str]]) -> str:
    return f"{BASE}?" + "&".join(f"{name}={quote(value, safe='')}" for name, value in parameters)


@given(pairs, pairs)
@example([("id", "1")], [("id", "2")])
@example([("token", "1")], [("token", "2")])
def test_two_links_share_a_fingerprint_only_if_they_differ_in_signatures_alone(
    one: list[tuple[str, str]], other: list[tuple[str, str]]
) -> None:
    assume(link_to(one) != link_to(other))
    if Link(link_to(one)).fingerprint == Link(link_to(other)).fingerprint:
        for parameters in (one, other):
            assert unsigned_url(link_to(parameters)) in {BASE, link_to(unsigned(parameters))}
        assert unsigned(one) == unsigned(other)


def unsigned(parameters: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [pair for pair in parameters if pair[0].lower() not in SIGNING]


@given(st.text(max_size=60))
def test_any_text_has_an_identity(text: str) -> None:
    for url in (text, f"{BASE}?{text}", f"{BASE}#{text}"):
        assert LinkIdentity.parse(str(LinkIdentity.of(url))) == LinkIdentity.of(url)
        assert unsigned_url(unsigned_url(url)) == unsigned_url(url)
