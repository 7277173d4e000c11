"""Boxes in place of a mask: as they are where the provider takes them, else as the provider's kind of mask."""

from __future__ import annotations

import io
import json
from base64 import b64encode
from typing import Any

import pytest
from PIL import Image

import aiowatermark as aw
from aiowatermark.media.base import Media
from aiowatermark.testing import ScriptedTransport, json_response
from aiowatermark.wire import Base64, Json, Multipart, Response
from tests.support.images import make_image, make_mask
from tests.support.media_sources import read_media
from tests.support.picwish import ACCEPTED, LINK

PROVIDERS: dict[str, aw.Provider] = {
    "picwish": aw.PicWish("canary-1", requests_per_second=None),
    "gptge": aw.GptGe("canary-1"),
    "kaze": aw.Kaze("canary-1"),
    "photoeraser": aw.PhotoEraser("canary-1", "canary-2"),
    "dewatermark": aw.Dewatermark("canary-1"),
}
ANSWERS: dict[str, Response] = {
    "picwish": ACCEPTED,
    "gptge": ACCEPTED,
    "kaze": json_response(code=0, data={"task_id": "task-1"}),
    "photoeraser": json_response(code=0, data={"task_id": "task-1"}),
    "dewatermark": json_response(edited_image={"image": "QUJD", "mask": "Qg=="}, session_id="s-1"),
}
BOXES, SIZE = [(5, 6, 40, 30), (100, 200, 1, 1)], (300, 280)
MANY = [(x, 7, 2, 3) for x in range(0, 204, 4)]  # 51 boxes
IMAGE = make_image(*SIZE, kind="jpeg")


class Transport(ScriptedTransport):
    """A scripted transport that also serves an image at every URL."""

    def __init__(self, answer: Response, image: bytes = IMAGE) -> None:
        super().__init__(submissions=[answer])
        self.image, self.read_urls = image, list[str]()

    async def read(self, url: str, max_bytes: int | None, check: Any = None) -> bytes:
        self.read_urls.append(url)
        return self.image


async def submit(name: str, transport: Transport, mask: Any, media: Any = IMAGE, **options: Any) -> aw.JobHandle:
    async with aw.Client(PROVIDERS[name], transport=transport, drain=0) as client:
        return await client.submit(media, mask=mask, **options)


def sent_fields(transport: Transport) -> dict[str, Any]:
    body = transport.requests[0].body
    assert isinstance(body, Json | Multipart)
    return dict(body.value if isinstance(body, Json) else body.fields)


async def mask_pixels(value: Any) -> Image.Image:
    media = value.media if isinstance(value, Base64) else value
    assert isinstance(media, Media)
    with Image.open(io.BytesIO(await read_media(media))) as image:
        return image.convert("RGB")


def painted(boxes: list[tuple[int, int, int, int]], colour: tuple[int, int, int], size: tuple[int, int]) -> bytes:
    image = Image.new("RGB", size)
    for x, y, width, height in boxes:
        image.paste(colour, (x, y, x + width, y + height))
    return image.tobytes()


# what each provider is sent: the field, and the colour of what is to be removed
MASKS = {
    "picwish": ("mask_file", (255, 255, 255)),
    "gptge": ("mask_file", (255, 255, 255)),
    "kaze": ("smear_base64", (255, 0, 0)),
    "photoeraser": ("mask", (255, 255, 255)),
    "dewatermark": ("mask_brush", (255, 255, 255)),
}
FILES = [name for name in PROVIDERS if name != "photoeraser"]


@pytest.mark.parametrize("name", ["picwish", "gptge"])
@pytest.mark.parametrize("media", [IMAGE, LINK])
async def test_boxes_are_sent_as_rectangles_where_the_provider_takes_them(name: str, media: Any) -> None:
    transport = Transport(ANSWERS[name])
    await submit(name, transport, aw.Boxes(BOXES), media)
    fields = sent_fields(transport)
    assert json.loads(fields["rectangles"]) == [
        {"x": 5, "y": 6, "width": 40, "height": 30},
        {"x": 100, "y": 200, "width": 1, "height": 1},
    ]
    assert not fields.keys() & {"mask_file", "mask_url"}
    assert not transport.read_urls


