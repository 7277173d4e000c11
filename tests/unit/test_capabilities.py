"""What a provider's documents refuse is refused before anything is sent, in one clear sentence."""

from __future__ import annotations

import io
from typing import Any

import pytest
from PIL import Image

from aiowatermark.capabilities import Capabilities, ImageLimits, check_job
from aiowatermark.errors import InvalidInput, Unsupported
from aiowatermark.jobs import Job, Session
from aiowatermark.media.base import Media
from aiowatermark.media.memory import Bytes, Link
from aiowatermark.media.sniff import MediaInfo, has_video_suffix, sniff
from aiowatermark.provider import Provider
from aiowatermark.providers.dewatermark import Dewatermark
from aiowatermark.providers.gptge import GptGe
from aiowatermark.providers.kaze import Kaze
from aiowatermark.providers.photoeraser import PhotoEraser
from aiowatermark.providers.picwish import PicWish

PICWISH, GPTGE, KAZE, DEWATERMARK = PicWish("k"), GptGe("k"), Kaze("k"), Dewatermark("k")
ERASER = PhotoEraser("a", "b")
LINK = Link("https://example.com/a.png")


def drawn(kind: str = "PNG", width: int = 300, height: int = 300) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (width, height)).save(out, kind)
    return out.getvalue()


def checked(
    provider: Provider, *inputs: Media, mask: Media | None = None, session: Session | None = None, **options: Any
) -> None:
    """What a client does with a job before it sends anything."""
    job = Job(inputs, mask, provider.resolve_options(options), session)
    held = [*inputs, *(media for media in (mask, *job.options.values()) if isinstance(media, Media))]
    looks = {id(media): sniff(media.data) for media in held if isinstance(media, Bytes)}
    takes = provider.capabilities_for(job)
    job = Job(inputs, mask, job.options, session, any(takes.is_video(media, looks.get(id(media))) for media in inputs))
    check_job(takes, provider.display_name, job, looks)


def test_a_picture_as_it_should_be_passes_everywhere() -> None:
    checked(PICWISH, Bytes(drawn("PNG")))
    checked(GPTGE, Bytes(drawn("WEBP")))
    checked(KAZE, Bytes(drawn("GIF")), mask=Bytes(drawn()))
    checked(DEWATERMARK, Bytes(drawn("JPEG")))
    checked(ERASER, LINK, mask=LINK)


