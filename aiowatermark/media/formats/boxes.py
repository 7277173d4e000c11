"""Boxes of ISO/IEC 14496-12: what a file is that begins with `ftyp`, or with the boxes of an older QuickTime file.

Videos, sound, and still images share this container, so its first box alone says nothing: the brands in it do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

_BRANDS: Mapping[str, frozenset[bytes]] = {
    "avif": frozenset({b"avif", b"avis"}),
    "heic": frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}),
    "cr3": frozenset({b"crx "}),
    "m4a": frozenset({b"M4A ", b"M4B ", b"M4P ", b"F4A ", b"F4B "}),
    "quicktime": frozenset({b"qt  "}),
    "mp4": frozenset(
        {b"isom", b"mp41", b"mp42", b"mp71", b"avc1", b"hvc1", b"hev1", b"av01", b"dash", b"MSNV", b"mmp4", b"piff"}
        | {b"M4V ", b"M4VH", b"M4VP", b"F4V ", b"f4v ", b"XAVC", b"cmfc", b"cmf2", b"cmff", b"msdh", b"msix", b"dby1"}
        | {b"iso" + bytes([digit]) for digit in b"23456789abc"}
        | {b"3g" + bytes([kind, digit]) for kind in b"p2egrs" for digit in b"0123456789abc"}
        | {b"NDSC", b"NDSH", b"NDSM", b"NDSP", b"NDSS", b"NDXC", b"NDXH", b"NDXM", b"NDXP", b"NDXS"}
    ),
}
# brands of still images and image sequences of any codec: the compatible brands say which
_GENERIC_IMAGES = frozenset({b"mif1", b"mif2", b"msf1", b"miaf", b"MiHB", b"MiHE", b"MiPr"})
_SEQUENCES = frozenset({b"avis", b"msf1", b"hevc", b"hevx", b"hevm", b"hevs"})
# boxes that a QuickTime file without `ftyp` begins with; those of the second set only before one of the first
_CONTENT, _FILLERS = frozenset({b"moov", b"mdat"}), frozenset({b"wide", b"free", b"skip", b"pnot", b"junk"})
_MAX_BOXES = 16


def brand_format(head: bytes) -> str | None:
    """Return the format by the brands of a file that begins with `ftyp`; None for other files and unknown brands."""
    brands = list(_brands(head))
    if not brands:
        return None
    if brands[0] in _GENERIC_IMAGES:
        # HEIF is the container of several codecs; without the brand of another one it is taken for HEIC
        return "avif" if _BRANDS["avif"].intersection(brands) else "heic"
    # the major brand first: an AVIF names `mp41` or `isom` among those it is compatible with
    return next((name for brand in brands for name, known in _BRANDS.items() if brand in known), None)


def is_sequence(head: bytes) -> bool:
    """Whether the brands are those of an image sequence: an animated AVIF or HEIC."""
    return not _SEQUENCES.isdisjoint(_brands(head))


def starts_with_quicktime_boxes(head: bytes) -> bool:
    """Whether a file without `ftyp` begins with the boxes of a QuickTime movie."""
    for name, size in _top_boxes(head):
        if name in _CONTENT:
            # four printable characters in place of a size: a text that has the name at this place by chance
            return not all(0x20 <= byte < 0x7F for byte in size.to_bytes(4, "big"))
        if name not in _FILLERS:
            return False
    return False


def _brands(head: bytes) -> Iterator[bytes]:
    """Yield the major brand and the compatible ones; boxes without content may precede `ftyp`."""
    start = 0
    for name, size in _top_boxes(head):
        if name == b"ftyp":
            brands = head[start + 8 : start + size]
            yield brands[:4]
            yield from (brands[at : at + 4] for at in range(8, len(brands) - 3, 4))
            return
        if name not in _FILLERS:
            return
        start += size


def _top_boxes(head: bytes) -> Iterator[tuple[bytes, int]]:
    """Yield name and size of the first boxes."""
    start = 0
    for _ in range(_MAX_BOXES):
        size, name = int.from_bytes(head[start : start + 4], "big"), head[start + 4 : start + 8]
        if len(name) < 4:
            return
        yield name, size
        if size < 8:
            return
        start += size
