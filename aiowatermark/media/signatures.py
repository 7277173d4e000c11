"""Signatures in URLs: what a link is without them, and how two links of one object are recognised as such.

A signed URL is another text each time it is signed, and names the same object. Only complete families of
parameters are left out: a lone `token`, `Expires` or `Signature` may be what selects the object, so it counts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from urllib.parse import unquote_plus

from attrs import frozen


@frozen
class _Family:
    """The parameters of one way to sign: `required` must all be present and not empty; `optional` may accompany them.

    Names are lower-case: the storage services accept their own names in any case.
    """

    required: frozenset[str]
    optional: frozenset[str] = frozenset()


def _family(required: str, optional: str = "") -> _Family:
    return _Family(frozenset(required.split()), frozenset(optional.split()))


_FAMILIES = (
    # Amazon S3 and compatible stores, signature version 4
    _family(
        "x-amz-algorithm x-amz-credential x-amz-date x-amz-signature",
        "x-amz-expires x-amz-signedheaders x-amz-security-token x-amz-content-sha256",
    ),
    # Google Cloud Storage, version 4
    _family(
        "x-goog-algorithm x-goog-credential x-goog-date x-goog-signature",
        "x-goog-expires x-goog-signedheaders x-goog-security-token",
    ),
    # Alibaba Cloud OSS, version 4
    _family(
        "x-oss-signature-version x-oss-credential x-oss-date x-oss-signature",
        "x-oss-expires x-oss-additional-headers x-oss-security-token",
    ),
    # version 2 of the three
    _family("awsaccesskeyid signature expires", "x-amz-security-token"),
    _family("googleaccessid signature expires"),
    _family("ossaccesskeyid signature expires", "security-token"),
    # Amazon CloudFront, with a canned and with a custom policy
    _family("expires signature key-pair-id", "hash-algorithm"),
    _family("policy signature key-pair-id", "hash-algorithm"),
    # Azure shared access signatures
    _family(
        "sig se sv",
        "sp sr st spr sip si ss srt ses sdd saoid suoid scid skoid sktid skt ske sks skv",
    ),
)


def unsigned_url(url: str) -> str:
    """Return a URL without the parameters of every signature family that is complete in its query.

    What remains keeps its order and its bytes. A URL without a complete family is returned as it is.
    """
    address, question_mark, rest = url.partition("?")
    query, hash_mark, fragment = rest.partition("#")
    if not question_mark or "#" in address or "sig" not in query.lower():  # the one thing all families have
        return url
    pairs = query.split("&")
    signing = _signing_names(pairs)
    kept = "&".join(pair for pair in pairs if _name(pair) not in signing)
    return f"{address}{'?' if kept else ''}{kept}{hash_mark}{fragment}" if signing else url


def _signing_names(pairs: Iterable[str]) -> frozenset[str]:
    present = {_name(pair) for pair in pairs if pair.partition("=")[2]}
    complete = [family for family in _FAMILIES if family.required <= present]
    return frozenset().union(*(family.required | family.optional for family in complete))


def _name(pair: str) -> str:
    return unquote_plus(pair.partition("=")[0]).lower()


@frozen
class LinkIdentity:
    """Digests of a link, the coarsest first: without its query, without signatures, and whole.

    As text they are joined by colons. Records of version 0.1 have only the first one; then the others are empty.
    """

    bare: str
    unsigned: str = ""
    whole: str = ""

    @classmethod
    def of(cls, url: str) -> LinkIdentity:
        """Return the identity of a URL."""
        address, query, _ = url.partition("?")
        whole = link_digest(url, 8)
        return cls(link_digest(address), link_digest(unsigned_url(url), 8) if query else whole, whole)

    @classmethod
    def parse(cls, text: str) -> LinkIdentity:
        """Return the identity that `str` gave this text; an older or foreign text is only `bare`."""
        parts = text.split(":")
        return cls(*parts) if len(parts) == 3 else cls(text)

    def __str__(self) -> str:
        """The text that records keep."""
        return f"{self.bare}:{self.unsigned}:{self.whole}"


def link_digest(text: str, size: int = 16) -> str:
    """Return a digest of a link; what is not valid Unicode counts as it is."""
    return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=size).hexdigest()