@pytest.mark.parametrize("name", ["kaze", "dewatermark"])
async def test_boxes_are_drawn_in_the_colours_of_the_provider_to_the_pixel(name: str) -> None:
    transport = Transport(ANSWERS[name])
    await submit(name, transport, aw.Boxes(BOXES))
    field, colour = MASKS[name]
    assert (await mask_pixels(sent_fields(transport)[field])).tobytes() == painted(BOXES, colour, SIZE)


@pytest.mark.parametrize("name", ["picwish", "gptge"])
async def test_more_boxes_than_a_provider_takes_are_drawn(name: str) -> None:
    transport = Transport(ANSWERS[name])
    await submit(name, transport, aw.Boxes(MANY))
    fields = sent_fields(transport)
    field, colour = MASKS[name]
    assert "rectangles" not in fields
    assert (await mask_pixels(fields[field])).tobytes() == painted(MANY, colour, SIZE)


@pytest.mark.parametrize("name", ["kaze", "photoeraser", "dewatermark"])
async def test_for_a_url_the_image_is_fetched_to_learn_its_size(name: str) -> None:
    transport = Transport(ANSWERS[name])
    await submit(name, transport, aw.Boxes(BOXES), LINK)
    field, colour = MASKS[name]
    assert transport.read_urls == [LINK]
    assert (await mask_pixels(sent_fields(transport)[field])).tobytes() == painted(BOXES, colour, SIZE)


async def test_a_file_that_is_lent_to_a_provider_tells_its_size_itself() -> None:
    transport = Transport(ANSWERS["photoeraser"])
    receiver = aw.CallbackReceiver("https://hooks.example.com/wm")
    async with aw.Client(PROVIDERS["photoeraser"], transport=transport, callbacks=receiver, drain=0) as client:
        await client.submit(IMAGE, mask=aw.Boxes(BOXES))
    assert not transport.read_urls
    mask = await mask_pixels(sent_fields(transport)["mask"])
    assert mask.tobytes() == painted(BOXES, (255, 255, 255), SIZE)


async def test_boxes_are_for_images_of_one_size() -> None:
    transport = Transport(ANSWERS["photoeraser"])
    images = [make_image(*SIZE), make_image(280, 300)]
    transport_read = iter(images)

    async def read(url: str, max_bytes: int | None, check: Any = None) -> bytes:
        return next(transport_read)

    transport.read = read  # type: ignore[method-assign]
    with pytest.raises(aw.InvalidInput, match="images of one size"):
        await submit("photoeraser", transport, aw.Boxes(BOXES), [LINK, LINK + "?2"])
    assert transport.submitted == 0


@pytest.mark.parametrize("name", FILES)
async def test_boxes_outside_the_image_are_refused_before_anything_is_sent(name: str) -> None:
    transport = Transport(ANSWERS[name])
    with pytest.raises(aw.InvalidInput, match=r"is not inside picture\.jpg, which has 300x280 pixels"):
        await submit(name, transport, aw.Boxes([(290, 0, 20, 20)]))
    assert not transport.requests


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("boxes", [[(0, 0, 300, 280)], [(0, 0, 300, 280), (1, 1, 2, 2)]])
async def test_boxes_that_leave_nothing_are_refused(name: str, boxes: Any) -> None:
    transport = Transport(ANSWERS[name])
    with pytest.raises(aw.InvalidInput, match="nothing of it would be kept"):
        await submit(name, transport, aw.Boxes(boxes))
    assert not transport.requests


@pytest.mark.parametrize("name", ["kaze", "dewatermark"])
async def test_boxes_that_together_leave_nothing_are_refused_where_they_are_drawn(name: str) -> None:
    transport = Transport(ANSWERS[name])
    with pytest.raises(aw.InvalidInput, match="white everywhere"):
        await submit(name, transport, aw.Boxes([(0, 0, 150, 280), (150, 0, 150, 280)]))
    assert not transport.requests


async def test_an_image_whose_size_is_not_known_needs_a_mask_image() -> None:
    transport = Transport(ANSWERS["kaze"], image=b"not an image")
    with pytest.raises(aw.InvalidInput, match="pass a mask image"):
        await submit("kaze", transport, aw.Boxes(BOXES), LINK)
    assert not transport.requests


