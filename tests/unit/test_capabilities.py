"""Capabilities: input outside a provider's documented limits is refused before anything is sent."""

from __future__ import annotations

from typing import Any

import pytest

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
from tests.support.images import make_image

PICWISH, GPTGE, KAZE, DEWATERMARK = PicWish("k"), GptGe("k"), Kaze("k"), Dewatermark("k")
ERASER = PhotoEraser("a", "b")
LINK = Link("https://example.com/a.png")


def check(
    provider: Provider, *inputs: Media, mask: Media | None = None, session: Session | None = None, **options: Any
) -> None:
    """Check a job as a client does before it sends anything."""
    job = Job(inputs, mask, provider.resolve_options(options), session)
    all_media = [*inputs, *(media for media in (mask, *job.options.values()) if isinstance(media, Media))]
    infos = {id(media): sniff(media.data) for media in all_media if isinstance(media, Bytes)}
    capabilities = provider.capabilities_for(job)
    video = any(capabilities.is_video(media, infos.get(id(media))) for media in inputs)
    job = Job(inputs, mask, job.options, session, video)
    check_job(capabilities, provider.display_name, job, infos)


def test_a_valid_image_is_accepted_by_every_provider() -> None:
    check(PICWISH, Bytes(make_image()))
    check(GPTGE, Bytes(make_image(kind="WEBP")))
    check(KAZE, Bytes(make_image(kind="GIF")), mask=Bytes(make_image()))
    check(DEWATERMARK, Bytes(make_image(kind="JPEG")))
    check(ERASER, LINK, mask=LINK)