@pytest.mark.parametrize(
    ("provider", "kind", "accepted"),
    [
        (PICWISH, "GIF", "bmp or jpeg or png"),
        (PICWISH, "WEBP", "bmp or jpeg or png"),
        (PICWISH, "TIFF", "bmp or jpeg or png"),
        (DEWATERMARK, "PNG", "jpeg"),
        (DEWATERMARK, "BMP", "jpeg"),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_another_format_is_refused_by_name(provider: Provider, kind: str, accepted: str) -> None:
    with pytest.raises(
        InvalidInput, match=rf"picture.jpg is {kind.lower()}, not {accepted}: {provider.display_name} would refuse it"
    ):
        checked(provider, Bytes(drawn(kind)))


@pytest.mark.parametrize("provider", [PICWISH, GPTGE, KAZE, DEWATERMARK], ids=lambda provider: provider.name)
@pytest.mark.parametrize("data", [b"not a picture", b"\x00", b"%PDF-1.7", b"PK\x03\x04", b"<svg/>"])
def test_a_file_that_is_no_picture_is_refused(provider: Provider, data: bytes) -> None:
    with pytest.raises(InvalidInput, match="is no picture"):
        checked(provider, Bytes(data))


@pytest.mark.parametrize(
    ("provider", "kind", "size", "said"),
    [
        (PICWISH, "PNG", (19, 300), "19x300 pixels, fewer than 20"),
        (PICWISH, "PNG", (300, 19), "300x19 pixels, fewer than 20"),
        (PICWISH, "PNG", (10_001, 20), "more than 10000"),
        (PICWISH, "BMP", (20, 10_001), "more than 10000"),
        (DEWATERMARK, "JPEG", (6001, 30), "more than 6000"),
        (DEWATERMARK, "JPEG", (30, 6001), "more than 6000"),
    ],
    ids=str,
)
def test_a_size_outside_is_refused(provider: Provider, kind: str, size: tuple[int, int], said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        checked(provider, Bytes(drawn(kind, *size)))


@pytest.mark.parametrize(
    ("provider", "kind", "size"),
    [(PICWISH, "PNG", (20, 10_000)), (PICWISH, "PNG", (10_000, 20)), (DEWATERMARK, "JPEG", (6000, 30))],
    ids=str,
)
def test_a_size_at_the_border_passes(provider: Provider, kind: str, size: tuple[int, int]) -> None:
    checked(provider, Bytes(drawn(kind, *size)))


def test_a_picture_to_refine_is_smaller() -> None:
    session = Session("s")
    checked(DEWATERMARK, Bytes(drawn("JPEG", 1920, 30)), mask=Bytes(drawn("PNG", 1920, 30)), session=session)
    with pytest.raises(InvalidInput, match="more than 1920"):
        checked(DEWATERMARK, Bytes(drawn("JPEG", 1921, 30)), mask=Bytes(drawn("PNG", 1921, 30)), session=session)


@pytest.mark.parametrize(
    ("size", "said"),
    [
        ((256, 300), "fewer than 257"),
        ((300, 256), "fewer than 257"),
        ((5000, 4000), "more than 4999"),
        ((4000, 5000), "more than 4999"),
        ((1601, 400), "aspect beyond 4:1"),
        ((400, 1601), "aspect beyond 4:1"),
    ],
)
def test_photo_erasers_pictures_are_between_its_borders(size: tuple[int, int], said: str) -> None:
    pictures = PhotoEraser.capabilities.images
    with pytest.raises(InvalidInput, match=said):
        pictures.check(Bytes(b"x"), MediaInfo("png", *size), "Photo Eraser")
    for fine in ((257, 257), (4999, 4999), (1600, 400), (400, 1600)):
        pictures.check(Bytes(b"x"), MediaInfo("png", *fine), "Photo Eraser")


class Heavy(Bytes):
    """A picture of 50 MB and a byte, without the bytes."""

    @property
    def size(self) -> int:  # type: ignore[override]
        return 50_000_001


@pytest.mark.parametrize("provider", [PICWISH, ERASER], ids=lambda provider: provider.name)
def test_a_file_that_is_too_large_is_refused(provider: Provider) -> None:
    looks = MediaInfo("png", 300, 300)
    with pytest.raises(InvalidInput, match=r"50.0 MB, more than 50 MB"):
        provider.capabilities.images.check(Heavy(b"x"), looks, provider.display_name)
    provider.capabilities.images.check(Bytes(b"x"), looks, provider.display_name)


def test_what_cannot_be_told_is_left_to_the_provider() -> None:
    PicWish.capabilities.images.check(Bytes(b"x"), MediaInfo("png"), "PicWish")
    checked(PICWISH, LINK)
    ImageLimits().check(Bytes(b"x"), MediaInfo("avif", 1, 1_000_000), "anybody")


# masks


@pytest.mark.parametrize("provider", [KAZE, DEWATERMARK], ids=lambda provider: provider.name)
def test_a_mask_of_another_size_is_refused(provider: Provider) -> None:
    with pytest.raises(
        InvalidInput, match=r"the mask has 300x299 pixels and picture.jpg 300x300: they are to be of one size"
    ):
        checked(provider, Bytes(drawn("JPEG")), mask=Bytes(drawn("PNG", 300, 299)))


@pytest.mark.parametrize(
    ("provider", "option"), [(KAZE, "smear"), (DEWATERMARK, "mask_base")], ids=["kaze", "dewatermark"]
)
def test_a_mask_that_comes_as_an_option_is_held_to_the_same(provider: Provider, option: str) -> None:
    def given(mask: bytes) -> None:
        options: dict[str, Any] = {option: mask}
        checked(provider, Bytes(drawn("JPEG")), **options)

    given(drawn())
    with pytest.raises(InvalidInput, match="to be of one size"):
        given(drawn("PNG", 299, 300))
    with pytest.raises(InvalidInput, match="is no picture"):
        given(b"not a picture")


@pytest.mark.parametrize("mask", [b"not a picture", b"\x00\x00\x00\x18ftypmp42"])
def test_a_mask_that_is_no_picture_is_refused(mask: bytes) -> None:
    with pytest.raises(InvalidInput, match="is no picture"):
        checked(KAZE, Bytes(drawn()), mask=Bytes(mask))


@pytest.mark.parametrize("provider", [PICWISH, GPTGE], ids=lambda provider: provider.name)
def test_a_mask_where_none_is_taken_is_refused_and_not_ignored(provider: Provider) -> None:
    with pytest.raises(Unsupported, match="takes no mask"):
        checked(provider, Bytes(drawn()), mask=Bytes(drawn()))


def test_a_mask_that_is_needed_is_asked_for() -> None:
    with pytest.raises(InvalidInput, match="Photo Eraser needs a mask"):
        checked(ERASER, LINK)


# how many, and what


def test_twenty_pictures_pass_and_21_do_not() -> None:
    checked(ERASER, *[LINK] * 20, mask=LINK)
    with pytest.raises(InvalidInput, match="at most 20 pictures a job, not 21"):
        checked(ERASER, *[LINK] * 21, mask=LINK)


@pytest.mark.parametrize("provider", [PICWISH, GPTGE, KAZE, DEWATERMARK], ids=lambda provider: provider.name)
def test_two_pictures_where_one_is_taken_are_refused(provider: Provider) -> None:
    with pytest.raises(InvalidInput, match="takes one picture a job, not 2"):
        checked(provider, Bytes(drawn("JPEG")), Bytes(drawn("JPEG")))


@pytest.mark.parametrize("provider", [PICWISH, GPTGE, KAZE, DEWATERMARK, ERASER], ids=lambda provider: provider.name)
def test_nothing_to_do_is_refused(provider: Provider) -> None:
    with pytest.raises(InvalidInput, match="nothing to do"):
        checked(provider)


def test_a_session_id_alone_is_enough_for_dewatermark() -> None:
    checked(DEWATERMARK, mask=Bytes(drawn()), session_id="s-1")


def test_a_priority_of_10_is_refused() -> None:
    with pytest.raises(InvalidInput, match="priority is a whole number from 0 to 9, not 10"):
        checked(ERASER, LINK, mask=LINK, priority=10)


@pytest.mark.parametrize("provider", [PICWISH, GPTGE, KAZE, ERASER], ids=lambda provider: provider.name)
def test_a_video_where_none_is_taken_is_refused(provider: Provider) -> None:
    for video in (Bytes(b"\x00\x00\x00\x18ftypmp42", name="clip.mp4"), Link("https://example.com/clip.MOV?x=1")):
        with pytest.raises(Unsupported, match="takes no videos"):
            checked(provider, video, mask=LINK if provider is ERASER else None)


def test_a_video_is_taken_by_dewatermark() -> None:
    checked(DEWATERMARK, Bytes(b"\x00\x00\x00\x18ftypmp42", name="clip.mp4"))
    checked(DEWATERMARK, Link("https://example.com/clip.mp4"))


def test_a_file_where_only_links_are_taken_is_refused_with_a_way_out() -> None:
    with pytest.raises(Unsupported, match=r"takes links only.*lent by a callback server"):
        checked(ERASER, Bytes(drawn()), mask=LINK)


# what media looks like


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF"])
def test_a_picture_is_known_by_its_first_bytes(kind: str) -> None:
    looks = sniff(drawn(kind, 301, 203)[: 1 << 16])
    assert (looks.format, looks.video) == (kind.lower(), False)
    if kind != "BMP":
        assert (looks.width, looks.height) == (301, 203)


def test_the_size_of_a_bmp_is_known_too() -> None:
    assert sniff(drawn("BMP", 301, 203)) == MediaInfo("bmp", 301, 203)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF"])
def test_a_damaged_head_is_still_told_or_left_open(kind: str) -> None:
    data = drawn(kind, 301, 203)
    for end in (0, 1, 3, 4, 8, 11, 12, 16, 20, 24, 30, 40, 60):
        looks = sniff(data[:end])
        assert looks.format in {None, kind.lower()}
        assert min(looks.width, looks.height) >= 0
        zeroed = sniff(data[:end] + b"\xff" * 64)
        assert zeroed.format in {None, kind.lower()}


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"\x00\x00\x00\x18ftypmp42", "mp4"),
        (b"\x00\x00\x00\x18ftypqt  ", "quicktime"),
        (b"\x1aE\xdf\xa3", "matroska"),
        (b"RIFF\x00\x00\x00\x00AVI LIST", "avi"),
    ],
)
def test_a_film_is_known_by_its_first_bytes(head: bytes, name: str) -> None:
    assert sniff(head) == MediaInfo(name)
    assert sniff(head).video


@pytest.mark.parametrize(
    "head", [b"\x00\x00\x00\x18ftypavif", b"\x00\x00\x00\x18ftypheic", b"RIFF\x00\x00\x00\x00WEBP"]
)
def test_a_picture_in_a_films_container_is_a_picture(head: bytes) -> None:
    assert not sniff(head).video


def test_a_link_is_a_film_by_its_name_and_bytes_by_their_looks() -> None:
    assert has_video_suffix(Link("https://example.com/CLIP.mp4?x=y"))
    assert not has_video_suffix(Link("https://example.com/a.png?x=.mp4"))
    takes = Capabilities(videos=True)
    assert not takes.is_video(Bytes(b"x", name="clip.mp4"), MediaInfo("png"))
    assert takes.is_video(Bytes(b"x", name="clip.mp4"), MediaInfo(None))