@pytest.mark.parametrize("error", [aw.TransferFailed("HTTP 500"), aw.ResultExpired("HTTP 404")])
@pytest.mark.parametrize("what", ["image", "mask"])
async def test_a_link_that_cannot_be_fetched_is_refused_before_anything_is_sent(
    error: aw.WatermarkError, what: str
) -> None:
    transport = Transport(ANSWERS["kaze"])

    async def read(url: str, max_bytes: int | None, check: Any = None) -> bytes:
        raise error

    transport.read = read  # type: ignore[method-assign]
    mask: Any = aw.Boxes(BOXES) if what == "image" else LINK
    with pytest.raises(aw.InvalidInput, match=f"cannot be downloaded: {error.message}"):
        await submit("kaze", transport, mask, LINK)
    assert not transport.requests


async def test_boxes_are_no_image_and_no_mask_option() -> None:
    for arguments in ({"media": aw.Boxes(BOXES)}, {"media": IMAGE, "smear": aw.Boxes(BOXES)}):
        transport = Transport(ANSWERS["kaze"])
        with pytest.raises(aw.InvalidInput, match="is not an image in a known format"):
            await submit("kaze", transport, None, **arguments)
        assert not transport.requests


async def test_boxes_and_a_tier_without_masks_are_refused() -> None:
    transport = Transport(ANSWERS["picwish"])
    with pytest.raises(aw.Unsupported, match="takes no mask"):
        await submit("picwish", transport, aw.Boxes(BOXES), tier="advanced")


# keys


@pytest.mark.parametrize("name", FILES)
async def test_a_job_with_boxes_is_known_by_its_boxes(name: str) -> None:
    transport, store = Transport(ANSWERS[name]), aw.MemoryStore()
    async with aw.Client(PROVIDERS[name], transport=transport, store=store, drain=0) as client:
        handle = await client.submit(IMAGE, mask=aw.Boxes(BOXES), key="order-1")
        assert handle.token
        await client.submit(IMAGE, mask=aw.Boxes(list(map(list, BOXES))), key="order-1")
        for other in (aw.Boxes([(5, 6, 40, 31)]), aw.Boxes(BOXES[:1]), make_mask(*SIZE), None):
            with pytest.raises(aw.InvalidInput):
                await client.submit(IMAGE, mask=other, key="order-1")
        record = await store.get("order-1")
    assert transport.submitted == 1
    assert record is not None
    assert record.masked


@pytest.mark.parametrize("name", FILES)
async def test_boxes_are_part_of_the_content_key(name: str) -> None:
    transport = Transport(ANSWERS[name])
    async with aw.Client(PROVIDERS[name], transport=transport, drain=0) as client:
        masks = [aw.Boxes(BOXES), aw.Boxes(tuple(BOXES)), aw.Boxes(BOXES[:1]), None]
        keys = [(await client.submit(IMAGE, mask=mask, key=aw.CONTENT_KEY)).key for mask in masks]
    assert keys[0] == keys[1]
    assert len(set(keys)) == 3


# refinements


async def test_a_refinement_takes_boxes_of_its_image_and_later_of_the_mask_of_its_session() -> None:
    image, mask = make_image(*SIZE, kind="jpeg"), make_mask(*SIZE)
    answer = json_response(edited_image={"image": encode(image), "mask": encode(mask)}, session_id="s-1")
    transport = Transport(answer)
    async with aw.Client(PROVIDERS["dewatermark"], transport=transport) as client:
        result = await client.remove(IMAGE)
        for _ in range(2):
            result = await client.refine(result, brush=aw.Boxes(BOXES))
        with pytest.raises(aw.InvalidInput, match="is not inside"):
            await client.refine(result, brush=aw.Boxes([(0, 0, 301, 1)]))
    for request, field in zip(transport.requests[1:], ("original_preview_image", "session_id"), strict=True):
        assert isinstance(request.body, Multipart)
        assert field in request.body.fields
        assert (await mask_pixels(request.body.fields["mask_brush"])).tobytes() == painted(BOXES, (255, 255, 255), SIZE)


def encode(data: bytes) -> str:
    return b64encode(data).decode()


async def test_boxes_are_not_for_videos() -> None:
    transport = Transport(ANSWERS["dewatermark"])
    with pytest.raises(aw.Unsupported, match="boxes are for images"):
        await submit("dewatermark", transport, aw.Boxes(BOXES), b"\x00\x00\x00\x18ftypmp42" + bytes(64))
    assert not transport.requests