@pytest.mark.parametrize(
    ("provider", "kind", "accepted"),
    [
        (PICWISH, "GIF", "BMP, JPEG or PNG"),
        (PICWISH, "WEBP", "BMP, JPEG or PNG"),
        (PICWISH, "TIFF", "BMP, JPEG or PNG"),
        (DEWATERMARK, "PNG", "JPEG"),
        (DEWATERMARK, "BMP", "JPEG"),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_an_undocumented_format_is_refused_and_named(provider: Provider, kind: str, accepted: str) -> None:
    with pytest.raises(
        InvalidInput, match=rf"picture.jpg is {kind}, not {accepted}: {provider.display_name} would refuse it"
    ):
        check(provider, Bytes(make_image(kind=kind)))


@pytest.mark.parametrize("provider", [PICWISH, GPTGE, KAZE, DEWATERMARK], ids=lambda provider: provider.name)
@pytest.mark.parametrize("data", [b"not an image", b"\x00", b"%PDF-1.7", b"PK\x03\x04", b"<svg/>"])
def test_a_file_that_is_not_an_image_is_refused(provider: Provider, data: bytes) -> None:
    with pytest.raises(InvalidInput, match="is not an image in a known format"):
        check(provider, Bytes(data))


@pytest.mark.parametrize(
    ("provider", "kind", "size", "message"),
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
def test_a_size_outside_the_limits_is_refused(
    provider: Provider, kind: str, size: tuple[int, int], message: str
) -> None:
    with pytest.raises(InvalidInput, match=message):
        check(provider, Bytes(make_image(*size, kind)))


@pytest.mark.parametrize(
    ("provider", "kind", "size"),
    [(PICWISH, "PNG", (20, 10_000)), (PICWISH, "PNG", (10_000, 20)), (DEWATERMARK, "JPEG", (6000, 30))],
    ids=str,
)
def test_a_size_at_the_limit_is_accepted(provider: Provider, kind: str, size: tuple[int, int]) -> None:
    check(provider, Bytes(make_image(*size, kind)))


def test_an_image_to_refine_must_be_smaller() -> None:
    session = Session("s")
    check(DEWATERMARK, Bytes(make_image(1920, 30, "JPEG")), mask=Bytes(make_image(1920, 30)), session=session)
    with pytest.raises(InvalidInput, match="more than 1920"):
        check(DEWATERMARK, Bytes(make_image(1921, 30, "JPEG")), mask=Bytes(make_image(1921, 30)), session=session)


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ((256, 300), "fewer than 257"),
        ((300, 256), "fewer than 257"),
        ((5000, 4000), "more than 4999"),
        ((4000, 5000), "more than 4999"),
        ((1601, 400), "aspect ratio above 4:1"),
        ((400, 1601), "aspect ratio above 4:1"),
    ],
)
def test_photo_eraser_accepts_images_up_to_its_limits(size: tuple[int, int], message: str) -> None:
    limits = PhotoEraser.capabilities.images
    with pytest.raises(InvalidInput, match=message):
        limits.check(Bytes(b"x"), MediaInfo("png", *size), "Photo Eraser")
    for valid in ((257, 257), (4999, 4999), (1600, 400), (400, 1600)):
        limits.check(Bytes(b"x"), MediaInfo("png", *valid), "Photo Eraser")


class TooLarge(Bytes):
    """Media that claims to have 50 MB and one byte."""

    @property
    def size(self) -> int:  # type: ignore[override]
        return 50_000_001


@pytest.mark.parametrize("provider", [PICWISH, ERASER], ids=lambda provider: provider.name)
def test_a_file_that_is_too_large_is_refused(provider: Provider) -> None:
    info = MediaInfo("png", 300, 300)
    with pytest.raises(InvalidInput, match=r"50.0 MB, more than 50 MB"):
        provider.capabilities.images.check(TooLarge(b"x"), info, provider.display_name)
    provider.capabilities.images.check(Bytes(b"x"), info, provider.display_name)


def test_what_is_unknown_is_left_to_the_provider() -> None:
    PicWish.capabilities.images.check(Bytes(b"x"), MediaInfo("png"), "PicWish")
    check(PICWISH, LINK)
    ImageLimits().check(Bytes(b"x"), MediaInfo("avif", 1, 1_000_000), "any provider")


# masks


@pytest.mark.parametrize("provider", [KAZE, DEWATERMARK], ids=lambda provider: provider.name)
def test_a_mask_of_another_size_is_refused(provider: Provider) -> None:
    with pytest.raises(
        InvalidInput, match=r"the mask has 300x299 pixels, but picture.jpg has 300x300: both must have the same size"
    ):
        check(provider, Bytes(make_image(kind="JPEG")), mask=Bytes(make_image(300, 299)))


@pytest.mark.parametrize(
    ("provider", "option"), [(KAZE, "smear"), (DEWATERMARK, "mask_base")], ids=["kaze", "dewatermark"]
)
def test_a_mask_given_as_an_option_is_checked_too(provider: Provider, option: str) -> None:
    def check_option(mask: bytes) -> None:
        options: dict[str, Any] = {option: mask}
        check(provider, Bytes(make_image(kind="JPEG")), **options)

    check_option(make_image())
    with pytest.raises(InvalidInput, match="must have the same size"):
        check_option(make_image(299, 300))
    with pytest.raises(InvalidInput, match="is not an image in a known format"):
        check_option(b"not an image")


@pytest.mark.parametrize("mask", [b"not an image", b"\x00\x00\x00\x18ftypmp42"])
def test_a_mask_that_is_not_an_image_is_refused(mask: bytes) -> None:
    with pytest.raises(InvalidInput, match="is not an image in a known format"):
        check(KAZE, Bytes(make_image()), mask=Bytes(mask))


def test_a_mask_is_refused_and_not_ignored_where_none_is_supported() -> None:
    with pytest.raises(Unsupported, match=r'takes no mask with tier="advanced": omit the tier or the mask'):
        check(PICWISH, Bytes(make_image()), mask=Bytes(make_image()), tier="advanced")


def test_a_missing_mask_is_refused_where_one_is_required() -> None:
    with pytest.raises(InvalidInput, match="Photo Eraser requires a mask"):
        check(ERASER, LINK)


# number and kind of inputs


def test_20_images_are_accepted_and_21_are_not() -> None:
    check(ERASER, *[LINK] * 20, mask=LINK)
    with pytest.raises(InvalidInput, match="at most 20 images per job, not 21"):
        check(ERASER, *[LINK] * 21, mask=LINK)


@pytest.mark.parametrize("provider", [PICWISH, GPTGE, KAZE, DEWATERMARK], ids=lambda provider: provider.name)
def test_two_images_are_refused_where_one_is_supported(provider: Provider) -> None:
    with pytest.raises(InvalidInput, match="accepts one image per job, not 2"):
        check(provider, Bytes(make_image(kind="JPEG")), Bytes(make_image(kind="JPEG")))


@pytest.mark.parametrize("provider", [PICWISH, GPTGE, KAZE, DEWATERMARK, ERASER], ids=lambda provider: provider.name)
def test_a_job_without_input_is_refused(provider: Provider) -> None:
    with pytest.raises(InvalidInput, match="has no input"):
        check(provider)


def test_dewatermark_accepts_a_session_id_in_place_of_an_image() -> None:
    check(DEWATERMARK, mask=Bytes(make_image()), session_id="s-1")


def test_a_priority_of_10_is_refused() -> None:
    with pytest.raises(InvalidInput, match="priority must be a whole number from 0 to 9, not 10"):
        check(ERASER, LINK, mask=LINK, priority=10)


@pytest.mark.parametrize("provider", [PICWISH, GPTGE, KAZE, ERASER], ids=lambda provider: provider.name)
def test_a_video_is_refused_where_none_is_supported(provider: Provider) -> None:
    for video in (Bytes(b"\x00\x00\x00\x18ftypmp42", name="clip.mp4"), Link("https://example.com/clip.MOV?x=1")):
        with pytest.raises(Unsupported, match="does not accept videos"):
            check(provider, video, mask=LINK if provider is ERASER else None)


def test_dewatermark_accepts_videos() -> None:
    check(DEWATERMARK, Bytes(b"\x00\x00\x00\x18ftypmp42", name="clip.mp4"))
    check(DEWATERMARK, Link("https://example.com/clip.mp4"))


def test_a_file_is_refused_with_advice_where_only_urls_are_supported() -> None:
    with pytest.raises(Unsupported, match=r"accepts URLs only.*callbacks="):
        check(ERASER, Bytes(make_image()), mask=LINK)


# format detection


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF"])
def test_an_image_is_recognised_by_its_first_bytes(kind: str) -> None:
    info = sniff(make_image(301, 203, kind)[: 1 << 16])
    assert (info.format, info.video) == (kind.lower(), False)
    if kind != "BMP":
        assert (info.width, info.height) == (301, 203)


def test_the_size_of_a_bmp_is_known() -> None:
    assert sniff(make_image(301, 203, "BMP")) == MediaInfo("bmp", 301, 203)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF"])
def test_a_damaged_head_is_recognised_or_unknown(kind: str) -> None:
    data = make_image(301, 203, kind)
    for end in (0, 1, 3, 4, 8, 11, 12, 16, 20, 24, 30, 40, 60):
        info = sniff(data[:end])
        assert info.format in {None, kind.lower()}
        assert min(info.width, info.height) >= 0
        damaged = sniff(data[:end] + b"\xff" * 64)
        assert damaged.format in {None, kind.lower()}


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"\x00\x00\x00\x18ftypmp42", "mp4"),
        (b"\x00\x00\x00\x18ftypqt  ", "quicktime"),
        (b"\x1aE\xdf\xa3", "matroska"),
        (b"RIFF\x00\x00\x00\x00AVI LIST", "avi"),
    ],
)
def test_a_video_is_recognised_by_its_first_bytes(head: bytes, name: str) -> None:
    assert sniff(head) == MediaInfo(name)
    assert sniff(head).video


@pytest.mark.parametrize(
    "head", [b"\x00\x00\x00\x18ftypavif", b"\x00\x00\x00\x18ftypheic", b"RIFF\x00\x00\x00\x00WEBP"]
)
def test_an_image_in_a_video_container_is_an_image(head: bytes) -> None:
    assert not sniff(head).video


def test_a_url_is_a_video_by_its_name_and_bytes_by_their_content() -> None:
    assert has_video_suffix(Link("https://example.com/CLIP.mp4?x=y"))
    assert not has_video_suffix(Link("https://example.com/a.png?x=.mp4"))
    capabilities = Capabilities(videos=True)
    assert not capabilities.is_video(Bytes(b"x", name="clip.mp4"), MediaInfo("png"))
    assert capabilities.is_video(Bytes(b"x", name="clip.mp4"), MediaInfo(None))
